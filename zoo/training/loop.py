"""The one loop that trains ALIGNN: from scratch, fine-tuned, and the source model itself.

AdamW, one-cycle learning rate, L1 on targets standardised by the training part, best epoch by validation MAE
(Choudhary & DeCost 2021; Gupta et al. 2024). A training that is killed goes on where its last checkpoint
stands and, on a CPU, ends with the very same weights.
"""

import ctypes
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import StrataError
from core.params import Train
from core.progress import Bars
from featurestore.tables.lock import WriterLock
from zoo.backbones.alignn.batch import Batch, collate
from zoo.backbones.alignn.inference import Architecture
from zoo.backbones.alignn.network import Alignn
from zoo.backbones.engine import pick_device
from zoo.training import checkpoint
from zoo.training.checkpoint import Position
from zoo.training.examples import Examples, Scale, to_units
from zoo.training.optimizer import MovingAverage, adamw, set_rate
from zoo.training.schedule import Plan, one_cycle
from zoo.training.trained import validate
from zoo.training.watch import Show, Watch, leave, shown_on, stoppable

_SAVE_EVERY = 180.0  # seconds, inside long epochs
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGE = 1 << 30


class Paused(Exception):  # noqa: N818 - no error
    """The time that was given is over; the same call goes on from the checkpoint."""


@dataclass(frozen=True, eq=False, slots=True)
class Trained:
    """The best epoch's network. `state` predicts in the properties' units; `val_mae` (p,) in them too."""

    state: dict[str, Tensor]
    architecture: Architecture
    scale: Scale
    best_epoch: int
    val_mae: list[float]
    seconds: float
    history: list[dict[str, Any]]


