"""Ridge regression on standardised vectors, its penalty chosen by mean absolute error."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from sklearn.preprocessing import StandardScaler

from core.errors import StrataError
from heads.base import Head

ALPHAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)


class Ridge(Head):
    """Linear regression with a squared penalty.

    X is standardised with the training part's means and deviations. The penalty is the one of
    `alphas` with the lowest mean absolute error: on the validation part where there is one, else over
    the training part, each row left out in turn (closed form). The fit itself is to the training part.
    """

    shallow: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    def __init__(self, alphas: Sequence[float] = ALPHAS) -> None:
        self.alphas = alphas

    alpha_: float
    coef_: np.ndarray
    intercept_: float

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None) -> None:
        alphas = np.asarray(self.alphas, dtype=np.float64)
        if alphas.ndim != 1 or not alphas.size or not (np.isfinite(alphas) & (alphas > 0)).all():
            raise StrataError(f"ridge: alphas must be a list of positive numbers, got {self.alphas!r}")
        scaler = StandardScaler().fit(X, sample_weight=self._weights)
        mean, scale = scaler.mean_, scaler.scale_
        middle = np.average(y, weights=self._weights)
        Z, target, share = (X - mean) / scale, y - middle, 1 / len(y)
        if self._weights is not None:  # a row of weight w is as w rows: both of its sides times √w
            root = np.sqrt(self._weights)
            Z, target, share = Z * root[:, None], target * root, self._weights / self._weights.sum()
        if X.shape[0] > X.shape[1]:
            values, vectors = np.linalg.eigh(Z.T @ Z)  # ZᵀZ = V Λ Vᵀ
            scores = Z @ vectors
            coefs = (scores.T @ target / (values + alphas[:, None])) @ vectors.T
        else:
            values, vectors = np.linalg.eigh(Z @ Z.T)  # ZZᵀ = U Λ Uᵀ, the cheaper side for few rows
            scores = vectors * np.sqrt(np.maximum(values, 0))
            coefs = (vectors.T @ target / (values + alphas[:, None])) @ (vectors.T @ Z)
        if X_val is None or y_val is None:
            # Leaving row i out divides its residual by 1 − h_i, where h is the diagonal of the hat matrix.
            leverage = share + (1 / (values + alphas[:, None])) @ (scores**2).T
            errors = (target - coefs @ Z.T) / np.maximum(1 - leverage, 1e-12)
            if self._weights is not None:
                errors = errors * root  # √w of it is in Z and target
        else:
            errors = y_val - middle - coefs @ ((X_val - mean) / scale).T
        best = int(np.abs(errors).mean(axis=1).argmin())
        self.alpha_ = float(alphas[best])
        self.coef_ = coefs[best] / scale
        self.intercept_ = float(middle - mean @ self.coef_)

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return X @ self.coef_ + self.intercept_


HEAD = Ridge
