"""Work in parallel: an executor is given to whoever has tasks; here, processes of this machine.

Whoever works in parallel takes the class as an argument (`executor: type[Executor] = Processes`), so that a
cluster's can stand in its place (`core.ray_executor.OnRay`), and says how many workers there are and how
each of them begins.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures import Executor as PoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

from threadpoolctl import threadpool_limits

from core.channel import Channel, OfProcesses
from core.errors import StrataError

AHEAD = 3  # tasks a worker that are in flight: none waits for its next one
POLL = 0.3  # seconds
_WATCH = 1.0  # seconds between two looks at whether the parent is there
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Where tasks are done; see `Processes`. Functions, tasks and results must be picklable."""

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., None] | None = None,
        arguments: tuple[Any, ...] = (),
        threads: int = 1,
    ) -> None: ...

    @staticmethod
    def count(asked: int, items: int, worth_it: int, threads: int = 1) -> int:
        """How many workers do `items`, where `asked` is -1 for as many as there are; 0: none are needed."""
        ...

    @classmethod
    def channel(cls, workers: int) -> AbstractContextManager[Channel]:
        """Open a channel between this process and so many workers, for as long as they are there."""
        ...

    def ordered(self, function: Callable[[T], R], tasks: Iterable[T], ahead: int = AHEAD) -> Iterator[R]:
        """Yield each task's result in the order of the tasks."""
        ...

    def completed(
        self,
        function: Callable[[T], R],
        tasks: Iterable[T],
        poll: Callable[[], None] = ...,
        ending: Callable[[], None] = ...,
    ) -> Iterator[tuple[T, R]]:
        """Yield tasks with their results as they end."""
        ...


def in_order(
    pool: PoolExecutor, function: Callable[[T], R], tasks: Iterable[T], ahead: int
) -> Generator[R, None, None]:
    """Yield each task's result in the order of the tasks, of which `ahead` are with the pool at a time.

    Whatever ends it early cancels those that were not begun.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


class Processes:
    """Spawned processes of this machine; with 0 workers this process does the tasks.

    threads: of each worker's libraries; 0: as they like. initializer: called with `arguments` in each worker
    before its first task (in this process where there are no workers). A worker leaves Ctrl-C to its parent,
    and ends when its parent is gone. One that dies is a `StrataError`.
    """

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., None] | None = None,
        arguments: tuple[Any, ...] = (),
        threads: int = 1,
    ) -> None:
        self._workers, self._threads = workers, threads
        self._initializer, self._arguments = initializer, arguments

    @staticmethod
    def count(asked: int, items: int, worth_it: int, threads: int = 1) -> int:
        """How many workers do `items` (see `count` in this module)."""
        return count(asked, items, worth_it, threads)

    @classmethod
    def channel(cls, workers: int) -> AbstractContextManager[Channel]:  # noqa: ARG003 - one serves any number
        """Open a channel to processes."""
        return nullcontext(OfProcesses())

    def ordered(self, function: Callable[[T], R], tasks: Iterable[T], ahead: int = AHEAD) -> Iterator[R]:
        """Yield each task's result in the order of tasks; `ahead` of them a worker are taken before."""
        if self._workers == 0:
            self._begin_here()
            yield from map(function, tasks)
            return
        with self._pool() as pool:
            yield from in_order(pool, function, tasks, self._workers * ahead)

    def completed(
        self,
        function: Callable[[T], R],
        tasks: Iterable[T],
        poll: Callable[[], None] = lambda: None,
        ending: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[T, R]]:
        """Yield tasks with their results as they end; a task is taken when a worker is free for it.

        poll: called now and then meanwhile; what it raises ends the work. ending: called when nobody waits
        any more for what still runs, to tell it so; it is waited for then. A task that fails does not touch
        those that run beside it: they end and come, no more are begun, and its error is raised.
        """
        if self._workers == 0:
            self._begin_here()
            for task in tasks:
                poll()
                yield task, function(task)
            return
        todo = iter(tasks)
        running: dict[Future[R], T] = {}
        failed: list[Exception] = []
        with self._pool() as pool:
            try:
                while True:
                    while not failed and len(running) < self._workers:
                        try:
                            task = next(todo)
                        except StopIteration:
                            break
                        running[pool.submit(function, task)] = task
                    if not running:
                        break
                    ended, _ = wait(running, POLL, FIRST_COMPLETED)
                    poll()
                    for future in ended:
                        task = running.pop(future)
                        error = future.exception()
                        if error is None:
                            yield task, future.result()
                        elif isinstance(error, BrokenProcessPool) or not isinstance(error, Exception):
                            raise error
                        else:
                            failed.append(error)
            finally:
                ending()
        if failed:
            raise failed[0]

    def _begin_here(self) -> None:
        if self._initializer is not None:
            self._initializer(*self._arguments)

    @contextmanager
    def _pool(self) -> Iterator[ProcessPoolExecutor]:
        begin = (os.getpid(), self._threads, self._initializer, self._arguments)
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold
        try:
            with ProcessPoolExecutor(self._workers, context, _begin, begin) as pool:
                yield pool
        except BrokenProcessPool as error:
            raise StrataError(
                "a worker process ended abruptly, killed perhaps, for want of memory or by hand. The same "
                "command goes on from what was done; fewer at a time need less memory (`workers` in "
                'params.yaml). A script of your own needs its `if __name__ == "__main__":`'
            ) from error


def count(asked: int, items: int, worth_it: int, threads: int = 1) -> int:
    """How many workers do `items`: as asked, or for -1 as many of `threads` threads as the cores hold.

    0 where fewer than `worth_it` items are done before workers would be up, or one worker is all there is
    room for: this process does as well.
    """
    if asked >= 0:
        return min(asked, items)
    if items < worth_it:
        return 0
    workers = min(items, len(os.sched_getaffinity(0)) // threads)
    return workers if workers > 1 else 0


def _begin(
    parent: int, threads: int, initializer: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which knows what to do
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    if threads:
        os.environ.update(dict.fromkeys(THREADS, str(threads)))  # for libraries that are loaded later
        threadpool_limits(threads)  # for those that are there
    if initializer is not None:
        initializer(*arguments)


def _leave_with(parent: int) -> None:
    """End this worker when its parent is gone, killed perhaps: nobody would read its results."""
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)
