"""Means over repetitions, with their spread."""

import pytest

from evaluation.repetitions import most_often, spread


def test_the_spread_of_several_values():
    found = spread([1.0, 2.0, 3.0], n_train=80, n_test=10)
    assert (found.mean, found.sd, found.n) == (2.0, 1.0, 3)
    # Nadeau and Bengio: the variance is (1/3 + 10/80) s², with two degrees of freedom
    assert found.high - found.mean == pytest.approx(4.302653 * (1 / 3 + 1 / 8) ** 0.5, rel=1e-6)


def test_one_value_has_no_spread_and_none_has_no_mean():
    assert spread([2.0, None], 80, 10).sd is None
    assert spread([None], 80, 10) is None


def test_names_by_how_often_they_come():
    assert most_often(["b", "a", "b", None, "c"]) == "b, a, c"
    assert most_often([None, ""]) is None


def test_the_interval_ends_where_the_quantity_does():
    found = spread([0.8, 1.0], 80, 10, within=(0.0, 1.0))
    assert (found.low, found.high) == (0.0, 1.0)
