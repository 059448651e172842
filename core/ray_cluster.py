"""A Ray cluster: the one that RAY_ADDRESS names, or one of this machine while there is work for it."""

import contextlib
import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self

from core.errors import StrataError
from core.lazy import need

ADDRESS = "RAY_ADDRESS"
RETRIES = 5  # of a task whose worker was lost
_MEMORY = 1 << 30  # bytes of the object store of a cluster of this machine; taken as they are used
_LEAST_MEMORY = 80 << 20  # Ray accepts no less than 75 MiB
_CODE = Path(__file__).parents[1]  # from where the project's modules are imported
_SETTINGS = "STRATA_"  # prefix of our environment variables
# Read by Ray when it starts; whoever has set them keeps theirs. Its C++ libraries warn of what is all right.
_SETTINGS_OF_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_worker_niceness": "0",  # 15 by default: on a busy machine such workers hardly get to anything
}


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker takes over from the process that asks for its work: the folder and our variables.

    A worker of a machine that does not see the folder stays where it is.
    """

    folder: str
    variables: Mapping[str, str]

    @classmethod
    def here(cls) -> Self:
        """Return that of this process."""
        ours = {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}
        return cls(str(Path.cwd()), ours)

    def enter(self) -> None:
        """Make it this process's own."""
        os.environ.update(self.variables)
        with contextlib.suppress(OSError):
            os.chdir(self.folder)


@contextmanager
def cluster(workers: int = -1) -> Iterator[ModuleType]:
    """Join the cluster that RAY_ADDRESS names, or start one here of `workers` CPUs; yields the module `ray`.

    -1: as many as this process may use. Inside of another such block, or where the program has called
    `ray.init` itself, that cluster is used and stays. Raises `StrataError` where Ray is not installed and
    where nothing answers at the address.
    """
    for name, value in _SETTINGS_OF_RAY.items():
        os.environ.setdefault(name, value)
    ray = need("ray", "ray")
    if ray.is_initialized():
        yield ray
        return
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        _join(ray, workers)
        if main:  # Ray has put a handler of its own in its place
            signal.signal(signal.SIGTERM, before)
        yield ray
    finally:
        ray.shutdown()


def cpus(ray: ModuleType) -> int:
    """Return how many CPUs the cluster has now, at least 1."""
    return max(int(ray.cluster_resources().get("CPU", 0)), 1)


def gpus(ray: ModuleType) -> int:
    """Return how many GPUs the cluster has now."""
    return int(ray.cluster_resources().get("GPU", 0))


def _join(ray: ModuleType, workers: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    address = os.environ.get(ADDRESS, "")
    if address.startswith("ray://"):
        raise StrataError(
            f"{ADDRESS} is {address}: the addresses of Ray Client are not supported. Run the command on a "
            "machine of the cluster, or by `ray job submit`, with the form host:port, or auto"
        )
    # Ray lets all workers import from the current folder, before anything else of that name. A project's
    # folder is not for that; the project's code is.
    with contextlib.chdir(_CODE):
        try:
            if address:
                ray.init(address=address, **quiet)
            else:
                ray.init(
                    address="local",
                    num_cpus=workers if workers > 0 else len(os.sched_getaffinity(0)),
                    object_store_memory=_memory(),
                    include_dashboard=False,
                    **quiet,
                )
        except Exception as error:  # Ray raises plain ones where its processes do not come up
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise StrataError(
                f"{ADDRESS} is {address}, and no cluster could be joined there ({said}). Start one "
                "(docs/cluster.md), or unset it for a cluster of this machine. One that asks for a token, as "
                "those of `ray start` do, needs RAY_AUTH_MODE=token"
                if address
                else f"no Ray cluster could be started on this machine ({said}); a machine that is very busy "
                "or short of memory may need another try, and `engine: local` needs none"
            ) from error


def _memory() -> int:
    """Return a size of the object store that the machine's shared memory holds."""
    with contextlib.suppress(OSError):
        return max(min(_MEMORY, shutil.disk_usage("/dev/shm").free // 2), _LEAST_MEMORY)  # noqa: S108 - Ray's
    return _MEMORY
