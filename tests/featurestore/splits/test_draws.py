import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StrataError
from featurestore.splits.draws import (
    FEWEST,
    FOLDS,
    RUNGS,
    draw_80_10_10,
    draw_folds,
    draw_ladder,
    draw_lowest,
    tenth,
)

GROUPS = st.lists(st.integers(1, 8), min_size=30, max_size=80).map(  # sizes of groups, then shuffled rows
    lambda sizes: np.random.default_rng(len(sizes)).permutation(np.repeat(np.arange(len(sizes)), sizes))
)
SEEDS = st.integers(0, 2**31)


def sizes(parts):
    return {name: int((parts == name).sum()) for name in ("train", "val", "test")}


@given(st.integers(FEWEST, 3000), SEEDS)
def test_single_rows_give_exact_tenths(n, seed):
    tenth_ = tenth(n)
    assert sizes(draw_80_10_10(np.arange(n), seed)) == {
        "train": n - 2 * tenth_,
        "val": tenth_,
        "test": tenth_,
    }


@given(GROUPS, SEEDS)
def test_groups_stay_together_and_parts_come_near_a_tenth(groups, seed):
    parts = draw_80_10_10(groups, seed)
    assert all(len(set(parts[groups == group])) == 1 for group in set(groups))
    got, largest, wanted = sizes(parts), np.bincount(groups).max(), tenth(len(groups))
    for name in ("val", "test"):
        assert got[name] > 0
        assert wanted - largest < got[name] <= max(wanted, np.bincount(groups).min())


@pytest.mark.parametrize("seed", range(10))
def test_a_group_larger_than_a_part_is_trained_on(seed):
    groups = np.array([0] * 500 + list(range(1, 9)))
    parts = draw_80_10_10(groups, seed)
    assert set(parts[:500]) == {"train"}
    assert {"val", "test"} <= set(parts)


def test_a_part_into_which_no_group_fits_gets_one():
    assert sizes(draw_80_10_10(np.repeat(np.arange(5), 2), 0)) == {"train": 6, "val": 2, "test": 2}


@given(st.integers(FOLDS, 500), SEEDS)
def test_folds_test_every_row_once_and_validate_on_the_next_part(n, seed):
    folds = draw_folds(np.arange(n), seed)
    assert len(folds) == FOLDS
    tests = np.array([parts == "test" for parts in folds])
    vals = np.array([parts == "val" for parts in folds])
    assert (tests.sum(axis=0) == 1).all()
    assert (vals == np.roll(tests, -1, axis=0)).all()
    counts = tests.sum(axis=1)
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1


def test_folds_keep_groups_together():
    groups = np.repeat(np.arange(30), 3)
    for parts in draw_folds(groups, 0):
        assert all(len(set(parts[groups == group])) == 1 for group in range(30))


def test_a_seed_is_a_draw():
    groups = np.arange(200)
    assert (draw_80_10_10(groups, 3) == draw_80_10_10(groups, 3)).all()
    assert (draw_80_10_10(groups, 3) != draw_80_10_10(groups, 4)).any()


@given(GROUPS, SEEDS)
def test_the_lowest_tenth_is_held_out_and_no_group_is_parted(groups, seed):
    values = np.random.default_rng(seed).standard_normal(groups.max() + 1)[groups]
    parts = draw_lowest(groups, values, seed)
    assert all(len(set(parts[groups == group])) == 1 for group in set(groups))
    assert values[parts == "test"].max() < values[parts != "test"].min()
    got, wanted = sizes(parts), tenth(len(groups))
    assert min(got.values()) > 0
    assert got["test"] <= max(wanted, np.bincount(groups).max())


def test_only_the_validation_part_of_an_extrapolation_depends_on_the_seed():
    groups, values = np.arange(100), np.arange(100.0)
    one, two = (draw_lowest(groups, values, seed) for seed in (0, 1))
    assert (np.flatnonzero(one == "test") == np.arange(10)).all()
    assert ((one == "test") == (two == "test")).all()
    assert ((one == "val") != (two == "val")).any()


@given(GROUPS, SEEDS)
def test_a_ladder_is_nested_beside_fixed_parts(groups, seed):
    rungs = draw_ladder(groups, seed)
    assert (rungs[0] == draw_80_10_10(groups, seed)).all()
    for above, below in itertools.pairwise(rungs):
        assert ((above == "test") == (below == "test")).all()
        assert ((above == "val") == (below == "val")).all()
        assert set(np.flatnonzero(below == "train")) <= set(np.flatnonzero(above == "train"))
        assert all(len(set(below[groups == group])) == 1 for group in set(groups))
        assert (below == "train").sum() >= FEWEST


def test_a_rung_has_half_the_training_rows_of_the_one_above():
    assert [sizes(parts)["train"] for parts in draw_ladder(np.arange(1000), 0)] == [800, 400, 200, 100, 50]
    assert len(draw_ladder(np.arange(1000), 0)) == RUNGS
    assert [sizes(parts)["train"] for parts in draw_ladder(np.arange(20), 0)] == [16, 8]


@pytest.mark.parametrize("n", [0, 4])
def test_too_few_rows_cannot_be_extrapolated(n):  # row 28
    with pytest.raises(StrataError, match=f"{n} rows in {n} groups are too few"):
        draw_lowest(np.arange(n), np.zeros(n), 0)
