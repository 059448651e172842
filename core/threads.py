"""Tasks in threads of this process: for arithmetic on arrays, which are shared and not copied."""

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

from core.executor import in_order

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 2  # tasks a thread that are in flight: none waits for its next one


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def ordered(function: Callable[[T], R], tasks: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Yield each task's result in the order of the tasks, by as many threads as `workers` says.

    Meanwhile the libraries of linear algebra have one thread for each of them; with one worker the tasks are
    done here, and these libraries do as they like. Tasks are taken as they are needed. A task's error is
    raised in its place, and no more are begun. Whoever may leave early closes it (`contextlib.closing`).

    >>> list(ordered(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    if workers < 2:
        yield from map(function, tasks)
        return
    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
        yield from in_order(pool, function, tasks, workers * AHEAD)
