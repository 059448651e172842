"""The contract of a head, and the check that runs it.

A head is a scikit-learn regressor with an optional validation part and a folder instead of a pickle.
A subclass writes `_fit` and `_predict`; checking input, saving and loading are done here.
"""

import inspect
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, validate_data

from core.arrays import read_arrays, write_arrays
from core.checksums import check_checksums, write_checksums
from core.errors import StrataError
from core.lazy import need
from featurestore.query.feature_sets import Block

HEAD_FILE = "head.json"
ARRAYS_FILE = "arrays.safetensors"
_KINDS = [np.float64, np.float32]  # what a head is given; anything else becomes the first


class InvalidData(StrataError, ValueError):  # noqa: N818 - says what the data are, as InvalidStructure does
    """X or y is not what a head can be given: a shape, a NaN, a type."""


class NotApplicable(StrataError, ValueError):  # noqa: N818 - a verdict, not an error
    """This head has nothing to say about this target, such as a constant one: a verdict, not a failure."""


class Head(RegressorMixin, BaseEstimator):
    """A regressor from vectors to one property.

    `__init__` only stores its settings (JSON values), fitted attributes end in `_`. Fitted attributes
    that are arrays or JSON values are saved by themselves; the rest through `_save` and `_load`.
    Fitting twice on the same data must give the same predictions.
    """

    needs_vectors: ClassVar[bool] = True  # False: the head is Base, and no feature set is named with it
    constant_target: ClassVar[bool] = False  # True: a target of one value may be fitted
    stack: ClassVar[tuple[tuple[str, str], ...]] = ()  # (module, extra) of optional libraries it runs on
    revision: ClassVar[int] = 1  # part of the run id: raised when the same settings give other predictions
    own_files: ClassVar[tuple[str, ...]] = ()  # fitted attributes kept by `_save` and `_load`
    shallow: ClassVar[bool] = False  # True: fitted in seconds, and as well without a validation part
    weighted: ClassVar[bool] = False  # True: rows may be given weights
    classifies: ClassVar[bool] = False  # True: it gives probabilities of classes (heads/classifier.py)

    n_features_in_: int
    _blocks: tuple[Block, ...] = ()  # of the columns, while `_fit` runs; none where they are not known
    _loaded_from: Path | None = None  # the folder of a head that was loaded
    _weights: np.ndarray | None = None  # (n,) of the training rows, while `_fit` runs; None: all alike

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None) -> None:
        """Learn from checked data: X (n, d) float32 or float64, y (n,) float64; the same for validation."""
        raise NotImplementedError

    def _predict(self, X: np.ndarray) -> np.ndarray:
        """Return (n,) values for a checked X (n, d)."""
        raise NotImplementedError

    @classmethod
    def import_stack(cls) -> None:
        """Import `stack`; a missing library raises `StrataError` that says how to get it."""
        for module, extra in cls.stack:
            need(module, extra)

    def _save(self, folder: Path) -> None:
        """Write what `own_files` names."""

    def _load(self, folder: Path) -> None:
        """Read what `_save` wrote."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        *,
        blocks: Sequence[Block] | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from the training part, and from the validation part when to stop or what to choose.

        X is (n, d), y is (n,) in the property's unit; neither is altered. blocks: which columns of X are of
        which source model and checkpoint, for a head that treats them apart. sample_weight: (n,) how much
        each training row counts, none of them negative. Raises `InvalidData` for NaN, infinities and shapes
        that do not fit, `NotApplicable` for a constant target, and `StrataError` for weights that this head
        has no use for.
        """
        if (X_val is None) != (y_val is None):
            raise InvalidData(f"{self._name}: give both X_val and y_val, or neither")
        x, t = self._checked(X, y, reset=True)
        if not self.constant_target and np.ptp(t) == 0:
            raise NotApplicable(f"{self._name}: every one of the {t.size} training targets is {t[0]:g}")
        x_val, t_val = (None, None) if X_val is None else self._checked(X_val, y_val, reset=False)
        self._blocks = tuple(blocks or ())
        self._weights = None if sample_weight is None else self._checked_weights(sample_weight, x)
        try:
            self._fit(x, t, x_val, t_val)
        finally:
            self._weights = None
        for name, value in vars(self).items():
            # As a file will give them back: NumPy's own scalars promote float32 arrays, Python's do not.
            if name.endswith("_") and isinstance(value, np.generic):
                setattr(self, name, value.item())
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return (n,) float64 values, in the unit of the y it was fitted on, for X (n, d)."""
        check_is_fitted(self)
        try:
            x = validate_data(self, X, reset=False, dtype=_KINDS)
        except ValueError as error:
            self._refuse(error)
        given = self._said(self._predict, x)
        if given.shape not in {(len(x),), (len(x), 1)}:
            raise StrataError(
                f"{self._name} predicts an array of shape {given.shape} for {len(x)} rows; a head gives one "
                "value a row"
            )
        values = given.reshape(-1)
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise StrataError(
                f"{self._name} predicts {values[bad]} for row {bad}; fit it with other settings"
            )
        return values

    def save(self, folder: str | Path) -> None:
        """Write the fitted head into `folder` (made if missing): JSON, safetensors, own files; no pickles.

        `SHA256SUMS` beside them lists their hashes, which `load` compares.
        """
        check_is_fitted(self)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        skip = {*self.own_files, "feature_names_in_"}  # the store's columns have no names
        fitted = {
            name: value
            for name, value in sorted(vars(self).items())
            if name.endswith("_") and not name.startswith("_") and name not in skip
        }
        arrays = {name: value for name, value in fitted.items() if isinstance(value, np.ndarray)}
        if arrays:
            write_arrays(folder / ARRAYS_FILE, arrays)
        facts = {
            "class": class_path(type(self)),
            "settings": self.get_params(deep=False),
            "fitted": {name: value for name, value in fitted.items() if name not in arrays},
        }
        try:
            text = json.dumps(facts, indent=2, sort_keys=True)
        except TypeError as error:
            raise StrataError(
                f"{self._name} cannot be saved ({error}): name attributes that are neither arrays nor "
                "JSON values in `own_files`, and write them in `_save`"
            ) from None
        self._save(folder)
        (folder / HEAD_FILE).write_text(text + "\n", encoding="utf-8")
        write_checksums(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a head of this class from `folder`.

        Raises `StrataError` naming the file: for another class's head, and for one that is damaged.
        """
        folder = Path(folder)
        facts = read_facts(folder)
        if facts["class"] != class_path(cls):
            raise StrataError(f"{folder / HEAD_FILE} holds a {facts['class']}, not a {class_path(cls)}")
        try:
            head = cls(**facts["settings"])
            for name, value in (facts["fitted"] | _arrays(folder)).items():
                if name.startswith("_") or not name.endswith(
                    "_"
                ):  # `fit` leaves no others, and methods have none
                    raise StrataError(f"{folder / HEAD_FILE}: {name!r} is not the name of a fitted value")
                setattr(head, name, value)
            head._load(folder)
            check_is_fitted(head)
        except StrataError:
            raise
        except Exception as error:  # what reading damaged files raises is without limit
            raise damaged(folder, error) from error
        head._loaded_from = folder
        return head

    def _said(self, ask: Callable[[np.ndarray], np.ndarray], X: np.ndarray) -> np.ndarray:
        """Return float64 of what `ask` says of X; where a loaded head fails, its files are damaged."""
        try:
            return np.asarray(ask(X), dtype=np.float64)
        except Exception as error:
            if self._loaded_from is None or isinstance(error, StrataError):
                raise
            raise damaged(self._loaded_from, error) from error

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        fewest = 2 if reset and not self.constant_target else 1
        try:
            X, y = validate_data(
                self, X, y, reset=reset, y_numeric=True, ensure_min_samples=fewest, dtype=_KINDS
            )
            return X, check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        except ValueError as error:
            self._refuse(error)

    def _checked_weights(self, weights: ArrayLike, X: np.ndarray) -> np.ndarray:
        if not self.weighted:
            raise StrataError(f"{self._name} takes no sample_weight; give it none, or take another head")
        try:
            return _check_sample_weight(weights, X, dtype=np.float64, ensure_non_negative=True)
        except ValueError as error:
            self._refuse(error)

    def _refuse(self, error: ValueError) -> NoReturn:
        raise InvalidData(f"{self._name}: {error}") from error


