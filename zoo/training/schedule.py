"""When the learning rate is what, and in which order structures are seen: all of it follows from settings."""

import math
from collections.abc import Sequence

import numpy as np

from core.params import Train

_START = 25.0  # the first learning rate is the peak over this, the last is the first over the next
_END = 1e4
_MOMENTUM = (0.85, 0.95)  # of Adam's first moment, at the peak and at either end


def one_cycle(progress: float, peak: float, warmup: float = 0.3) -> tuple[float, float]:
    """Return learning rate and first beta at `progress` (0 to 1) through the training.

    torch's `OneCycleLR` at its defaults (Smith & Topin 2018; cosines up and down), but a function of the
    share of structures that were seen: batches that are cut in two do not move the schedule.

    >>> [f"{one_cycle(p, 1e-3)[0]:.3g}" for p in (0, 0.3, 1)]
    ['4e-05', '0.001', '4e-09']
    """
    first, low, high = peak / _START, *_MOMENTUM
    if progress < warmup:
        way = progress / warmup
        return _cosine(first, peak, way), _cosine(high, low, way)
    way = min((progress - warmup) / (1 - warmup), 1.0)
    return _cosine(peak, first / _END, way), _cosine(low, high, way)


def _cosine(start: float, end: float, way: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * way))


class Plan:
    """Which rows of the training part each step of each epoch takes; the same from the same settings.

    costs: (n,) compressed angles of each row. `curriculum`: (epoch, angles) pairs; before that epoch only
    rows of at most so many angles are seen.
    """

    def __init__(
        self, rows: np.ndarray, costs: np.ndarray, settings: Train, curriculum: Sequence[tuple[int, int]] = ()
    ) -> None:
        self._rows, self._costs, self._settings = rows, costs, settings
        self._limits = sorted(curriculum)
        seen = [len(self._eligible(epoch)) for epoch in range(settings.epochs)]
        self._before = np.concatenate([[0], np.cumsum(seen)])

    @property
    def total(self) -> int:
        """Structures that all epochs together see."""
        return int(self._before[-1])

    def progress(self, epoch: int, seen: int) -> float:
        """Share of the training that is over when `seen` structures of an epoch were seen."""
        return self.done(epoch, seen) / self.total

    def done(self, epoch: int, seen: int) -> int:
        """Structures seen by then."""
        return int(self._before[epoch]) + seen

    def steps(self, epoch: int) -> list[np.ndarray]:
        """The rows of each step: shuffled, dealt into batches of nearly one size, cut where angles abound."""
        rows = self._eligible(epoch)
        order = np.random.default_rng([self._settings.seed, epoch]).permutation(rows)
        batches = np.array_split(order, -(-len(order) // self._settings.batch_size))
        return [step for batch in batches for step in self._cut(batch)]

    def _eligible(self, epoch: int) -> np.ndarray:
        for until, limit in self._limits:
            if epoch < until:
                return self._rows[self._costs[self._rows] <= limit]
        return self._rows

    def _cut(self, batch: np.ndarray) -> list[np.ndarray]:
        limit = self._settings.angles_per_step
        pieces = -(-int(self._costs[batch].sum()) // limit)
        if pieces <= 1 or len(batch) == 1:
            return [batch]
        middle = np.cumsum(self._costs[batch]) - self._costs[batch] / 2
        of = (middle * pieces / self._costs[batch].sum()).astype(np.int64)
        return [batch[of == k] for k in np.unique(of)]
