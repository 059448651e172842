"""Weights of linear heads: they predict what the head predicts, and are not made up for others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StrataError
from heads import MLP, SVR, Mean, Ridge
from heads.averaging import combined
from heads.forest import HEAD as FOREST
from heads.linear import Linear, combine, weights_of
from heads.on_log import OnLog
from heads.sklearn_head import SklearnHead

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(60, 7)) * [1, 5, 0.1, 20, 1, 3, 1] + [0, 100, 3, -40, 0, 1, 2]).astype(np.float32)
Y = 4 + X.astype(float) @ RNG.normal(size=7) / 10 + 0.2 * RNG.normal(size=60)
NEW = X[:9] + RNG.normal(size=(9, 7)).astype(np.float32)


def pipeline(*steps) -> dict:
    return {"class": "sklearn.pipeline.Pipeline", "steps": list(steps)}


LEAST_SQUARES = {"class": "sklearn.linear_model.LinearRegression"}
STANDARD = {"class": "sklearn.preprocessing.StandardScaler"}
LINEAR = {
    "least squares": LEAST_SQUARES,
    "lasso": {"class": "sklearn.linear_model.Lasso", "alpha": 0.01},
    "lasso, all weights 0": {"class": "sklearn.linear_model.Lasso", "alpha": 100},
    "bayesian": {"class": "sklearn.linear_model.BayesianRidge"},
    "huber": {"class": "sklearn.linear_model.HuberRegressor"},
    "gradient descent": {"class": "sklearn.linear_model.SGDRegressor"},
    "linear support vectors": {"class": "sklearn.svm.LinearSVR"},
    "support vectors, linear kernel": {"class": "sklearn.svm.SVR", "kernel": "linear"},
    "behind a scaler": pipeline(STANDARD, LEAST_SQUARES),
    "behind a scaler without mean": pipeline({**STANDARD, "with_mean": False}, LEAST_SQUARES),
    "behind a scaler without deviation": pipeline({**STANDARD, "with_std": False}, LEAST_SQUARES),
    "behind a robust scaler": pipeline({"class": "sklearn.preprocessing.RobustScaler"}, LEAST_SQUARES),
    "behind components": pipeline({"class": "sklearn.decomposition.PCA", "n_components": 3}, LEAST_SQUARES),
    "behind two steps": pipeline(
        STANDARD, {"class": "sklearn.decomposition.PCA", "n_components": 4, "whiten": True}, LEAST_SQUARES
    ),
    "a step that does nothing": pipeline("passthrough", LEAST_SQUARES),
    "a search": {
        "class": "sklearn.model_selection.GridSearchCV",
        "estimator": {"class": "sklearn.linear_model.Ridge"},
        "param_grid": {"alpha": [0.1, 1.0]},
    },
}


def same(linear: Linear, head) -> None:
    np.testing.assert_allclose(
        NEW.astype(float) @ linear.w + linear.b, head.predict(NEW), rtol=2e-6, atol=2e-6
    )


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("name", LINEAR)
def test_weights_of_a_linear_estimator_predict_what_it_predicts(name, standardise):
    if name == "gradient descent" and not standardise:
        pytest.skip("it does not converge on columns of different size")
    head = SklearnHead(LINEAR[name], standardise=standardise).fit(X, Y)
    linear = weights_of(head)
    assert linear is not None
    assert (linear.w.shape, linear.w.dtype, type(linear.b)) == ((7,), np.float64, float)
    same(linear, head)


@pytest.mark.parametrize("more", [{}, {"sample_weight": np.linspace(1, 2, 60)}], ids=["plain", "weighted"])
def test_weights_of_our_ridge_are_of_the_columns_as_given(more, tmp_path):
    head = Ridge().fit(X, Y, **more)
    same(weights_of(head), head)
    head.save(tmp_path)
    loaded = weights_of(Ridge.load(tmp_path))
    np.testing.assert_array_equal(loaded.w, weights_of(head).w)
    assert loaded.b == weights_of(head).b


NOT_LINEAR = {
    "under a logarithm": {"class": "sklearn.linear_model.PoissonRegressor"},
    "gamma": {"class": "sklearn.linear_model.GammaRegressor"},
    "under a logarithm, all weights 0": {"class": "sklearn.linear_model.PoissonRegressor", "alpha": 1e12},
    "kernel": {"class": "sklearn.svm.SVR"},
    "trees": {"class": "sklearn.ensemble.ExtraTreesRegressor", "n_estimators": 5},
    "behind polynomials": pipeline({"class": "sklearn.preprocessing.PolynomialFeatures"}, LEAST_SQUARES),
    "behind ranks": pipeline(
        {"class": "sklearn.preprocessing.QuantileTransformer", "n_quantiles": 20}, LEAST_SQUARES
    ),
}


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_other_estimators_have_none(name):
    positive = Y - Y.min() + 1
    assert weights_of(SklearnHead(NOT_LINEAR[name], standardise=False).fit(X / 100, positive)) is None


def test_other_heads_have_none():
    assert weights_of(Mean().fit(X, Y)) is None
    assert weights_of(SVR().fit(X, Y)) is None
    assert weights_of(MLP().fit(X, Y)) is None
    assert weights_of(FOREST(n_estimators=3).fit(X, Y)) is None
    assert weights_of(OnLog(Ridge()).fit(X, np.exp(Y / 10))) is None


def test_a_committee_of_linear_heads_on_different_columns_is_linear():
    left, right = [0, 1, 2, 5], [6, 3]
    heads = [Ridge().fit(X[:, left], Y), SklearnHead(LEAST_SQUARES).fit(X[:, right], Y)]
    members = [weights_of(head).placed(own, 7) for head, own in zip(heads, (left, right), strict=True)]
    weights = np.array([0.6, 0.3])
    each = np.column_stack([heads[0].predict(NEW[:, left]), heads[1].predict(NEW[:, right])])
    found = combine(members, weights)
    np.testing.assert_allclose(
        NEW.astype(float) @ found.w + found.b, combined(each, weights)[0], rtol=1e-5, atol=1e-5
    )
    assert found.w[4] == 0


def test_a_member_that_is_not_linear_leaves_no_weights_unless_it_counts_for_nothing():
    one = Linear(np.ones(3), 2.0)
    assert combine([one, None], [0.5, 0.5]) is None
    found = combine([one, None], [0.5, 0])
    np.testing.assert_array_equal(found.w, one.w)
    assert found.b == 2.0


def test_members_that_do_not_fit_together_are_named():
    with pytest.raises(StrataError, match="members read vectors of 2 and 3 columns; place them first"):
        combine([Linear(np.ones(3), 0.0), Linear(np.ones(2), 0.0)], [1, 1])
    with pytest.raises(StrataError, match="no member of the committee has a weight above 0"):
        combine([Linear(np.ones(3), 0.0)], [0])


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_placing_keeps_the_prediction(width, seed):
    rng = np.random.default_rng(seed)
    columns = rng.permutation(width + 2)[:width]
    linear, x = Linear(rng.normal(size=width), 0.5), rng.normal(size=width + 2)
    placed = linear.placed(columns, width + 2)
    assert x @ placed.w + placed.b == pytest.approx(x[columns] @ linear.w + linear.b)