def takes_blocks(head: Head) -> bool:
    """Tell whether a head's `fit` can be given blocks: one of a user's own may have none of it."""
    return "blocks" in inspect.signature(head.fit).parameters


def class_path(cls: type) -> str:
    """Return the import path of a class, such as `heads.ridge.Ridge`."""
    return f"{cls.__module__}.{cls.__qualname__}"


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what a saved head says about itself: its class, settings and fitted values.

    All files of the folder are compared with their hashes first. Raises `StrataError` naming the file.
    """
    path = folder / HEAD_FILE
    check_checksums(folder)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StrataError(f"{path} is missing: no saved head there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StrataError(f"{path} is not JSON that can be read ({error}); fit the head again") from None
    kinds = {"class": str, "settings": dict, "fitted": dict}
    if not isinstance(facts, dict) or not all(isinstance(facts.get(k), kind) for k, kind in kinds.items()):
        raise StrataError(f"{path} does not name class, settings and fitted values; fit the head again")
    return facts


def damaged(folder: Path, error: Exception) -> StrataError:
    """Build the error for a saved head whose files do not fit together."""
    return StrataError(
        f"{folder} holds no head that can be used ({type(error).__name__}: {error}); fit the head again"
    )


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    path = folder / ARRAYS_FILE
    return read_arrays(path) if path.exists() else {}


def check_head(head: Head) -> None:
    """Run the contract on an unfitted head; raises `StrataError` naming the first point that fails.

    Small random data with a linear target are fitted some ten times: give a network few epochs.

    >>> from heads import Ridge
    >>> check_head(Ridge())
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(48, 6)).astype(np.float32)
    y = 10 + X @ rng.normal(size=6) + 0.1 * rng.normal(size=48)
    train, val = slice(None, 36), slice(36, None)
    parts: tuple[np.ndarray, ...] = (X[train], y[train], X[val], y[val])
    before = tuple(part.copy() for part in parts)
    settings = repr(head.get_params(deep=False))
    fitted = clone(head).fit(*parts)

    def demand(holds: bool, point: str) -> None:
        if not holds:
            raise StrataError(f"{class_path(type(head))} breaks the contract of a head: {point}")

    first = fitted.predict(X)
    demand(first.shape == (48,), f"predict gives {first.shape} for 48 rows, not (48,)")
    demand(first.dtype == np.float64, f"predict gives {first.dtype}, not float64")
    demand(
        all(np.array_equal(a, b) for a, b in zip(parts, before, strict=True)),
        "fit or predict alters its input",
    )
    demand(
        repr(fitted.get_params(deep=False)) == settings,
        "fit alters the head's settings",
    )
    demand(np.array_equal(clone(head).fit(*parts).predict(X), first), "a second fit predicts otherwise")
    demand(fitted.predict(X[:1]).shape == (1,), "predict refuses or reshapes a single row")
    demand(
        np.isfinite(clone(head).fit(*parts[:2]).predict(X)).all(), "it does not fit without validation part"
    )
    _check_files(fitted, X, demand)
    _check_refusals(head, parts, demand)


def _check_files(fitted: Head, X: np.ndarray, demand: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(folder)
        loaded = type(fitted).load(folder)
        demand(np.array_equal(loaded.predict(X), fitted.predict(X)), "a loaded head predicts otherwise")
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        pickled = [
            path.name for path in files if path.read_bytes()[:2] in {b"\x80\x02", b"\x80\x04", b"\x80\x05"}
        ]
        demand(not pickled, f"it saves pickles: {pickled}")


def _check_refusals(head: Head, parts: tuple[np.ndarray, ...], demand: Any) -> None:
    X, y = parts[:2]
    holed = X.copy()
    holed[3, 2] = np.nan
    for bad in ((holed, y), (X, np.where(np.arange(len(y)) == 4, np.inf, y)), (X, y[:-1])):
        try:
            clone(head).fit(*bad)
        except ValueError:
            continue
        demand(False, "fit accepts NaN, infinity or y of another length")
    flat = np.full(len(y), 3.0)
    if head.constant_target:
        demand(np.allclose(clone(head).fit(X, flat).predict(X), flat), "a constant target is not met")
        return
    try:
        clone(head).fit(X, flat)
    except NotApplicable:
        return
    demand(False, "a constant target is not refused with NotApplicable")
