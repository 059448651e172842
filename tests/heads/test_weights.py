"""Weights of rows, and the heads inside scikit-learn's own tools."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.errors import StrataError
from heads import NN17, SVR, Head, InvalidData, LightGBM, Mean, Ridge, check_head

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 5)).astype(np.float32)
Y = 3 + X[:, 0] - 2 * X[:, 1] + 0.05 * RNG.normal(size=80)
TAKE_WEIGHTS = [Mean(), Ridge(), SVR(), LightGBM(n_estimators=40, bagging_fraction=1.0, feature_fraction=1.0)]


@pytest.mark.parametrize("head", TAKE_WEIGHTS)
def test_equal_weights_are_no_weights(head):
    plain = head.fit(X, Y).predict(X)
    np.testing.assert_allclose(head.fit(X, Y, sample_weight=np.ones(80)).predict(X), plain, rtol=1e-5)


@pytest.mark.parametrize("head", TAKE_WEIGHTS)
def test_a_heavy_row_pulls(head):
    spoiled = Y.copy()
    spoiled[7] += 30
    light, heavy = (
        head.fit(X, spoiled, sample_weight=np.where(np.arange(80) == 7, w, 1.0)).predict(X[7:8])[0]
        for w in (1e-3, 50.0)
    )
    assert heavy > light + 3


def test_ridge_with_whole_weights_has_the_coefficients_of_repeated_rows():
    weights = RNG.integers(1, 4, 80)
    weighted = Ridge([1.0]).fit(X, Y, sample_weight=weights)
    repeated = Ridge([1.0]).fit(np.repeat(X, weights, axis=0), np.repeat(Y, weights))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6)
    assert weighted.intercept_ == pytest.approx(repeated.intercept_, rel=1e-6)


def test_a_head_that_has_no_use_for_weights_says_so():
    with pytest.raises(StrataError, match="NN17 takes no sample_weight"):
        NN17(layers=[4], max_epochs=1).fit(X, Y, sample_weight=np.ones(80))


@pytest.mark.parametrize("bad", [np.ones(79), np.full(80, np.nan), np.full(80, -1.0)])
def test_weights_that_are_none_are_refused(bad):
    with pytest.raises(InvalidData):
        Ridge().fit(X, Y, sample_weight=bad)


@pytest.mark.parametrize("head", TAKE_WEIGHTS)
def test_weights_go_through_pipelines_and_cross_validation(head):
    weights = np.linspace(0.5, 2, 80)
    step = f"{type(head).__name__.lower()}__sample_weight"
    chain = make_pipeline(StandardScaler(), head).fit(X, Y, **{step: weights})
    scaled = StandardScaler().fit_transform(X)
    direct = clone(head).fit(scaled, Y, sample_weight=weights).predict(scaled)
    assert np.array_equal(chain.predict(X), direct)
    scores = cross_val_score(head, X, Y, cv=3, params={"sample_weight": weights}, error_score="raise")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("head", [Ridge(), SVR(), LightGBM(n_estimators=100)])
def test_heads_work_in_pipelines_and_searches(head):
    scores = cross_val_score(make_pipeline(StandardScaler(), head), X, Y, cv=4)
    assert scores.shape == (4,)
    assert scores.mean() > 0.3


def test_a_setting_of_a_head_is_searched():
    search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alphas": [[1e6], [0.01]]}, cv=3)
    assert search.fit(X, Y).best_params_ == {"ridge__alphas": [0.01]}


class TwoColumns(Head):
    """A head that gives two values a row."""

    def _fit(self, X, y, X_val, y_val):
        self.mean_ = float(y.mean())

    def _predict(self, X):
        return np.full((len(X), 2), self.mean_)


def test_two_values_a_row_are_refused_by_name():
    with pytest.raises(StrataError, match=r"TwoColumns predicts an array of shape \(80, 2\) for 80 rows"):
        TwoColumns().fit(X, Y).predict(X)
    with pytest.raises(StrataError, match="TwoColumns"):
        check_head(TwoColumns())
