"""Ridge: against scikit-learn's own, and its choice of penalty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as Reference
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from core.errors import StrataError
from heads import Ridge, check_head

REPEATED = dict.fromkeys(
    ("check_sample_weight_equivalence_on_dense_data",),
    "the penalty is chosen by leaving out one row, and a row that is there twice is not left out with one",
)


@parametrize_with_checks([Ridge()], expected_failed_checks=lambda _: REPEATED)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


def test_contract():
    check_head(Ridge())


def data(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns)) * 10.0 ** rng.integers(-2, 3, size=columns) + 5
    return X, 100 + X @ rng.normal(size=columns) + rng.normal(size=rows)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(3, 40), columns=st.integers(1, 40), alpha=st.floats(0.01, 1e4), seed=st.integers(0, 99)
)
def test_coefficients_are_those_of_scikit_learn(rows, columns, alpha, seed):
    X, y = data(rows, columns, seed)
    reference = make_pipeline(StandardScaler(), Reference(alpha)).fit(X, y)
    assert Ridge([alpha]).fit(X, y).predict(X) == pytest.approx(reference.predict(X), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [(60, 8), (25, 40)])
def test_without_validation_part_the_penalty_is_chosen_by_leaving_one_out(rows, columns):
    X, y = data(rows, columns)
    alphas = [0.1, 1.0, 10.0, 100.0, 1000.0]
    standardised = StandardScaler().fit_transform(X)
    reference = RidgeCV(alphas, scoring="neg_mean_absolute_error").fit(standardised, y)
    assert Ridge(alphas).fit(X, y).alpha_ == reference.alpha_


def test_with_validation_part_the_penalty_has_its_lowest_mae():
    X, y = data(50, 30)
    alphas = [0.1, 1.0, 10.0, 100.0, 1000.0]
    maes = [np.abs(Ridge([alpha]).fit(X[:40], y[:40]).predict(X[40:]) - y[40:]).mean() for alpha in alphas]
    assert Ridge(alphas).fit(X[:40], y[:40], X[40:], y[40:]).alpha_ == alphas[int(np.argmin(maes))]


def test_flat_columns_have_no_say():
    X, y = data(20, 3)
    flat = np.full((20, 1), 0.1, dtype=np.float32)
    both = np.hstack([X.astype(np.float32), flat])
    head = Ridge([1.0]).fit(both, y)
    moved = both + np.array([0, 0, 0, 1e-3], dtype=np.float32)
    assert head.predict(moved) == pytest.approx(head.predict(both), rel=1e-6)


@pytest.mark.parametrize("alphas", [[], [0.0], [-1.0], [float("nan")], [[1.0]]])
def test_penalties_must_be_positive(alphas):
    X, y = data(10, 2)
    with pytest.raises(StrataError, match="alphas must be a list of positive numbers"):
        Ridge(alphas).fit(X, y)
