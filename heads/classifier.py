"""Heads that give probabilities of classes. Of a property of classes the targets are codes 0, 1, …"""

import tempfile
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import ClassifierTags
from sklearn.utils.validation import check_is_fitted, validate_data

from core.errors import StrataError
from heads.base import Head, NotApplicable, class_path
from heads.sklearn_head import SklearnHead


class Classifier(Head):
    """A head for classes; a subclass writes `_fit`, given whole-numbered codes, and `_probabilities`.

    `classes_` are the codes of the training part: the columns of `_probabilities`, in their order.
    """

    classifies: ClassVar[bool] = True

    classes_: np.ndarray

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        """Return (n, len(classes_)) probabilities for a checked X (n, d)."""
        raise NotImplementedError

    def predict_proba(self, X: ArrayLike, count: int) -> np.ndarray:
        """Return (n, count) probabilities of the codes 0 to count - 1; a code that no training row had has 0.

        Raises `StrataError` where they are no probabilities.
        """
        check_is_fitted(self)
        given = self._said(self._probabilities, validate_data(self, X, reset=False))
        whole = given.ndim == 2 and given.shape[1] == len(self.classes_)
        if not whole or not np.allclose(given.sum(axis=1), 1, atol=1e-4) or (given < 0).any():
            raise StrataError(f"{self._name} gives no probabilities of {len(self.classes_)} classes")
        values = np.zeros((len(given), count))
        values[:, self.classes_.astype(int)] = given
        return values

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[self._probabilities(X).argmax(axis=1)].astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.classifier_tags, tags.regressor_tags = "classifier", ClassifierTags(), None
        return tags


class SklearnClassifier(Classifier, SklearnHead):
    """A classifier of scikit-learn on standardised columns; one without `predict_proba` is not applicable."""

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: Any, y_val: Any) -> None:  # noqa: ARG002 - the contract's
        model, more = self._made(X)
        if not hasattr(model, "predict_proba"):
            raise NotApplicable(
                f"{self._name} gives no probabilities of classes; wrap it: "
                "{class: sklearn.calibration.CalibratedClassifierCV, estimator: {class: …}}"
            )
        self.y_mean_, self.y_scale_ = 0.0, 1.0
        try:
            self.estimator_ = model.fit(self._inputs(X), y.astype(int), **more)
        except ValueError as error:
            raise NotApplicable(f"{self._name}: {error}") from error
        self.classes_ = np.asarray(self.estimator_.classes_, dtype=np.int64)

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.estimator_.predict_proba(self._inputs(X)))


class Frequencies(Classifier):
    """Base of classes: the training part's frequencies for every structure, hence its most frequent class.

    >>> Frequencies().fit([[0.0], [1.0], [2.0]], [0, 1, 1]).predict_proba([[5.0]], 3).round(2)
    array([[0.33, 0.67, 0.  ]])
    """

    needs_vectors: ClassVar[bool] = False
    constant_target: ClassVar[bool] = True

    shares_: np.ndarray

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: Any, y_val: Any) -> None:  # noqa: ARG002 - the contract's
        self.classes_, counts = np.unique(y.astype(np.int64), return_counts=True)
        self.shares_ = counts / counts.sum()

    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        return np.tile(self.shares_, (len(X), 1))


def check_classifier(head: Classifier) -> None:
    """Run the contract on an unfitted head for classes; raises `StrataError` naming what fails first.

    >>> from heads.logistic import Logistic
    >>> check_classifier(Logistic())
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)).astype(np.float32)
    y = np.digitize(X[:, 0], [-0.5, 0.5]) * 2.0  # codes 0, 2 and 4: of 1 and 3 there is no row
    parts = (X[:45], y[:45], X[45:], y[45:])
    fitted = clone(head).fit(*parts)
    first = fitted.predict_proba(X, 5)

    def demand(holds: bool, point: str) -> None:
        if not holds:
            raise StrataError(f"{class_path(type(head))} breaks the contract of a head for classes: {point}")

    demand(head.classifies, "classifies is not True")
    demand(first.shape == (60, 5), f"predict_proba gives {first.shape} for 60 rows and 5 classes")
    demand(not first[:, [1, 3]].any(), "classes without a training row have a probability")
    most = fitted.classes_[first[:, fitted.classes_].argmax(axis=1)]
    demand(np.array_equal(fitted.predict(X), most), "predict is not the most probable class")
    demand(np.array_equal(clone(head).fit(*parts).predict_proba(X, 5), first), "a second fit says otherwise")
    alone = clone(head).fit(*parts[:2])
    demand(np.isfinite(alone.predict_proba(X, 5)).all(), "it does not fit without validation part")
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(folder)
        loaded = type(fitted).load(folder)
        demand(np.array_equal(loaded.predict_proba(X, 5), first), "a loaded head says otherwise")
