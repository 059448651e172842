"""Axes: their ticks and their ends, and counts."""

from hypothesis import given
from hypothesis import strategies as st

from evaluation.report.drawings import counted, log_ticks, ticks


@given(st.floats(1e-6, 1e6), st.floats(1.5, 1e6))
def test_logarithmic_axes_have_few_ticks_within(low, factor):
    ticks = log_ticks(low, low * factor)
    assert all(low <= tick <= low * factor for tick in ticks)
    assert len(ticks) <= 13
    assert factor < 10 or ticks


def test_ticks_of_many_decades_are_powers_of_ten():
    assert log_ticks(1, 1e4) == [1, 10, 100, 1000, 1e4]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_round_and_within(low, width, most):
    found = ticks(low, low + width, most)
    assert 1 <= len(found) <= most + 3
    assert all(low - 1e-6 * width <= tick <= low + width + 1e-6 * width for tick in found)


def test_counts_add_up_and_equal_factors_are_equal_steps():
    plain = counted([0.0, 1.0, 2.0, 10.0], "t", "x", "y")
    assert sum(step.count for step in plain.steps) == 4
    log = counted([1.0, 10.0, 100.0, -1.0], "t", "x", "y", log=True)
    assert log.scale == "log"
    assert sum(step.count for step in log.steps) == 3  # what is not positive has no place
    factors = [step.stop / step.start for step in log.steps]
    assert max(factors) / min(factors) < 1.0001
    assert counted([2.0, 2.0], "t", "x", "y") is None
