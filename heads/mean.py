"""Base: the mean of the training targets for every structure (the paper's naive baseline, Methods)."""

from typing import Any, ClassVar

import numpy as np

from heads.base import Head


class Mean(Head):
    """Predict the mean of the training targets; looks at no vector.

    >>> Mean().fit([[0.0], [1.0]], [1.0, 3.0]).predict([[5.0]])
    array([2.])
    """

    needs_vectors: ClassVar[bool] = False
    constant_target: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    mean_: float

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: Any, y_val: Any) -> None:  # noqa: ARG002 - the contract's
        self.mean_ = float(y.mean() if self._weights is None else np.average(y, weights=self._weights))

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return np.full(len(X), self.mean_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # by design: it is what the others are compared with
        return tags


HEAD = Mean
