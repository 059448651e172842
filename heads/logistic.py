"""Logistic regression: a linear head for classes."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from core.errors import StrataError
from heads.classifier import Classifier

COSTS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)


class Logistic(Classifier):
    """Logistic regression on standardised vectors, for two classes or more.

    The inverse penalty is the one of `costs` with the lowest log loss on the validation part; without one it
    is the middle of them.
    """

    shallow: ClassVar[bool] = True

    def __init__(self, costs: Sequence[float] = COSTS) -> None:
        self.costs = costs

    cost_: float
    x_mean_: np.ndarray
    x_scale_: np.ndarray
    coef_: np.ndarray
    intercept_: np.ndarray

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None) -> None:
        costs = np.asarray(self.costs, dtype=np.float64)
        if costs.ndim != 1 or not costs.size or not (np.isfinite(costs) & (costs > 0)).all():
            raise StrataError(f"logistic: costs must be a list of positive numbers, got {self.costs!r}")
        self.classes_ = np.unique(y.astype(np.int64))
        scaler = StandardScaler().fit(X)
        self.x_mean_, self.x_scale_ = scaler.mean_, scaler.scale_
        Z = (X - self.x_mean_) / self.x_scale_
        if X_val is None or y_val is None:
            self._fit_one(Z, y, float(costs[len(costs) // 2]))
            return
        losses = []
        for cost in costs:
            self._fit_one(Z, y, float(cost))
            losses.append(self._loss(X_val, y_val))
        self._fit_one(Z, y, float(costs[int(np.argmin(losses))]))

    def _fit_one(self, Z: np.ndarray, y: np.ndarray, cost: float) -> None:
        model = LogisticRegression(C=cost, max_iter=2000).fit(Z, y.astype(np.int64))
        self.cost_, self.coef_, self.intercept_ = cost, model.coef_, model.intercept_

    def _loss(self, X: np.ndarray, y: np.ndarray) -> float:
        codes = np.union1d(self.classes_, y.astype(np.int64))
        chances = np.zeros((len(y), len(codes)))
        chances[:, np.searchsorted(codes, self.classes_)] = self._probabilities(X)
        return float(log_loss(y.astype(np.int64), chances, labels=codes))

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        logits = (X - self.x_mean_) / self.x_scale_ @ self.coef_.T + self.intercept_
        if logits.shape[1] > 1:
            return np.asarray(softmax(logits, axis=1))
        second = expit(logits[:, 0])
        return np.column_stack([1 - second, second])


HEAD = Logistic
