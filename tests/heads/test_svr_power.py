"""The power transform of a target before support vectors: the contract, units, range."""

import numpy as np
import pytest

from heads import check_head
from heads.svr_power import PowerSVR


def skewed(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, np.exp(2 * X[:, 0])


def test_contract():
    check_head(PowerSVR())


def test_the_unit_does_not_matter():
    X, y = skewed()
    values = PowerSVR().fit(X, y).predict(X)
    assert PowerSVR().fit(X, 1000 * y).predict(X) == pytest.approx(
        1000 * values, rel=0.02
    )  # λ is found to a tolerance


def test_predictions_stay_within_the_range_of_the_training_part():
    X, y = skewed()
    values = PowerSVR().fit(X[:40], y[:40]).predict(4 * X)
    assert y[:40].min() * (1 - 1e-6) <= values.min() <= values.max() <= y[:40].max() * (1 + 1e-6)
