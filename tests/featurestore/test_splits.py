from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from etl.errors import StrataError
from featurestore import splits
from featurestore.log import snapshot
from featurestore.splits import FEWEST, FOLDS, Rows, draw, draw_80_10_10, draw_folds, split_dataset, tenth
from tests.stores import add_dataset

GROUPS = st.lists(st.integers(1, 8), min_size=30, max_size=80).map(  # sizes of groups, then shuffled rows
    lambda sizes: np.random.default_rng(len(sizes)).permutation(np.repeat(np.arange(len(sizes)), sizes))
)
SEEDS = st.integers(0, 2**31)


def rows(structures):
    names = [f"e{i}" for i in range(len(structures))]
    return Rows(names, [f"s{s}" for s in structures], np.zeros(len(structures)))


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


def test_the_draw_hangs_on_order_not_on_names():
    one = Rows(["a", "b"] * 10, [f"x{i}" for i in range(20)], np.zeros(20))
    two = Rows(["c", "d"] * 10, [f"y{99 - i}" for i in range(20)], np.ones(20))
    assert (draw("random", one, 0)[0] == draw("random", two, 0)[0]).all()


def test_the_papers_draw_may_part_the_entries_of_a_structure():
    doubled = rows(np.repeat(np.arange(50), 2))
    together, apart = draw("random", doubled, 0)[0], draw("random_rows", doubled, 0)[0]
    assert (together[::2] == together[1::2]).all()
    assert (apart[::2] != apart[1::2]).any()


@pytest.mark.parametrize("scheme", splits.SCHEMES)
@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_rows_are_an_error_with_their_number(scheme, n):  # row 28
    with pytest.raises(StrataError, match=rf"{n} rows in {n} groups are too few"):
        draw(scheme, rows(range(n)), 0)


def test_one_large_group_leaves_no_fold_silently_empty():  # row 28
    with pytest.raises(StrataError, match="empty"):
        draw("kfold", rows([0] * 500 + list(range(1, 9))), 0)


def test_an_unknown_scheme_names_the_nearest():
    with pytest.raises(StrataError, match="did you mean 'random'"):
        draw("randon", rows(range(20)), 0)


def test_a_seed_cannot_be_negative():
    with pytest.raises(StrataError, match="0 or more, got -1"):
        draw("random", rows(range(20)), -1)


def test_kept_splits_cover_each_value_once_and_no_structure_lies_in_two_parts(shared_store):
    store = featurestore.open(shared_store)
    for dataset, name in (("alpha", "energy"), ("beta", "gap")):
        found = store.sql(
            "SELECT seed, entry_id, structure_id, part "
            "FROM splits JOIN targets USING (dataset, property, entry_id) "
            "WHERE dataset = ? AND property = ?",
            [dataset, name],
        ).fetchall()
        assert len(found) == 2 * len(store.matrix(dataset, name))
        parts = defaultdict(set)
        for seed, _, structure, part in found:
            parts[seed, structure].add(part)
        assert {len(names) for names in parts.values()} == {1}


def test_splits_are_kept_once_and_stale_ones_dropped(tmp_path):
    add_dataset(tmp_path, "alpha", range(30))
    folder = tmp_path / "splits" / "alpha"
    assert split_dataset(tmp_path, "alpha", ["random"], [0]) == 2
    assert split_dataset(tmp_path, "alpha", ["random"], [0]) == 0
    assert snapshot(folder).version == 2
    assert split_dataset(tmp_path, "alpha", ["random", "kfold"], [0, 1]) == 2
    keys = featurestore.open(tmp_path).splits("alpha", "energy")
    assert len(keys) == 2 * (1 + FOLDS)
    assert split_dataset(tmp_path, "alpha", ["random"], [1]) == 2
    assert featurestore.open(tmp_path).splits("alpha", "energy") == [("random", 1, 0)]


def test_too_small_a_property_is_named(tmp_path):  # row 28
    add_dataset(tmp_path, "tiny", range(3))
    with pytest.raises(StrataError, match="split random of tiny/energy: 3 rows"):
        split_dataset(tmp_path, "tiny", ["random"], [0])


def test_an_unknown_dataset_is_named(tmp_path):
    add_dataset(tmp_path, "alpha", range(10))
    with pytest.raises(StrataError, match="did you mean 'alpha'"):
        split_dataset(tmp_path, "alpah", ["random"], [0])
    assert not (tmp_path / "splits").exists()
