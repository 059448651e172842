"""Tasks on a Ray cluster, in place of the processes of this machine (`core.executor.Processes`).

A task is done by whichever machine has a free CPU. Where its worker or machine is lost it is done again
elsewhere; a task that fails is not. Ray pickles functions, tasks and results in memory, between processes of
one cluster that trust each other; nothing of it is kept.
"""

import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from threadpoolctl import threadpool_limits

from core.channel import Channel
from core.errors import StrataError
from core.executor import AHEAD, POLL, THREADS
from core.ray_channel import OfRay
from core.ray_cluster import RETRIES, Place, cluster, cpus

T = TypeVar("T")
R = TypeVar("R")

_begun = ""  # what this worker process was last prepared for


class _Beginning(NamedTuple):
    """What a worker does before its first task."""

    place: Place
    threads: int
    initializer: Callable[..., None] | None
    arguments: tuple[Any, ...]


class OnRay:
    """Workers of a Ray cluster; see `core.executor.Processes` for the arguments.

    With -1 workers there are as many as the cluster has CPUs, also while machines come and go; more than it
    has now let one that grows grow.
    """

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., None] | None = None,
        arguments: tuple[Any, ...] = (),
        threads: int = 1,
    ) -> None:
        self._workers, self._threads = workers, threads
        self._beginning = _Beginning(Place.here(), threads, initializer, arguments)

    @staticmethod
    def count(asked: int, items: int, worth_it: int, threads: int = 1) -> int:  # noqa: ARG004 - as Processes
        """How many workers do `items`: as asked, -1 for all; 0 where this process does as well."""
        if items == 0 or (asked < 0 and items < worth_it):
            return 0
        return asked

    @classmethod
    @contextmanager
    def channel(cls, workers: int) -> Iterator[Channel]:
        """Open a channel to workers; they and it are of one cluster, which stays as long."""
        with cluster(workers) as ray:
            yield OfRay.open(ray)

    def ordered(self, function: Callable[[T], R], tasks: Iterable[T], ahead: int = AHEAD) -> Iterator[R]:
        """Yield each task's result in the order of tasks; `ahead` of them a worker are taken before."""
        if self._workers == 0:
            self._begin_here()
            yield from map(function, tasks)
            return
        todo = iter(tasks)
        with self._cluster() as run:
            waiting: deque[Any] = deque()  # what was begun and not yet yielded, in order
            while True:
                while run.is_free and len(waiting) < run.size * ahead:
                    try:
                        waiting.append(run.begin(function, next(todo)))
                    except StopIteration:
                        break
                if not waiting:
                    return
                if run.ended(waiting[0]):
                    yield run.result(waiting.popleft())

    def completed(
        self,
        function: Callable[[T], R],
        tasks: Iterable[T],
        poll: Callable[[], None] = lambda: None,
        ending: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[T, R]]:
        """Yield tasks with their results as they end; a task is taken when a worker is free for it.

        As `Processes.completed`.
        """
        if self._workers == 0:
            self._begin_here()
            for task in tasks:
                poll()
                yield task, function(task)
            return
        todo = iter(tasks)
        running: dict[Any, T] = {}
        failed: list[Exception] = []
        with self._cluster() as run:
            try:
                while True:
                    while not failed and run.is_free:
                        try:
                            task = next(todo)
                        except StopIteration:
                            break
                        running[run.begin(function, task)] = task
                    if not running:
                        break
                    run.wait()
                    poll()
                    for one in [one for one in running if one not in run.running]:
                        task = running.pop(one)
                        try:
                            found = run.result(one)
                        except LostWorkerError:
                            raise
                        except Exception as error:  # noqa: BLE001 - raised when the others have ended
                            failed.append(error)
                        else:
                            yield task, found
            finally:
                ending()
                run.settle()
        if failed:
            raise failed[0]

    def _begin_here(self) -> None:
        if self._beginning.initializer is not None:
            self._beginning.initializer(*self._beginning.arguments)

    @contextmanager
    def _cluster(self) -> "Iterator[_Run]":
        with cluster(self._workers) as ray:
            run = _Run(ray, self._workers, self._beginning)
            try:
                yield run
            finally:
                run.cancel()


class LostWorkerError(StrataError):
    """The workers of a task were lost, one after another."""


class StoppedError(Exception):
    """A task ended because it was asked to."""


class _Run:
    """The tasks of one executor that are with the cluster."""

    def __init__(self, ray: ModuleType, workers: int, beginning: _Beginning) -> None:
        self._ray, self._workers = ray, workers
        self._token = secrets.token_hex(16)
        self._beginning = [ray.put(beginning)]  # in a list Ray hands the reference on, not what it stands for
        self._do = ray.remote(
            num_cpus=max(beginning.threads, 1), max_retries=RETRIES, retry_exceptions=False
        )(do)
        self._threads = max(beginning.threads, 1)
        self.running: set[Any] = set()

    @property
    def size(self) -> int:
        """How many tasks the cluster does at a time."""
        return self._workers if self._workers > 0 else max(cpus(self._ray) // self._threads, 1)

    @property
    def is_free(self) -> bool:
        """Tell whether there is a worker for one more task."""
        return len(self.running) < self.size

    def begin(self, function: Callable[[T], R], task: T) -> Any:
        """Give the cluster a task; returns what its result is asked by."""
        one = self._do.remote(self._token, self._beginning, function, task)
        self.running.add(one)
        return one

    def wait(self) -> None:
        """Wait a moment for a task to end."""
        if self.running:
            over, _ = self._ray.wait(list(self.running), num_returns=1, timeout=POLL, fetch_local=False)
            self.running.difference_update(over)

    def ended(self, one: Any) -> bool:
        """Tell whether a task has ended; waits a moment where it has not."""
        if one in self.running:
            self.wait()
        return one not in self.running

    def result(self, one: Any) -> Any:
        """Return a task's result, or raise its error; `LostWorkerError` where there was no worker left."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(one)
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            raise LostWorkerError(
                f"a task lost {RETRIES + 1} workers in turn, killed perhaps, for want of memory or with "
                f"their machines ({str(error).strip().splitlines()[0]}). The same command goes on from what "
                "was done; fewer at a time need less memory (`workers` in params.yaml)"
            ) from error

    def settle(self) -> None:
        """Wait until nothing runs any more."""
        while self.running:
            self.wait()

    def cancel(self) -> None:
        """Let go of what still runs or waits."""
        for one in self.running:
            self._ray.cancel(one, force=True)


def do(token: str, beginning: list[Any], function: Callable[[T], R], task: T) -> R:
    """Do a task in a worker process of Ray, which is prepared once for all tasks of an executor."""
    global _begun  # noqa: PLW0603 - the process's own
    if _begun != token:
        import ray

        place, threads, initializer, arguments = ray.get(beginning[0])
        place.enter()
        if threads:
            os.environ.update(dict.fromkeys(THREADS, str(threads)))
            threadpool_limits(threads)
        if initializer is not None:
            initializer(*arguments)
        _begun = token
    try:
        return function(task)
    except KeyboardInterrupt as error:  # Ray would take the worker for lost, and do the task again
        raise StoppedError("the task was asked to stop") from error
