"""Small Ray clusters of several nodes on this machine, whose processes are all gone when a test ends."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
_MEMORY = 80 << 20  # bytes of each node's object store
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_DASHBOARD": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
}


class SmallCluster:
    """Nodes of one CPU each, the first of which keeps the cluster together."""

    def __init__(self, nodes: int) -> None:
        from ray.cluster_utils import Cluster

        settings = {"num_cpus": 1, "object_store_memory": _MEMORY, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=settings)
        self._others = [self._cluster.add_node(**settings) for _ in range(nodes - 1)]
        self.address = self._cluster.address

    def kill_node(self, choice: random.Random) -> None:
        """Kill one of the nodes but the first, with all of its workers."""
        node = self._others.pop(choice.randrange(len(self._others)))
        self._cluster.remove_node(node, allow_graceful=False)

    def workers(self, name: str) -> list[int]:
        """Return the process ids of the cluster's workers whose title begins with `ray::name`."""
        raylets = {
            one.process.pid
            for node in self._cluster.list_all_nodes()
            for one in node.all_processes.get("raylet", [])
        }
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                title = (folder / "cmdline").read_bytes()
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if title.startswith(f"ray::{name}".encode()) and parent in raylets:
                    found.append(int(folder.name))
        return found

    def kill_worker(self, name: str, choice: random.Random) -> None:
        """Kill one worker."""
        with suppress(ProcessLookupError):
            os.kill(choice.choice(wait_for(lambda: self.workers(name))), signal.SIGKILL)

    def close(self) -> None:
        """End every process."""
        self._cluster.shutdown()


@contextmanager
def small_cluster(nodes: int) -> Iterator[SmallCluster]:
    """Start a cluster, and let `RAY_ADDRESS` name it; skips without Ray."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'strata[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _ENVIRONMENT.items():
            patch.setenv(name, value)
        cluster = SmallCluster(nodes)
        try:
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
        finally:
            cluster.close()


def wait_for(ask: Callable[[], Any], seconds: float = 300) -> Any:
    """Ask until the answer is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return answer
