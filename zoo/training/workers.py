"""Trainings on many cores: processes of `threads` threads each, a training at a time.

Small batches do not fill two cores, two trainings do. A training comes out the same wherever it runs.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from core.channel import Channel
from core.engines import executor_of
from core.errors import StrataError
from core.executor import Executor, Processes
from core.params import Finetune
from core.progress import Bars
from featurestore import FeatureStore, open_store
from featurestore.tables.address import address
from zoo.backbones.engine import pick_device
from zoo.hub import load_card
from zoo.training.data import make_graphs, read
from zoo.training.initial import alignn_of
from zoo.training.run import Ask, Job, Learned, learn
from zoo.training.watch import leave, shown_on, stoppable

_channel: Channel | None = None  # a worker's own, set once by `_start`


def run_trainings(
    store: FeatureStore,
    jobs: Sequence[Job],
    seconds: float | None = None,
    executor: type[Executor] | None = None,
) -> Iterator[tuple[Job, Learned]]:
    """Do the trainings of one dataset; each comes as it ends.

    A training that fails does not touch those that run beside it: they end and come, no more are begun, then
    its `StrataError` is raised. SIGINT and SIGTERM: all save, then the process ends. With `seconds` of wall
    clock, `zoo.training.loop.Paused` is raised when they are over; then one runs at a time. executor: by
    default the one that `finetune.engine` names.
    """
    chosen = executor or executor_of(jobs[0].ask.settings.engine if jobs else "local")
    workers = count_workers(jobs[0].ask.settings, len(jobs), chosen) if jobs and seconds is None else 0
    with Bars() as bars:
        if workers:
            ended = _side_by_side(store, jobs, workers, bars, chosen)
        else:
            ended = _one_by_one(store, jobs, seconds, bars)
        for over, (job, learned) in enumerate(ended, start=1):
            bars.over(job.ask.title)
            if len(jobs) > 1:
                bars.show("", f"{over} of {len(jobs)} networks", over, len(jobs))
            yield job, learned


def count_workers(settings: Finetune, trainings: int, executor: type[Executor] = Processes) -> int:
    """How many processes: as set, or as many as the cores hold; 0 where this one does as well."""
    if settings.workers < 0 and (not settings.threads or pick_device(settings.device).type != "cpu"):
        return 0  # one training has all cores, or the GPU
    return executor.count(settings.workers, trainings, worth_it=2, threads=settings.threads)


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
    show = shown_on(bars)
    with executor.channel(workers) as channel, stoppable() as signalled:
        pool = executor(workers, _start, (channel,), jobs[0].ask.settings.threads)

        def poll() -> None:
            for note in channel.notes():
                show(note)
            if number := signalled():
                leave(number)

        tasks = [(address(store.path.absolute()), job) for job in jobs]
        for (_, job), learned in pool.completed(_learn, tasks, poll, channel.stop):
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


def _start(channel: Channel) -> None:
    global _channel  # noqa: PLW0603 - a worker process has one parent for all its trainings
    _channel = channel


def _learn(task: tuple[str, Job]) -> Learned:
    assert _channel is not None
    if _channel.stopped():
        raise KeyboardInterrupt
    root, job = task
    with _titled(job):
        return learn(open_store(Path(root)), job, _channel.put, _channel.stopped)
