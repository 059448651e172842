"""Support vector regression: its kernel over blocks, its choice, and what it does with many rows."""

import numpy as np
import pytest
from sklearn import svm
from sklearn.utils.estimator_checks import parametrize_with_checks

from core.errors import StrataError
from featurestore.query.feature_sets import Block
from heads import SVR, check_head

WEIGHTS = dict.fromkeys(
    ("check_sample_weight_equivalence_on_dense_data",),
    "γ and C are chosen over five folds of the rows as they lie; twice the same row lies in two of them",
)


@parametrize_with_checks([SVR(), SVR(max_rows=5, landmarks=40)], expected_failed_checks=lambda _: WEIGHTS)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.parametrize("head", [SVR(), SVR(max_rows=10, landmarks=20), SVR(gammas=[0.3], costs=[3])])
def test_contract(head):
    check_head(head)


def data(n=120, seed=0):
    """A wide block of noise from one source model, and a narrow one from another that the target follows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 64)).astype(np.float32)
    return X, np.sin(2 * X[:, 60]) + X[:, 61]


BLOCKS = (
    Block("wide", "x_0", "x", 0, 0, 30),
    Block("wide", "x_1", "x", 1, 30, 60),
    Block("narrow", "y_0", "y", 0, 60, 64),
)


def test_the_kernel_is_the_mean_over_source_models_of_the_mean_over_blocks():
    X, y = data(40)
    head = SVR(gammas=[0.2], costs=[5.0]).fit(X, y, blocks=BLOCKS)
    Z = np.clip((X - X.mean(axis=0)) / X.std(axis=0), -8, 8)
    kernel = np.zeros((40, 40))
    for start, stop, share in ((0, 30, 0.25), (30, 60, 0.25), (60, 64, 0.5)):
        squares = ((Z[:, None, start:stop] - Z[None, :, start:stop]) ** 2).sum(axis=2)
        kernel += share * np.exp(-0.2 / (stop - start) * squares)
    t = (y - y.mean()) / y.std()
    alone = svm.SVR(kernel="precomputed", C=5.0, epsilon=0.02).fit(kernel, t)
    np.testing.assert_allclose(head.predict(X), alone.predict(kernel) * y.std() + y.mean(), atol=5e-3)


def test_blocks_keep_a_wide_source_model_from_drowning_a_narrow_one():
    (X, y), (X_new, y_new) = data(), data(200, 1)
    error = {
        name: np.abs(SVR().fit(X, y, blocks=blocks).predict(X_new) - y_new).mean()
        for name, blocks in (("blocks", BLOCKS), ("none", None))
    }
    assert error["blocks"] < 0.8 * error["none"]


def test_the_pair_is_the_one_with_the_lowest_error_on_the_validation_part():
    (X, y), (X_val, y_val) = data(), data(50, 1)
    pairs = [(g, c) for g in (0.1, 1.0) for c in (0.1, 30.0)]
    errors = [np.abs(SVR(gammas=[g], costs=[c]).fit(X, y).predict(X_val) - y_val).mean() for g, c in pairs]
    head = SVR(gammas=[0.1, 1.0], costs=[0.1, 30.0]).fit(X, y, X_val, y_val)
    assert (head.gamma_, head.cost_) == pairs[int(np.argmin(errors))]


def test_many_rows_are_learned_from_landmarks_and_it_says_so():
    (X, y), (X_new, y_new) = data(600), data(200, 1)
    exact, approximate = (SVR(max_rows=n, landmarks=300).fit(X, y, blocks=BLOCKS) for n in (600, 599))
    assert (exact.solver_, approximate.solver_) == ("exact", "nystroem")
    assert approximate.support_.shape == (300, 64)
    errors = [np.abs(head.predict(X_new) - y_new).mean() for head in (exact, approximate)]
    assert errors[1] < 1.25 * errors[0]
    assert errors[1] < 0.5 * np.abs(y_new - y.mean()).mean()


@pytest.mark.parametrize("max_rows", [200, 10])
def test_a_row_of_no_weight_has_no_say(max_rows):
    X, y = data(60)
    spoiled = np.where(np.arange(60) < 10, 50.0, y)
    weights = np.where(np.arange(60) < 10, 0.0, 1.0)
    settings = {"gammas": [0.1], "costs": [3.0], "max_rows": max_rows, "landmarks": 60}
    weighted = SVR(**settings).fit(X, spoiled, sample_weight=weights).predict(X[10:])
    alone = SVR(**settings).fit(X[10:], y[10:]).predict(X[10:])
    np.testing.assert_allclose(weighted, alone, atol=0.1)


def test_a_column_far_out_is_cut():
    X, y = data(40)
    head = SVR().fit(X, y)
    far, further = X[:1].copy(), X[:1].copy()
    far[0, 0], further[0, 0] = 1e3, 1e6
    assert head.predict(far) == head.predict(further)


@pytest.mark.parametrize("settings", [{"gammas": []}, {"costs": [-1.0]}, {"gammas": 0.1}])
def test_settings_that_are_no_grid_are_refused(settings):
    with pytest.raises(StrataError, match="must be a list of positive numbers"):
        SVR(**settings).fit(*data(20))
