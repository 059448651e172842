"""A channel between workers of a Ray cluster and the process that waits for them (see `core.channel`)."""

import time
from types import ModuleType
from typing import Any, Self

_ASKED_EVERY = 0.5  # seconds between two questions of a worker: each is a message


class _Box:
    """The actor in between; it lies beside the process that waits."""

    def __init__(self) -> None:
        self._notes: list[Any] = []
        self._stopped = False

    def put(self, note: Any) -> None:
        self._notes.append(note)

    def notes(self) -> list[Any]:
        found, self._notes = self._notes, []
        return found

    def stop(self) -> None:
        self._stopped = True

    def stopped(self) -> bool:
        return self._stopped


class OfRay:
    """A channel to workers of a Ray cluster."""

    def __init__(self, box: Any) -> None:
        self._box = box
        self._asked, self._stopped = 0.0, False

    @classmethod
    def open(cls, ray: ModuleType) -> Self:
        """Open one; it ends with this object and what it was sent to."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return cls(ray.remote(num_cpus=0, scheduling_strategy=here)(_Box).remote())

    def put(self, note: Any) -> None:
        """See `core.channel.Channel`."""
        self._box.put.remote(note)

    def notes(self) -> list[Any]:
        """See `core.channel.Channel`."""
        return list(self._get(self._box.notes.remote()))

    def stop(self) -> None:
        """See `core.channel.Channel`."""
        self._get(self._box.stop.remote())

    def stopped(self) -> bool:
        """See `core.channel.Channel`."""
        if not self._stopped and time.monotonic() - self._asked > _ASKED_EVERY:
            self._stopped = bool(self._get(self._box.stopped.remote()))
            self._asked = time.monotonic()
        return self._stopped

    @staticmethod
    def _get(asked: Any) -> Any:
        import ray

        return ray.get(asked)
