"""A random forest (Breiman 2001) by scikit-learn, kept as arrays."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from core.errors import StrataError
from heads.base import Head

ROWS_AT_A_TIME = 2048


class Forest(Head):
    """A random forest: the mean of trees grown on resampled rows; looks at no validation part.

    On `magpie/all` it is the baseline that knows a structure's composition alone.
    """

    shallow: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    def __init__(
        self,
        *,
        n_estimators: int = 300,
        max_features: float = 1 / 3,
        min_samples_leaf: int = 1,
        seed: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.seed = seed

    # All trees one after another, a place a node. A leaf's children are the leaf itself, so that as many
    # steps as the deepest tree has lead every row to its leaf.
    roots_: np.ndarray  # (trees,) the place of each tree's first node
    feature_: np.ndarray  # (nodes,) the column that a node splits by
    number_: np.ndarray  # (nodes,) float32; of a split its threshold, of a leaf its value
    left_: np.ndarray  # (nodes,) where a row goes whose number is at most the threshold
    right_: np.ndarray  # (nodes,)
    depth_: int

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: Any, y_val: Any) -> None:  # noqa: ARG002 - the contract's
        forest = RandomForestRegressor(
            n_estimators=self.n_estimators,
            max_features=self.max_features,
            min_samples_leaf=self.min_samples_leaf,
            random_state=self.seed,
            n_jobs=1,
        ).fit(X, y, sample_weight=self._weights)
        trees = [grown.tree_ for grown in forest.estimators_]
        ends = np.cumsum([tree.node_count for tree in trees])
        self.roots_ = np.concatenate([[0], ends[:-1]]).astype(np.int32)
        self.depth_ = max(tree.max_depth for tree in trees)
        starts = np.repeat(self.roots_, [tree.node_count for tree in trees])
        left = np.concatenate([tree.children_left for tree in trees])
        right = np.concatenate([tree.children_right for tree in trees])
        is_leaf = left == right  # scikit-learn has -1 for both
        itself = np.arange(len(left))
        self.left_ = np.where(is_leaf, itself, left + starts).astype(np.int32)
        self.right_ = np.where(is_leaf, itself, right + starts).astype(np.int32)
        feature = np.concatenate([tree.feature for tree in trees])
        self.feature_ = np.where(is_leaf, 0, feature).astype(np.int32)
        thresholds = _rounded_down(np.concatenate([tree.threshold for tree in trees]))
        values = np.concatenate([tree.value[:, 0, 0] for tree in trees])
        self.number_ = np.where(is_leaf, values, thresholds).astype(np.float32)

    def _load(self, folder: Path) -> None:
        nodes = len(self.number_)
        if not 0 <= self.depth_ <= nodes:
            raise StrataError(
                f"{folder}: trees {self.depth_} deep have more than {nodes} nodes; fit it again"
            )

    def _predict(self, X: np.ndarray) -> np.ndarray:
        pieces = range(0, len(X), ROWS_AT_A_TIME)
        return np.concatenate([self._walk(X[i : i + ROWS_AT_A_TIME].astype(np.float32)) for i in pieces])

    def _walk(self, X: np.ndarray) -> np.ndarray:
        node = np.broadcast_to(self.roots_, (len(X), len(self.roots_)))
        row = np.arange(len(X))[:, None]
        for _ in range(self.depth_):
            goes_left = X[row, self.feature_[node]] <= self.number_[node]
            node = np.where(goes_left, self.left_[node], self.right_[node])
        return self.number_[node].mean(axis=1, dtype=np.float64)


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """Return the largest float32 at or below each threshold: to float32 numbers they say the same."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


HEAD = Forest
