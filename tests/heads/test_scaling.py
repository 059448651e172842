"""Standardising columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heads.scaling import standardiser


@given(arrays(np.float64, st.tuples(st.integers(2, 9), st.integers(1, 4)), elements=st.integers(-99, 99)))
def test_columns_come_out_at_mean_0_and_deviation_1_or_flat(X):
    mean, scale = standardiser(X)
    Z = (X - mean) / scale
    assert Z.mean(axis=0) == pytest.approx(0, abs=1e-9)
    flat = np.ptp(X, axis=0) == 0
    assert Z.std(axis=0)[~flat] == pytest.approx(1)
    assert (scale[flat] == 1).all()


def test_a_column_that_is_flat_but_for_rounding_counts_as_flat():
    X = np.full((1000, 1), 0.1, dtype=np.float32)
    assert standardiser(X)[1].tolist() == [1.0]
