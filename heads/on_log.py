"""A head that learns the logarithm of a positive property, and predicts in the property's unit."""

from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from core.atomic import write_whole
from core.checksums import write_checksums
from core.errors import StrataError
from heads.base import NotApplicable

LOG = "log"
FILE = "transform.txt"  # beside the saved head; none: it predicts the property as it is


class Predictor(Protocol):
    """What is left of a head where it only predicts."""

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return (n,) float64 values for X (n, d)."""


class OnLog:
    """A head, fitted to natural logarithms; its predictions are exponentials of the head's.

    The mean of logarithms, which Base predicts here, is the logarithm of the geometric mean.

    >>> from heads import Mean
    >>> OnLog(Mean()).fit([[0.0], [1.0]], [1.0, 100.0]).predict([[5.0]]).round(9)
    array([10.])
    """

    def __init__(self, head: Any) -> None:
        self.head = head

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        **more: Any,
    ) -> Self:
        """Fit the head; y (n,) and y_val in the property's unit, all positive. See `Head.fit`."""
        self.head.fit(X, _logarithms(y), X_val, None if y_val is None else _logarithms(y_val), **more)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return (n,) positive values in the property's unit."""
        with np.errstate(over="ignore"):
            values: np.ndarray = np.exp(self.head.predict(X))
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise NotApplicable(
                f"{type(self.head).__name__} predicts a logarithm for row {bad} that is no number's"
            )
        return values

    def save(self, folder: str | Path) -> None:
        """Write the head, and that it predicts logarithms."""
        self.head.save(folder)
        write_whole(Path(folder) / FILE, LOG + "\n")
        write_checksums(Path(folder))


def as_saved(head: Any, folder: str | Path) -> Any:
    """Return a head that was loaded from `folder`, so that it predicts in the property's unit."""
    path = Path(folder) / FILE
    if not path.exists():
        return head
    if path.read_text(encoding="utf-8").strip() != LOG:
        raise StrataError(f"{path} does not say {LOG}; fit the head again")
    return OnLog(head)


def _logarithms(y: ArrayLike) -> np.ndarray:
    values = np.asarray(y, dtype=np.float64)
    if not (values > 0).all():
        bad = int(np.flatnonzero(~(values > 0))[0])
        raise StrataError(f"target {bad} is {values[bad]:g}: only of positive values there are logarithms")
    return np.log(values)
