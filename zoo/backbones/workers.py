"""Extraction on many cores: processes of one thread each, fed ahead and read in order.

On a CPU a worker does all of a task, graphs and network: it needs no barrier between threads, and as many
workers as cores neither idle nor oversubscribe. With a GPU the workers build graphs, this process runs them.
"""

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from core.params import Extract
from core.structure import InvalidStructure, Structure
from zoo.backbones.alignn.prepare import Prepared
from zoo.backbones.engine import Engine, Extracted, pick_device

_WORTH_IT = 2000  # structures; fewer are done before the workers would be up
_AHEAD = 3  # tasks a worker that are in flight

_engine: Engine | None = None  # a worker's own, made once by `_start`


def run_tasks(tasks: Iterable[list[Structure]], settings: Extract, total: int) -> Iterator[Extracted]:
    """Run lists of structures through the engine; results come in the order of the tasks."""
    workers = count_workers(settings, total)
    if workers == 0:
        in_line = make_engine(settings)
        for task in tasks:
            yield in_line(task)
        return
    on_gpu = pick_device(settings.device).type == "cuda"
    engine = make_engine(settings) if on_gpu else None
    context = multiprocessing.get_context("spawn")
    one_thread = settings.model_copy(update={"device": "cpu", "threads": 1})
    with ProcessPoolExecutor(workers, context, _start, (one_thread, os.getpid())) as pool:
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
    """How many processes: as set, or one a core where there is enough to do."""
    if settings.workers >= 0:
        return settings.workers
    cores = len(os.sched_getaffinity(0))
    return cores if total >= _WORTH_IT and cores > 1 else 0


def make_engine(settings: Extract) -> Engine:
    """An engine for the source model that the settings name."""
    from zoo.hub import load_source

    return Engine(load_source(settings.source_model), settings)


def _finish(future: Future, engine: Engine | None) -> Extracted:
    result = future.result()
    return engine.run(result) if engine else result


def _start(settings: Extract, parent: int) -> None:
    global _engine  # noqa: PLW0603  # a worker process holds one engine for all its tasks
    threading.Thread(target=leave_with, args=(parent,), daemon=True).start()
    _engine = make_engine(settings)


def leave_with(parent: int) -> None:
    """End this worker process when its parent is gone, killed perhaps: nobody would read its results."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _extract(structures: list[Structure]) -> Extracted:
    assert _engine is not None
    return _engine(structures)


def _prepare(structures: list[Structure]) -> list[Prepared | InvalidStructure]:
    assert _engine is not None
    return _engine.prepare(structures)
