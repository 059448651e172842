"""The forest: scikit-learn's own predictions from arrays, and nothing pickled."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from heads import check_head
from heads.forest import HEAD, Forest

rng = np.random.default_rng(0)
X = rng.normal(size=(150, 8)).astype(np.float32)
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 5


# Resampling draws a row of weight 2 otherwise than two rows of weight 1, as scikit-learn's own forest does.
RESAMPLED = {"check_sample_weight_equivalence_on_dense_data": "rows are resampled"}


@parametrize_with_checks([Forest(n_estimators=30)], expected_failed_checks=lambda _: RESAMPLED)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


def test_it_keeps_the_contract():
    check_head(Forest(n_estimators=5))
    assert HEAD is Forest


@pytest.mark.parametrize("settings", [{}, {"min_samples_leaf": 4, "max_features": 1.0}, {"seed": 3}])
def test_predicts_what_scikit_learn_predicts(settings):
    found = Forest(n_estimators=20, **settings).fit(X[:100], Y[:100]).predict(X)
    asked = {"max_features": 1 / 3, "random_state": settings.get("seed", 0)} | settings
    asked.pop("seed", None)
    theirs = RandomForestRegressor(n_estimators=20, **asked).fit(X[:100], Y[:100]).predict(X)
    assert found == pytest.approx(theirs, rel=1e-6)


def test_many_rows_go_through_in_pieces(monkeypatch):
    fitted = Forest(n_estimators=5).fit(X, Y)
    whole = fitted.predict(X)
    monkeypatch.setattr("heads.forest.ROWS_AT_A_TIME", 7)
    assert np.array_equal(fitted.predict(X), whole)


def test_numbers_beside_a_threshold_go_the_right_way():
    # whole numbers split at halves, and thirds, which no float32 is
    steps = (np.arange(40, dtype=np.float32) / 3)[:, None]
    values = np.arange(40.0) % 7
    found = Forest(n_estimators=30, max_features=1.0).fit(steps, values).predict(steps)
    theirs = RandomForestRegressor(30, random_state=0).fit(steps, values).predict(steps)
    assert found == pytest.approx(theirs, rel=1e-6)


def test_another_seed_is_another_forest():
    a, b = (Forest(n_estimators=5, seed=seed).fit(X, Y).predict(X) for seed in (0, 1))
    assert not np.array_equal(a, b)
