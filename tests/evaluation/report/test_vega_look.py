"""Ticks of logarithmic axes."""

from hypothesis import given
from hypothesis import strategies as st

from evaluation.report.vega_look import log_ticks


@given(st.floats(1e-6, 1e6), st.floats(1.5, 1e6))
def test_logarithmic_axes_have_few_ticks_within(low, factor):
    ticks = log_ticks(low, low * factor)
    assert all(low <= tick <= low * factor for tick in ticks)
    assert len(ticks) <= 13
    assert factor < 10 or ticks


def test_ticks_of_many_decades_are_powers_of_ten():
    assert log_ticks(1, 1e4) == [1, 10, 100, 1000, 1e4]
