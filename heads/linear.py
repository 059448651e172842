"""The weights of linear heads, on the columns that they are given: what an exact explanation needs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

from core.errors import StrataError
from heads.ridge import Ridge
from heads.sklearn_head import SklearnHead

_PROBES = 8
_ROUNDING = 1e-5  # relative; an estimator that learned from float32 does its sums in float32


class Linear(NamedTuple):
    """A linear head: it predicts x·w + b for a vector x (d,).

    `w` (d,) float64, in the property's unit per unit of each column; `b` in the property's unit.
    """

    w: NDArray[np.float64]
    b: float

    def placed(self, columns: ArrayLike, width: int) -> "Linear":
        """Return the same on wider vectors (width,), of which it reads `columns` (d,), in this order.

        >>> Linear(np.array([2.0, 3.0]), 1.0).placed([3, 0], 4)
        Linear(w=array([3., 0., 0., 2.]), b=1.0)
        """
        w = np.zeros(width)
        w[np.asarray(columns)] = self.w
        return Linear(w, self.b)


def weights_of(head: Any) -> Linear | None:
    """Return the weights of a fitted head that is linear in its columns, None of any other.

    Those are `Ridge`, and estimators of scikit-learn with `coef_` and `intercept_`, alone or behind scalers
    and principal components in a pipeline. A standardisation is undone: the weights are of the columns as
    `predict` is given them. A head on logarithms is not linear in the property.

    >>> from heads import Ridge
    >>> w, b = weights_of(Ridge(alphas=[1e-9]).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]))
    >>> w.round(6), round(b, 6)
    (array([2.]), 1.0)
    """
    if isinstance(head, Ridge):
        return Linear(np.asarray(head.coef_, np.float64), float(head.intercept_))
    if not isinstance(head, SklearnHead) or head.classifies:
        return None
    found = _of_estimator(head.estimator_)
    if found is None:
        return None
    found = _scaled(found, head.x_mean_, head.x_scale_)
    found = Linear(found.w * head.y_scale_, float(found.b * head.y_scale_ + head.y_mean_))
    return found if _holds(found, head) else None


def combine(members: Sequence[Linear | None], weights: ArrayLike) -> Linear | None:
    """Return the weighted mean of linear heads on the same columns, as a committee averages them.

    weights: (m,), none of them negative; they need not add up to 1, and members with a weight of 0 count for
    nothing. None where a member that counts is None, hence not linear. Heads that read different columns are
    `placed` first. Raises `StrataError` where widths differ, and where no member counts.

    >>> combine([Linear(np.array([1.0]), 0.0), Linear(np.array([3.0]), 1.0), None], [0.5, 0.5, 0])
    Linear(w=array([2.]), b=0.5)
    """
    counted = [(one, weight) for one, weight in zip(members, np.asarray(weights), strict=True) if weight > 0]
    if not counted:
        raise StrataError("no member of the committee has a weight above 0")
    linear = [(one, weight) for one, weight in counted if one is not None]
    if len(linear) < len(counted):
        return None
    widths = sorted({len(one.w) for one, _ in linear})
    if len(widths) > 1:
        raise StrataError(
            f"members read vectors of {' and '.join(map(str, widths))} columns; place them first"
        )
    total = sum(weight for _, weight in linear)
    w = np.sum([one.w * (weight / total) for one, weight in linear], axis=0)
    return Linear(w, float(sum(one.b * (weight / total) for one, weight in linear)))


def _of_estimator(model: Any) -> Linear | None:
    """Return the weights of an estimator on its own inputs, None where it does not tell them."""
    model = getattr(model, "best_estimator_", model)  # of a search
    if isinstance(model, Pipeline):
        found = _of_estimator(model.steps[-1][1])
        for _, step in reversed(model.steps[:-1]):
            found = _undone(step, found)
        return found
    w, b = getattr(model, "coef_", None), getattr(model, "intercept_", None)
    if not isinstance(w, np.ndarray) or b is None or w.size != w.shape[-1] or np.size(b) != 1:
        return None
    return Linear(w.reshape(-1).astype(np.float64), float(np.reshape(b, -1)[0]))


def _undone(step: Any, found: Linear | None) -> Linear | None:
    """Return the weights on what goes into a step of a pipeline, from those on what comes out of it."""
    if found is None or step is None or step == "passthrough":
        return found
    if isinstance(step, StandardScaler):
        return _scaled(found, step.mean_ if step.with_mean else None, step.scale_)
    if isinstance(step, RobustScaler):
        return _scaled(found, step.center_, step.scale_)
    if isinstance(step, PCA):
        w = found.w / np.sqrt(step.explained_variance_) if step.whiten else found.w
        return _scaled(Linear(w @ step.components_, found.b), step.mean_, None)
    return None


def _scaled(found: Linear, shift: np.ndarray | None, scale: np.ndarray | None) -> Linear:
    """Return the weights on x from those on (x − shift) / scale."""
    w = found.w if scale is None else found.w / scale
    return Linear(w, found.b if shift is None else float(found.b - shift @ w))


def _holds(found: Linear, head: SklearnHead) -> bool:
    """Tell whether the head predicts what the weights say: some estimators put a `coef_` under a link."""
    draw = np.random.default_rng(0).normal(size=(_PROBES, len(found.w)))
    probes = head.x_mean_ + draw * head.x_scale_
    try:
        given = head.predict(probes)
    except StrataError:  # a link that overflows
        return False
    size = np.abs(probes) @ np.abs(found.w) + abs(found.b)
    return bool((np.abs(probes @ found.w + found.b - given) <= _ROUNDING * size).all())
