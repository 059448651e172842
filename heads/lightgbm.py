"""Gradient-boosted trees by LightGBM, set up for tens to thousands of rows of wide vectors."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from core.errors import StrataError
from core.lazy import need
from heads.base import Head
from heads.lightgbm_text import checked

MODEL_FILE = "model.txt"
NUMBERS_TO_SHARE = 500_000  # rows × columns
_END = "pandas_categorical:null"  # the last line of a text that `_save` wrote


class LightGBM(Head):
    """Boosted trees, stopped early on the validation part; without one, all `n_estimators` are grown.

    The rows a leaf must hold fall with the size of the training part (n/20, between 2 and
    `min_data_in_leaf`), since LightGBM's own 20 leaves no split to 30 rows. Results do not depend on
    the number of threads.
    """

    stack: ClassVar[tuple[tuple[str, str], ...]] = (("lightgbm", "lightgbm"),)
    own_files: ClassVar[tuple[str, ...]] = ("booster_",)
    weighted: ClassVar[bool] = True

    def __init__(
        self,
        *,
        n_estimators: int = 1000,
        early_stopping: int = 50,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_data_in_leaf: int = 20,
        max_bin: int = 63,
        feature_fraction: float = 0.3,
        bagging_fraction: float = 0.8,
        lambda_l2: float = 1.0,
        objective: str = "regression",
        seed: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.early_stopping = early_stopping
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_data_in_leaf = min_data_in_leaf
        self.max_bin = max_bin
        self.feature_fraction = feature_fraction
        self.bagging_fraction = bagging_fraction
        self.lambda_l2 = lambda_l2
        self.objective = objective
        self.seed = seed

    booster_: Any  # lightgbm.Booster
    n_trees_: int

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None) -> None:
        library = need("lightgbm", "lightgbm")
        train = library.Dataset(X, label=y, weight=self._weights)
        valid = None if X_val is None else train.create_valid(X_val, label=y_val)
        callbacks = [library.early_stopping(self.early_stopping, verbose=False)] if valid else []
        try:
            booster = library.train(
                self._parameters(len(y)),
                train,
                num_boost_round=self.n_estimators,
                valid_sets=[valid] if valid else [],
                callbacks=callbacks,
            )
        except library.basic.LightGBMError as error:
            raise StrataError(f"lightgbm: {error}") from error
        self.n_trees_ = int(booster.best_iteration if valid else booster.num_trees())
        self.booster_ = library.Booster(model_str=booster.model_to_string(num_iteration=self.n_trees_))

    def _parameters(self, rows: int) -> dict[str, Any]:
        return {
            "objective": self.objective,
            "metric": "l1",  # the measure by which runs are compared
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": max(2, min(self.min_data_in_leaf, rows // 20)),
            "max_bin": self.max_bin,
            "min_data_in_bin": 1,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1,
            "lambda_l2": self.lambda_l2,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,  # LightGBM otherwise times both ways and takes the faster one
            "num_threads": self._threads(rows),
            "verbosity": -1,
        }

    def _threads(self, rows: int) -> int:
        """Return 0, all cores, where there is enough to share: below that, waiting costs more than work."""
        return 0 if rows * self.n_features_in_ > NUMBERS_TO_SHARE else 1

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self.booster_.predict(X, num_threads=self._threads(len(X)))

    def _save(self, folder: Path) -> None:
        (folder / MODEL_FILE).write_text(self.booster_.model_to_string(), encoding="utf-8")

    def _load(self, folder: Path) -> None:
        path = folder / MODEL_FILE
        if not path.exists():
            raise StrataError(f"{path} is missing; fit the head again")
        text = path.read_text(encoding="utf-8")
        if not text.rstrip().endswith(_END):
            raise StrataError(f"{path} does not end as LightGBM ends a model: it is cut; fit the head again")
        library = need("lightgbm", "lightgbm")
        self.booster_ = library.Booster(model_str=checked(text, self.n_features_in_, str(path)))


HEAD = LightGBM
