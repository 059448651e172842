"""The ensemble of small networks: the contract, its gradients, and what its inputs are."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from core.errors import StrataError
from featurestore.query.feature_sets import Block
from heads import MLP, check_head

WEIGHTS = dict.fromkeys(
    ("check_sample_weight_equivalence_on_dense_data",),
    "a row of weight 2 stands in one batch, the same row twice in two",
)


SMALL = MLP(members=2, width=16, components=8, epochs=20, learning_rate=0.02)


@parametrize_with_checks([SMALL], expected_failed_checks=lambda _: WEIGHTS)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.parametrize("head", [SMALL, MLP(members=1, width=8, components=3, dropout=0.0)])
def test_contract(head):
    check_head(head)


def data(n=150, seed=0):
    """A wide block of noise from one source model, and a narrow one from another that the target follows."""
    X = np.random.default_rng(seed).normal(size=(n, 64)).astype(np.float32)
    return X, 5 + np.sin(2 * X[:, 60]) + X[:, 61]


BLOCKS = (Block("wide", "x_0", "x", 0, 0, 60), Block("narrow", "y_0", "y", 0, 60, 64))


def test_it_learns_a_curve_and_blocks_keep_a_wide_source_model_from_drowning_a_narrow_one():
    (X, y), (X_new, y_new) = data(), data(200, 1)
    base = np.abs(np.median(y) - y_new).mean()
    with_blocks, without = (
        np.abs(MLP().fit(X, y, blocks=blocks).predict(X_new) - y_new).mean() for blocks in (BLOCKS, None)
    )
    assert with_blocks < 0.7 * base
    assert with_blocks < 0.9 * without


def test_gradients_are_those_of_the_mean_absolute_error():
    head = MLP(members=2, width=5, dropout=0.0)
    rng = np.random.default_rng(0)
    layers = [part.astype(np.float64) for part in head._initial(3, rng)]
    layers[5] += 0.3
    x, t = rng.normal(size=(2, 7, 3)), rng.normal(size=(2, 7))
    weights = rng.random((2, 7))

    def loss():
        from heads.mlp import _forward

        errors = np.abs(_forward(x, layers)[-1][..., 0] - t) * weights
        return errors.mean(axis=1).sum()

    found = head._gradients(x, t, weights, layers, rng)
    for part, gradient in zip(layers, found, strict=True):
        for place in ((0, 0, 0), (1, part.shape[1] - 1, part.shape[2] - 1)):
            before = part[place]
            part[place] = before + 1e-6
            above = loss()
            part[place] = before - 1e-6
            assert gradient[place] == pytest.approx((above - loss()) / 2e-6, abs=1e-6)
            part[place] = before


def test_the_networks_see_principal_components_of_mean_variance_one():
    X, y = data()
    head = MLP(epochs=1, components=10).fit(X, y)
    seen = head._inputs(X)
    assert seen.shape == (150, 10)
    assert (seen**2).mean() == pytest.approx(1, rel=1e-3)
    covariance = seen.T @ seen / len(seen)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3
    wide = np.repeat(X[:20], 5, axis=1)  # more columns than rows
    seen = MLP(epochs=1).fit(wide, y[:20])._inputs(wide)
    assert (seen**2).mean() == pytest.approx(1, rel=1e-3)


def test_a_row_of_no_weight_is_not_learned_from():
    X, y = data(60)
    spoiled = y.copy()
    spoiled[::2] = 50
    weights = np.arange(60) % 2
    head = MLP().fit(X, spoiled, sample_weight=weights)
    assert np.median(head.predict(X)) < 10


def test_predictions_stay_within_the_range_of_the_training_part():
    X, y = data()
    values = MLP().fit(X, y).predict(20 * X)
    assert y.min() <= values.min() <= values.max() <= y.max()


def test_the_same_seed_gives_the_same_and_another_does_not():
    X, y = data()
    one, same, other = (MLP(epochs=3, seed=seed).fit(X, y).predict(X) for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_columns_that_never_change():
    y = np.arange(9.0)
    assert MLP(epochs=1).fit(np.ones((9, 3)), y).predict(np.ones((2, 3))) == pytest.approx([4, 4], abs=4)


@pytest.mark.parametrize("settings", [{"members": 0}, {"epochs": -1}, {"dropout": 1.0}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(StrataError, match=f"mlp: {next(iter(settings))} is"):
        MLP(**settings).fit(*data(20))
