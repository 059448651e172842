"""Which executor does the work, by the word `engine` in params.yaml."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from core.executor import Executor, Processes
from core.ray_cluster import cluster
from core.ray_executor import OnRay

_BY_NAME: dict[str, type[Executor]] = {"local": Processes, "ray": OnRay}


def executor_of(engine: str) -> type[Executor]:
    """Return the executor of an engine: processes of this machine, or workers of a Ray cluster.

    >>> executor_of("local").__name__
    'Processes'
    """
    return _BY_NAME[engine]


def session(*engines: str) -> AbstractContextManager[Any]:
    """Keep what engines start for all the work inside of the block."""
    return cluster() if "ray" in engines else nullcontext()
