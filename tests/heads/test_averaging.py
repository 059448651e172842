"""The rules of a committee, on predictions whose errors are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads.averaging import RULES, combined, cross_fitted, greedy, mean_of_best, stack, weigh

RNG = np.random.default_rng(0)
Y = RNG.normal(5, 2, 200)
# Members 0 and 1 err by as much, apart from each other; 2 is far worse; 3 errs as 0 does, a little more.
NOISE = RNG.normal(0, 0.5, (200, 2))
P = np.column_stack([Y + NOISE[:, 0], Y + NOISE[:, 1], Y + 5, Y + 1.02 * NOISE[:, 0]])
SOURCES = ["a", "b", "b", "a"]


def test_the_best_of_each_source_model_counts_the_same():
    assert mean_of_best(P, Y, SOURCES).tolist() == [0.5, 0.5, 0, 0]
    assert mean_of_best(P, Y, ["a", "a", "b", "a"])[2] == 0.5


@pytest.mark.parametrize("rule", [greedy, stack])
def test_members_that_err_apart_share_the_weight_and_a_bad_one_has_none(rule):
    weights = rule(P, Y, SOURCES)
    assert weights.sum() == pytest.approx(1)
    assert weights[2] < 0.05
    assert weights[1] == pytest.approx(0.5, abs=0.12)
    assert np.abs(P @ weights - Y).mean() < 0.85 * np.abs(P[:, 0] - Y).mean()


def test_greedy_never_errs_more_than_the_best_member():
    assert np.abs(P @ greedy(P, Y, SOURCES) - Y).mean() <= np.abs(P - Y[:, None]).mean(axis=0).min()


def test_stacking_falls_back_where_no_member_says_anything():
    assert stack(np.full((9, 2), 3.0), np.arange(9.0), ["a", "b"]).tolist() == [0.5, 0.5]


@given(st.integers(0, 2**20), st.sampled_from(sorted(RULES)))
def test_weights_are_shares_and_depend_on_whole_rows_alone(seed, rule):
    rng = np.random.default_rng(seed)
    some = rng.normal(size=(30, 3))
    y = rng.normal(size=30)
    holed = np.where(rng.random((30, 3)) < 0.1, np.nan, some)
    weights = weigh(rule, holed, y, ["a", "b", "c"])
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    whole = np.isfinite(holed).all(axis=1)
    assert np.array_equal(weights, weigh(rule, holed[whole], y[whole], ["a", "b", "c"]))


def test_members_that_share_no_row_count_the_same_by_source_model():
    apart = np.array([[1.0, np.nan], [np.nan, 1.0]])
    assert weigh("greedy", apart, np.ones(2), ["a", "b"]).tolist() == [0.5, 0.5]


def test_a_member_that_lacks_a_row_is_left_out_of_its_mean_and_counted():
    some = np.array([[1.0, 3.0, 9.0], [np.nan, 3.0, 9.0], [np.nan, np.nan, 9.0]])
    values, missing = combined(some, np.array([0.25, 0.75, 0.0]))
    assert values[:2].tolist() == [2.5, 3.0]
    assert np.isnan(values[2])
    assert missing == 2


def test_cross_fitted_weights_do_not_depend_on_the_row():
    honest = cross_fitted("stack", P, Y, SOURCES, np.arange(len(Y)))
    spoiled = Y.copy()
    spoiled[3] += 1000
    assert cross_fitted("stack", P, spoiled, SOURCES, np.arange(len(Y)))[3] == honest[3]


def test_cross_fitted_weights_do_not_depend_on_the_rows_of_a_group():
    groups = np.arange(len(Y)) // 20
    honest = cross_fitted("stack", P, Y, SOURCES, groups)
    spoiled = Y.copy()
    spoiled[groups == 3] = 1e6
    assert np.array_equal(
        cross_fitted("stack", P, spoiled, SOURCES, groups)[groups == 3], honest[groups == 3]
    )
