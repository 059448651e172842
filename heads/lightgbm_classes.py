"""Gradient-boosted trees for classes."""

from typing import Any

import numpy as np

from heads.classifier import Classifier
from heads.lightgbm import LightGBM


class LightGBMClassifier(Classifier, LightGBM):
    """Boosted trees for classes, with the settings of the head `lightgbm` but its `objective`."""

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None) -> None:
        self.classes_ = np.unique(y.astype(np.int64))
        known = None if y_val is None else np.isin(y_val, self.classes_)  # a class may be in validation alone
        if X_val is None or y_val is None or known is None or not known.any():
            super()._fit(X, self._places(y), None, None)
        else:
            super()._fit(X, self._places(y), X_val[known], self._places(y_val[known]))

    def _places(self, y: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.classes_, y).astype(np.float64)

    def _parameters(self, rows: int) -> dict[str, Any]:
        several = {"objective": "multiclass", "metric": "multi_logloss", "num_class": len(self.classes_)}
        return super()._parameters(rows) | several

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.booster_.predict(X, num_threads=self._threads(len(X))))
