"""Any regressor of scikit-learn as a head, by its import path in `params.yaml`.

A name reaches nothing but estimators that scikit-learn makes public, and a saved one is read by skops with a
check of every type in it, so that neither a params file nor a model folder decides which code runs.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from core.errors import StrataError, unknown
from heads.base import Head, NotApplicable

CLASS = "class"
PREFIX = "sklearn."
FILE = "estimator.skops"
_NAMED_STEPS = ("steps", "estimators", "transformer_list")  # lists whose items scikit-learn wants named
_TRUSTED = ("sklearn", "numpy")  # packages whose own types a saved estimator may hold


class SklearnHead(Head):
    """A regressor of scikit-learn on standardised columns and targets.

    `estimator` is a mapping of `class`, an import path such as `sklearn.svm.SVR`, and that class's settings,
    in which further mappings with a `class` are estimators too. `standardise` brings columns and target to
    mean 0 and deviation 1 of the training part; predictions come back in the target's unit. The validation
    part is not looked at. Where an estimator draws, it draws with seed 0 unless its `random_state` is set.
    """

    shallow: ClassVar[bool] = True
    weighted: ClassVar[bool] = True
    own_files: ClassVar[tuple[str, ...]] = ("estimator_",)

    def __init__(self, estimator: Mapping[str, Any], *, standardise: bool = True) -> None:
        self.estimator = estimator
        self.standardise = standardise

    estimator_: Any
    x_mean_: np.ndarray
    x_scale_: np.ndarray
    y_mean_: float
    y_scale_: float

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: Any, y_val: Any) -> None:  # noqa: ARG002 - the contract's
        model, more = self._made(X)
        self.y_mean_, self.y_scale_ = (float(y.mean()), float(y.std())) if self.standardise else (0.0, 1.0)
        try:
            self.estimator_ = model.fit(self._inputs(X), (y - self.y_mean_) / self.y_scale_, **more)
        except ValueError as error:
            hint = "; set standardise: false where it wants a target as it is" if self.standardise else ""
            raise NotApplicable(f"{self._name}: {error}{hint}") from error

    def _made(self, X: np.ndarray) -> tuple[Any, dict[str, Any]]:
        """Return an unfitted estimator and what else its `fit` is given; learn the scaling of X."""
        model = build(self.estimator)
        more = {} if self._weights is None else {self._weights_go_to(model): self._weights}
        self.x_mean_, self.x_scale_ = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if self.standardise:
            scaler = StandardScaler().fit(X, sample_weight=self._weights)
            self.x_mean_, self.x_scale_ = scaler.mean_, scaler.scale_
        return model, more

    def _weights_go_to(self, model: Any) -> str:
        """Return the argument of `fit` that takes weights of rows; in a pipeline its last step's."""
        step, last = model.steps[-1] if isinstance(model, Pipeline) else ("", model)
        if not has_fit_parameter(last, "sample_weight"):
            raise StrataError(f"{self._name} takes no sample_weight; give it none, or take another head")
        return f"{step}__sample_weight" if step else "sample_weight"

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.estimator_.predict(self._inputs(X)), np.float64) * self.y_scale_ + self.y_mean_

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        return ((X - self.x_mean_) / self.x_scale_).astype(X.dtype) if self.standardise else X

    def _save(self, folder: Path) -> None:
        from skops.io import dump

        dump(self.estimator_, folder / FILE)

    def _load(self, folder: Path) -> None:
        from skops.io import get_untrusted_types, load

        path = folder / FILE
        if not path.exists():
            raise StrataError(f"{path} is missing; fit the head again")
        held = get_untrusted_types(file=path)
        foreign = [name for name in held if not _is_own(name)]
        if foreign:
            raise StrataError(
                f"{path} holds {', '.join(foreign)}, which neither scikit-learn nor NumPy made; "
                "it is not loaded"
            )
        self.estimator_ = load(path, trusted=held)

    @property
    def _name(self) -> str:
        return str(self.estimator.get(CLASS, type(self).__name__))


def build(given: Mapping[str, Any]) -> Any:
    """Make an unfitted regressor or classifier from a mapping of `class` and settings.

    Raises `StrataError` naming an import path that is no public estimator of scikit-learn, and the setting
    that a class does not have.

    >>> build({"class": "sklearn.svm.SVR", "C": 10})
    SVR(C=10)
    """
    model = _build(given)
    if not (is_regressor(model) or is_classifier(model)):
        raise StrataError(f"{given[CLASS]} is no regressor and no classifier; a head predicts a value a row")
    seeds = {
        name: 0
        for name, value in model.get_params().items()
        if name.rpartition("__")[2] == "random_state" and value is None
    }
    return model.set_params(**seeds)


def estimator_class(path: str) -> type[BaseEstimator]:
    """Find `sklearn.MODULE.CLASS` among what scikit-learn makes public; anything else is a `StrataError`."""
    parts = str(path).split(".")
    if len(parts) != 3 or parts[0] != "sklearn":
        raise StrataError(f"{path!r} is not the import path of an estimator, such as sklearn.svm.SVR")
    modules = [name for name in sklearn.__all__ if name.islower()]
    if parts[1] not in modules:
        raise unknown("module of scikit-learn", parts[1], modules, path)
    module = import_module(f"sklearn.{parts[1]}")
    found = {}
    for name in getattr(module, "__all__", ()):
        with suppress(ImportError):  # experimental ones, until they are turned on
            cls = getattr(module, name, None)
            if isinstance(cls, type) and issubclass(cls, BaseEstimator) and cls.__module__.startswith(PREFIX):
                found[name] = cls
    if parts[2] not in found:
        raise unknown("estimator", parts[2], found, f"sklearn.{parts[1]}")
    return found[parts[2]]


def _build(given: Any) -> Any:
    """Make the estimator of a mapping with `class`; anything else comes back, those in it made."""
    if isinstance(given, Mapping):
        settings = {name: _setting(name, value) for name, value in given.items() if name != CLASS}
        if CLASS not in given:
            return settings
        cls = estimator_class(given[CLASS])
        known = cls._get_param_names()
        for name in settings:
            if name not in known:
                raise unknown("setting", name, known, str(given[CLASS]))
        try:
            return cls(**settings)
        except TypeError as error:
            raise StrataError(f"{given[CLASS]}: {error}") from None
    if isinstance(given, Sequence) and not isinstance(given, str):
        return [_build(item) for item in given]
    return given


def _setting(name: str, value: Any) -> Any:
    made = _build(value)
    if name not in _NAMED_STEPS or not isinstance(made, list):
        return made
    return [(f"{type(item).__name__.lower()}_{i}", item) for i, item in enumerate(made)]


def _is_own(name: str) -> bool:
    """Tell whether a name is that of a class which scikit-learn or NumPy defines at that very place."""
    module, _, attribute = name.rpartition(".")
    if module.split(".")[0] not in _TRUSTED:
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and f"{found.__module__}.{found.__qualname__}" == name
