"""Trainings on many cores: processes of `threads` threads each, a training at a time.

Small batches do not fill two cores, two trainings do. A training comes out the same wherever it runs.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import StrataError
from core.executor import Executor, Processes, count
from core.params import Finetune
from core.progress import Bars
from featurestore import FeatureStore, open_store
from zoo.backbones.engine import pick_device
from zoo.hub import load_card
from zoo.training.data import make_graphs, read
from zoo.training.initial import alignn_of
from zoo.training.run import Ask, Job, Learned, learn
from zoo.training.watch import leave, shown_on, stoppable

_notes: Any = None  # a worker's own queue to its parent and event from it, set once by `_start`
_stop: Any = None


def run_trainings(
    store: FeatureStore,
    jobs: Sequence[Job],
    seconds: float | None = None,
    executor: type[Executor] = Processes,
) -> Iterator[tuple[Job, Learned]]:
    """Do the trainings of one dataset; each comes as it ends.

    A training that fails does not touch those that run beside it: they end and come, no more are begun, then
    its `StrataError` is raised. SIGINT and SIGTERM: all save, then the process ends. With `seconds` of wall
    clock, `zoo.training.loop.Paused` is raised when they are over; then one runs at a time.
    """
    workers = count_workers(jobs[0].ask.settings, len(jobs)) if jobs and seconds is None else 0
    with Bars() as bars:
        if workers:
            ended = _side_by_side(store, jobs, workers, bars, executor)
        else:
            ended = _one_by_one(store, jobs, seconds, bars)
        for over, (job, learned) in enumerate(ended, start=1):
            bars.over(job.ask.title)
            if len(jobs) > 1:
                bars.show("", f"{over} of {len(jobs)} networks", over, len(jobs))
            yield job, learned


def count_workers(settings: Finetune, trainings: int) -> int:
    """How many processes: as set, or as many as the cores hold; 0 where this one does as well."""
    if settings.workers < 0 and (not settings.threads or pick_device(settings.device).type != "cpu"):
        return 0  # one training has all cores, or the GPU
    return count(settings.workers, trainings, worth_it=2, threads=settings.threads)


def _one_by_one(
    store: FeatureStore, jobs: Sequence[Job], seconds: float | None, bars: Bars
) -> Iterator[tuple[Job, Learned]]:
    ends = None if seconds is None else time.monotonic() + seconds
    for job in jobs:
        left = None if ends is None else max(ends - time.monotonic(), 0.0)
        with _titled(job):
            learned = learn(store, job, shown_on(bars), seconds=left)
        yield job, learned


def _side_by_side(
    store: FeatureStore, jobs: Sequence[Job], workers: int, bars: Bars, executor: type[Executor]
) -> Iterator[tuple[Job, Learned]]:
    _make_graphs(store, [job.ask for job in jobs])
    context = multiprocessing.get_context("spawn")
    notes, stop = context.SimpleQueue(), context.Event()
    pool = executor(workers, _start, (notes, stop), jobs[0].ask.settings.threads)
    show = shown_on(bars)
    with stoppable() as signalled:

        def poll() -> None:
            while not notes.empty():
                show(notes.get())
            if number := signalled():
                leave(number)

        ended = pool.completed(_learn, [(str(store.path), job) for job in jobs], poll, stop.set)
        for (_, job), learned in ended:
            yield job, learned


def _make_graphs(store: FeatureStore, asks: Sequence[Ask]) -> None:
    """Make what all workers read, so that none makes it twice."""
    for ask in {(ask.properties, ask.graph_of): ask for ask in asks}.values():
        make_graphs(
            store, read(store, ask.dataset, ask.properties, ask.split), alignn_of(load_card(ask.graph_of))[1]
        )


@contextmanager
def _titled(job: Job) -> Iterator[None]:
    """Let errors say which training theirs is."""
    try:
        yield
    except StrataError as error:
        raise StrataError(f"{job.ask.title}: {error}") from error


def _start(notes: Any, stop: Any) -> None:
    global _notes, _stop  # a worker process has one parent for all its trainings
    _notes, _stop = notes, stop


def _learn(task: tuple[str, Job]) -> Learned:
    if _stop.is_set():
        raise KeyboardInterrupt
    root, job = task
    with _titled(job):
        return learn(open_store(Path(root)), job, _notes.put, _stop.is_set)
