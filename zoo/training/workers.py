"""Trainings on many cores: processes of `threads` threads each, a training at a time.

Small batches do not fill two cores, two trainings do. A training comes out the same wherever it runs.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from core.errors import StrataError
from core.params import Finetune
from featurestore import FeatureStore, open_store
from zoo.backbones.engine import pick_device
from zoo.extraction import leave_with
from zoo.hub import load_card
from zoo.training.data import make_graphs, read
from zoo.training.run import Ask, Job, Learned, learn
from zoo.training.watch import Bars, Note, leave, stoppable

_POLL = 0.3  # seconds

_notes: Any = None  # a worker's own queue to its parent and event from it, set once by `_start`
_stop: Any = None


def run_trainings(
    store: FeatureStore, jobs: Sequence[Job], seconds: float | None = None
) -> Iterator[tuple[Job, Learned]]:
    """Do the trainings of one dataset; each comes as it ends.

    A training that fails does not touch those that run beside it: they end and come, no more are begun, then
    its `StrataError` is raised. SIGINT and SIGTERM: all save, then the process ends. With `seconds` of wall
    clock, `zoo.training.loop.Paused` is raised when they are over; then one runs at a time.
    """
    workers = count_workers(jobs[0].ask.settings, len(jobs)) if jobs and seconds is None else 0
    with Bars(len(jobs)) as bars:
        if workers:
            _make_graphs(store, [job.ask for job in jobs])
            yield from _side_by_side(store, jobs, workers, bars)
            return
        ends = None if seconds is None else time.monotonic() + seconds
        for job in jobs:
            try:
                left = None if ends is None else max(ends - time.monotonic(), 0.0)
                learned = learn(store, job, bars.show, seconds=left)
            except StrataError as error:
                raise _titled(job, error) from error
            bars.over(job.ask.title)
            yield job, learned


def count_workers(settings: Finetune, trainings: int) -> int:
    """How many processes: as set, or as many as the cores hold; 0 where this one does as well."""
    if settings.workers >= 0:
        return min(settings.workers, trainings)
    if trainings < 2 or not settings.threads or pick_device(settings.device).type != "cpu":
        return 0
    workers = min(trainings, len(os.sched_getaffinity(0)) // settings.threads)
    return workers if workers > 1 else 0


def _make_graphs(store: FeatureStore, asks: Sequence[Ask]) -> None:
    """Make what all workers read, so that none makes it twice."""
    for ask in {(ask.properties, ask.graph_of): ask for ask in asks}.values():
        make_graphs(store, read(store, ask.dataset, ask.properties, ask.split), load_card(ask.graph_of).graph)


def _side_by_side(
    store: FeatureStore, jobs: Sequence[Job], workers: int, bars: Bars
) -> Iterator[tuple[Job, Learned]]:
    context = multiprocessing.get_context("spawn")
    notes, stop = context.SimpleQueue(), context.Event()
    todo, running = deque(jobs), dict[Future, Job]()
    failed: list[StrataError] = []
    with (
        stoppable() as signalled,
        ProcessPoolExecutor(workers, context, _start, (notes, stop, os.getpid())) as pool,
    ):
        try:
            while running or (todo and not failed):
                while todo and len(running) < workers and not failed:
                    job = todo.popleft()
                    running[pool.submit(_learn, str(store.path), job)] = job
                ended, _ = wait(running, _POLL, FIRST_COMPLETED)
                while not notes.empty():
                    bars.show(notes.get())
                if number := signalled():
                    stop.set()
                    leave(number)
                for future in ended:
                    job = running.pop(future)
                    bars.over(job.ask.title)
                    try:
                        yield job, future.result()
                    except StrataError as error:
                        failed.append(_titled(job, error))
        except BrokenProcessPool as error:
            raise StrataError(
                "a process that trained ended abruptly, killed perhaps, for want of memory or by hand. The "
                "same command goes on from the checkpoints; fewer at a time need less memory (`workers` in "
                'params.yaml). A script of your own needs its `if __name__ == "__main__":`'
            ) from error
        finally:
            stop.set()
    if failed:
        raise failed[0]


def _titled(job: Job, error: StrataError) -> StrataError:
    return StrataError(f"{job.ask.title}: {error}")


def _start(notes: Any, stop: Any, parent: int) -> None:
    global _notes, _stop  # a worker process has one parent for all its trainings
    _notes, _stop = notes, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which sets `stop`
    threading.Thread(target=leave_with, args=(parent,), daemon=True).start()


def _learn(store_root: str, job: Job) -> Learned:
    if _stop.is_set():
        raise KeyboardInterrupt
    return learn(open_store(Path(store_root)), job, _show, _stop.is_set)


def _show(note: Note) -> None:
    _notes.put(note)