def train(
    network: Alignn,
    examples: Examples,
    settings: Train,
    folder: Path,
    key: str,
    *,
    title: str = "train",
    curriculum: Sequence[tuple[int, int]] = (),
    seconds: float | None = None,
    show: Show | None = None,
    asked: Callable[[], bool] = lambda: False,
    layer_decay: float = 1.0,
) -> Trained:
    """Train a network, whose weights are the initial ones and whose frozen layers stay, to its end.

    network: predicts standardised values: see `standardise`. folder: holds the checkpoint; one that is there
    is gone on from, if `key` (a name for data and settings) is its own. seconds: of wall clock, then the
    training is saved and `Paused` raised. show: is told where the training stands; by default a bar of its
    own. asked: whether another process wants it to save and end, as by SIGINT. layer_decay: see
    `optimizer.adamw`.

    Raises `StrataError` where the loss is not finite. SIGINT and SIGTERM save, then end the process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(folder, "train")
    lock.acquire()
    try:
        loop = partial(_loop, network, examples, settings, folder, key, title, curriculum, seconds)
        if show is not None:
            return loop(show, asked, layer_decay)
        with Bars() as bars:
            return loop(shown_on(bars), asked, layer_decay)
    finally:
        lock.release()


def _loop(
    network: Alignn,
    examples: Examples,
    settings: Train,
    folder: Path,
    key: str,
    title: str,
    curriculum: Sequence[tuple[int, int]],
    seconds: float | None,
    show: Show,
    asked: Callable[[], bool],
    layer_decay: float,
) -> Trained:
    device = _prepare_machine(settings)
    scale = Scale.of(examples)
    plan = Plan(
        np.flatnonzero(examples.train.any(axis=1)), examples.costs[examples.graph], settings, curriculum
    )
    network.to(device)
    optimizer, average = adamw(network, settings, layer_decay), MovingAverage(settings.moving_average)
    position, best, kept = checkpoint.load(folder, key, network, optimizer)
    average.restore(kept, network)
    started = time.monotonic() - position.seconds
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        position.seconds = time.monotonic() - started
        checkpoint.save(folder, position, network, optimizer, best, average.kept)
        saved = time.monotonic()

    ends = math.inf if seconds is None else time.monotonic() + seconds
    done = plan.done(position.epoch, position.seen)
    watch = Watch(title, examples.names, settings.epochs, plan.total, done, show)
    with stoppable(asked) as signalled:
        while position.epoch < settings.epochs and not _stale(position, settings):
            steps = plan.steps(position.epoch)
            todo = steps[position.step :]
            for rows, batch, target in _ahead(examples, scale, todo, device):
                way = plan.progress(position.epoch, position.seen)
                rate, beta = one_cycle(way, settings.learning_rate, settings.warmup)
                _update(network, optimizer, batch, target, rate, beta, position)
                average.update(network, position.updates)
                watch.step(len(rows))
                position.step, position.seen = position.step + 1, position.seen + len(rows)
                if signalled() or time.monotonic() > ends or time.monotonic() - saved > _SAVE_EVERY:
                    save()
                    if number := signalled():
                        leave(number)
                    if time.monotonic() > ends and position.step < len(steps):
                        raise Paused
            way = plan.progress(position.epoch, position.seen)
            rate, _ = one_cycle(way, settings.learning_rate, settings.warmup)
            best = _close_epoch(network, average.of(network), examples, scale, position, best, rate)
            watch.epoch(position.history[-1])
            last = position.epoch == settings.epochs or _stale(position, settings)
            if last or signalled() or time.monotonic() - saved >= settings.checkpoint_seconds:
                save()
            if number := signalled():
                leave(number)
            if time.monotonic() > ends and not last:
                save()
                raise Paused
    row = position.history[position.best_epoch]
    return Trained(
        to_units(best, scale), network.architecture, scale, position.best_epoch, row["val_mae"],
        position.seconds, position.history,
    )  # fmt: skip


def _prepare_machine(settings: Train) -> torch.device:
    device = pick_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = settings.tf32
    else:
        keep_pages()
    return device


def keep_pages() -> bool:
    """Keep freed memory for the next step; returns False where the C library has no such setting.

    By default glibc maps every large array anew and gives it back when freed: the kernel then zeroes the
    same pages again in every step (docs/training.md has the figures). Only training processes call this:
    memory stays at its peak until the process ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library, musl for one
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def _ahead(
    examples: Examples, scale: Scale, steps: Iterable[np.ndarray], device: torch.device
) -> Iterator[tuple[np.ndarray, Batch, Tensor]]:
    """Rows, batch and standardised targets of each step; for a GPU the next ones are made meanwhile."""

    def make(rows: np.ndarray) -> tuple[np.ndarray, Batch, Tensor]:
        batch = collate([examples.graphs[i] for i in examples.graph[rows]])
        known = np.where(examples.train[rows], examples.values[rows], np.nan)
        target = torch.from_numpy(((known - scale.mean) / scale.deviation).astype(np.float32))
        return rows, batch.to(device), target.to(device)

    if device.type == "cpu":
        yield from map(make, steps)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for rows in steps:
            following = pool.submit(make, rows)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _update(
    network: Alignn,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    target: Tensor,
    rate: float,
    beta: float,
    position: Position,
) -> None:
    """One step: mean absolute error over the values that there are."""
    set_rate(optimizer, rate, beta)
    network.train()
    known = ~torch.isnan(target)
    error = torch.where(known, network(batch) - target.nan_to_num(), 0).abs()
    loss = error.sum() / known.sum()
    if not math.isfinite(loss.item()):
        raise _diverged(f"the loss is {loss.item()}", position, rate)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    position.updates += 1
    sums, counts = error.detach().double().sum(0).tolist(), known.sum(0).tolist()
    position.error = [a + b for a, b in zip(position.error or [0.0] * len(sums), sums, strict=True)]
    position.rows = [a + b for a, b in zip(position.rows or [0] * len(counts), counts, strict=True)]


def _close_epoch(
    network: Alignn,
    state: Mapping[str, Tensor],
    examples: Examples,
    scale: Scale,
    position: Position,
    best: dict[str, Tensor],
    rate: float,
) -> dict[str, Tensor]:
    """Score the validation part, keep the weights if they are the best so far, and begin the next epoch."""
    mae = validate(state, network.architecture, network.features, examples, scale)
    score = float((mae / scale.deviation).mean())
    if not math.isfinite(score):
        raise _diverged(f"the validation MAE is {score}", position, rate)
    train_mae = [
        e / max(n, 1) * s for e, n, s in zip(position.error, position.rows, scale.deviation, strict=True)
    ]
    position.history.append(
        {
            "epoch": position.epoch,
            "learning_rate": rate,
            "train_mae": list(map(float, train_mae)),
            "val_mae": mae.tolist(),
        }
    )
    if position.best_score is None or score < position.best_score:
        position.best_score, position.best_epoch = score, position.epoch
        best = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
    position.epoch, position.step, position.seen = position.epoch + 1, 0, 0
    position.error, position.rows = [], []
    return best


def _stale(position: Position, settings: Train) -> bool:
    since = position.epoch - 1 - position.best_epoch
    return bool(settings.patience) and position.epoch > 0 and since >= settings.patience


def _diverged(what: str, position: Position, rate: float) -> StrataError:
    return StrataError(
        f"training diverged: {what} in epoch {position.epoch + 1}, step {position.step + 1}, at learning "
        f"rate {rate:.2g}. Try a lower learning_rate or a larger batch_size, and look for outliers among the "
        "targets; with tf32 on, try without"
    )
