"""The training without idle units: step for step that of Keras, whatever is left out."""

import numpy as np
import pytest
import torch

from heads.fully_connected import Training, for_training
from heads.nn17 import NN17, batches, network, tensorflow

DEEP = (24, 20, 20, 16, 8)


def data(rows=40, width=6):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, width)).astype(np.float32)
    return X, (3 + 2 * X[:, :1]).astype(np.float32)


def pair(layers, learning_rate, seed=3):
    """One network twice: compiled by Keras, and here."""
    _, keras = tensorflow()
    keras.utils.set_random_seed(seed)
    theirs = network(keras, 6, layers)
    theirs.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="mae")
    return theirs, Training(theirs.get_weights(), learning_rate)


def test_steps_are_those_of_keras():
    """Of a deep network with idle units, put into another order; the last batch is short."""
    theirs, ours = pair(DEEP, 1e-3)
    X, y = data()
    order = np.random.default_rng(1)
    with for_training(torch):
        for _ in range(12):
            for rows in batches(order.permutation(len(y)), 9):
                theirs.train_on_batch(X[rows], y[rows])
                ours.step(torch.from_numpy(X[rows]), torch.from_numpy(y[rows]))
            ours.end_epoch()
        assert ours.loss(torch.from_numpy(X), torch.from_numpy(y)) == pytest.approx(
            theirs.evaluate(X, y, verbose=0), rel=1e-5
        )
    assert any(not torch.equal(order, torch.arange(len(order))) for order in ours.keep().orders)
    for a, b in zip(ours.weights(ours.keep()), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)


def test_a_fit_is_that_of_keras():
    """The same epochs, the same best one, the same predictions to 1e-4 of the target's deviation."""
    X, y = data()
    settings = {"layers": DEEP, "learning_rate": 3e-3, "batch_size": 16, "max_epochs": 30, "patience": 5}
    head = NN17(**settings, seed=2).fit(X[:30], y[:30, 0], X[30:], y[30:, 0])
    theirs, _ = pair(DEEP, 3e-3, seed=2)
    order = np.random.default_rng(2)
    losses, weights = [], []
    for epoch in range(head.n_epochs_):
        for rows in batches(order.permutation(30), 16):
            theirs.train_on_batch(X[rows], y[rows])
        losses.append(theirs.evaluate(X[30:], y[30:], verbose=0))
        weights.append(theirs.get_weights())
        assert epoch - int(np.argmin(losses)) <= 5
    assert head.best_epoch_ == int(np.argmin(losses)) + 1
    theirs.set_weights(weights[head.best_epoch_ - 1])
    np.testing.assert_allclose(head.predict(X), theirs.predict(X, verbose=0)[:, 0], atol=1e-4 * y.std())


def test_idle_units_go_last_and_are_left_out():
    _, ours = pair((64, 64), 1e-3)
    ours._biases[0][:50] = -1e3  # never active
    X, y = map(torch.from_numpy, data())
    widths = []
    gradient_of = ours._gradient_of
    ours._gradient_of = lambda layer, below, above: (
        widths.append((layer, below.shape[1], above.shape[1])) or gradient_of(layer, below, above)
    )
    with for_training(torch):
        for _ in range(12):
            ours.step(X, y)
        ours.end_epoch()
        assert (ours._biases[0][-50:] < -999).all()
        widths.clear()
        ours.step(X, y)
    below = {layer: low for layer, low, _ in widths}
    above = {layer: high for layer, _, high in widths}
    assert above[0] == below[1] == 16


def test_a_layer_that_is_idle_as_a_whole_is_no_error():
    _, ours = pair((8, 8), 1e-2)
    ours._biases[1][:] = -1e3
    X, y = map(torch.from_numpy, data())
    with for_training(torch):
        ours.step(X, y)
        assert np.isfinite(ours.loss(X, y))


def test_what_was_kept_does_not_change_with_what_comes_after():
    _, ours = pair(DEEP, 1e-2)
    X, y = map(torch.from_numpy, data())
    with for_training(torch):
        kept = ours.keep()
        before = ours.weights(kept)
        for _ in range(12):
            ours.step(X, y)
        ours.end_epoch()
    for a, b in zip(ours.weights(kept), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_bits_do_not_depend_on_the_number_of_threads():
    def trained(threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            X, y = data(300)
            return NN17(layers=[512, 256, 64], max_epochs=4).fit(X, y[:, 0]).model_.get_weights()
        finally:
            torch.set_num_threads(before)

    for a, b in zip(trained(1), trained(2), strict=True):
        np.testing.assert_array_equal(a, b)
