"""From structures to vectors by a source model, on many cores; and what vectors say of where they came from.

On a CPU a worker does all of a task, what the network reads and the network: it needs no barrier between threads,
and as many workers as cores neither idle nor oversubscribe. With a GPU the workers prepare, this process runs.
"""

import hashlib
import json
import multiprocessing
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np

from core.params import Extract
from core.structure import Structure
from zoo.backbones.base import Backbone
from zoo.backbones.engine import Engine, Extracted, pick_device, prepare
from zoo.hub import SourceCard, backbone_of, load_card, load_source, weights_path

_WORTH_IT = 2000  # structures; fewer are done before the workers would be up
_AHEAD = 3  # tasks per worker that are in flight

_engine: Engine | None = None  # a worker's own, made once by `_start`
_backbone: Backbone | None = None


def extraction_id(card: SourceCard, tf32: bool = False) -> str:
    """Name a set of vectors by all that decides them (see `Backbone.key`).

    How the network is run is recorded, not keyed: it gives the same vectors. Raises `StrataError` for a published
    model that was not fetched yet, whose weights have no hash.
    """
    if card.weights is None and card.published is not None:
        weights_path(card)
    key = backbone_of(card).key(card.weights_sha256, tf32)
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def provenance(card: SourceCard, settings: Extract) -> dict[str, str]:
    """Return what vectors say about where they came from."""
    backbone = backbone_of(card, settings.backbones)
    facts = {
        "extraction_id": extraction_id(card, settings.tf32),
        "source_model": card.name,
        "weights_sha256": card.weights_sha256,
        "graph": json.dumps(card.graph.model_dump(mode="json"), sort_keys=True),
        "pooling": backbone.pooling,
        "tf32": str(settings.tf32).lower(),
        "code_schema": str(backbone.code_schema),
        **{name: str(value).lower() for name, value in backbone.settings.model_dump(mode="json").items()},
    }
    return facts | environment()


def environment() -> dict[str, str]:
    """Return what may move the last digits: torch, numpy and the platform."""
    return {"torch": version("torch"), "numpy": np.__version__, "platform": platform.platform()}


def make_engine(source_model: str, settings: Extract) -> Engine:
    """Return an engine for a source model, with its weights read and checked."""
    source = load_source(source_model)
    return Engine(backbone_of(source.card, settings.backbones), source.state, settings)


def run_tasks(
    source_model: str, tasks: Iterable[list[Structure]], settings: Extract, total: int
) -> Iterator[Extracted]:
    """Run lists of structures through a source model; results come in the order of the tasks."""
    workers = count_workers(settings, total)
    if workers == 0:
        in_line = make_engine(source_model, settings)
        for task in tasks:
            yield in_line(task)
        return
    on_gpu = pick_device(settings.device).type == "cuda"
    engine = make_engine(source_model, settings) if on_gpu else None
    context = multiprocessing.get_context("spawn")
    one_thread = settings.model_copy(update={"device": "cpu", "threads": 1})
    arguments = (source_model, one_thread, on_gpu, os.getpid())
    with ProcessPoolExecutor(workers, context, _start, arguments) as pool:
        waiting: deque[Future] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(_prepare if engine else _extract, task))
                if len(waiting) >= workers * _AHEAD:
                    yield _finish(waiting.popleft(), engine)
            while waiting:
                yield _finish(waiting.popleft(), engine)
        finally:
            for future in waiting:
                future.cancel()


def count_workers(settings: Extract, total: int) -> int:
    """How many processes: as set, or one per core where there is enough to do."""
    if settings.workers >= 0:
        return settings.workers
    cores = len(os.sched_getaffinity(0))
    return cores if total >= _WORTH_IT and cores > 1 else 0


def _finish(future: Future, engine: Engine | None) -> Extracted:
    result = future.result()
    return engine.run(result) if engine else result


def _start(source_model: str, settings: Extract, only_prepare: bool, parent: int) -> None:
    global _engine, _backbone  # noqa: PLW0603  # a worker process holds one engine for all its tasks
    threading.Thread(target=leave_with, args=(parent,), daemon=True).start()
    if only_prepare:
        _backbone = backbone_of(load_card(source_model), settings.backbones)
    else:
        _engine = make_engine(source_model, settings)


def leave_with(parent: int) -> None:
    """End this worker process when its parent is gone, killed perhaps: nobody would read its results."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _extract(structures: list[Structure]) -> Extracted:
    assert _engine is not None
    return _engine(structures)


def _prepare(structures: list[Structure]) -> list[Any]:
    assert _backbone is not None
    return prepare(_backbone, structures)


def together(vectors: Mapping[str, np.ndarray], checkpoints: Iterable[str]) -> np.ndarray:
    """Put the vectors of checkpoints side by side: (n, d) float32."""
    return np.concatenate([vectors[name] for name in checkpoints], axis=1)
