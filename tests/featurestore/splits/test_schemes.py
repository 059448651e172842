from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from core.structure import Structure
from featurestore.splits import groups
from featurestore.splits.draws import FOLDS, TooFewRows
from featurestore.splits.schemes import Rows, draw, split_dataset
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from featurestore.tables.schema import PUBLISHED
from featurestore.tables.writer import TableWriter
from tests.stores import add_dataset, flip
from tests.two_datasets import settings_of


def rows(structures):
    names = [f"e{i}" for i in range(len(structures))]
    return Rows(names, [f"s{s}" for s in structures], np.zeros(len(structures)))


def test_the_draw_depends_on_order_not_on_names():
    one = Rows(["a", "b"] * 10, [f"x{i}" for i in range(20)], np.zeros(20))
    two = Rows(["c", "d"] * 10, [f"y{99 - i}" for i in range(20)], np.ones(20))
    assert (draw("random", one, 0)[0] == draw("random", two, 0)[0]).all()


def test_the_papers_draw_may_part_the_entries_of_a_structure():
    doubled = rows(np.repeat(np.arange(50), 2))
    together, apart = draw("random", doubled, 0)[0], draw("random_rows", doubled, 0)[0]
    assert (together[::2] == together[1::2]).all()
    assert (apart[::2] != apart[1::2]).any()


@pytest.mark.parametrize("scheme", ["random", "random_rows", "kfold", "extrapolation", "ladder"])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_rows_are_an_error_with_their_number(scheme, n):  # row 28
    with pytest.raises(TooFewRows, match=rf"{n} rows in {n} groups are too few"):
        draw(scheme, rows(range(n)), 0)


def test_one_large_group_leaves_no_fold_silently_empty():  # row 28
    with pytest.raises(TooFewRows, match="empty"):
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
    with pytest.raises(TooFewRows, match="split random of tiny/energy: 3 rows"):
        split_dataset(tmp_path, "tiny", ["random"], [0])


def test_an_unknown_dataset_is_named(tmp_path):
    add_dataset(tmp_path, "alpha", range(10))
    with pytest.raises(StrataError, match="did you mean 'alpha'"):
        split_dataset(tmp_path, "alpah", ["random"], [0])
    assert not (tmp_path / "splits").exists()


def structures_of(store_structures):
    """Give made-up structures by id: `s<n>` is the n-th of the list."""
    return lambda ids: [store_structures[int(name[1:])] for name in ids]


def test_grouped_schemes_part_no_group():
    rng = np.random.default_rng(0)
    kinds = [rng.choice([1, 6, 7, 8, 14], size=2, replace=False) for _ in range(60)]
    made = [
        Structure(
            np.diag([3.0, 3.0, 3.0 + 2 * (i % 3)]), np.array(kind, np.uint8), np.array([[0, 0, 0], [0.5] * 3])
        )
        for i, kind in enumerate(kinds)
    ]
    names = [f"e{i}" for i in range(60)]
    given = Rows(names, [f"s{i}" for i in range(60)], np.zeros(60), structures_of(made))
    for scheme, group_of in {
        "grouped": groups.chemical_system,
        "grouped_prototype": groups.prototype,
    }.items():
        try:
            (parts,) = draw(scheme, given, 0)
        except StrataError as error:
            assert "groups are too few" in str(error)  # noqa: PT017 - three prototypes cannot be parted
            assert scheme == "grouped_prototype"
            continue
        lie = defaultdict(set)
        for structure, part in zip(made, parts, strict=True):
            lie[group_of(structure)].add(part)
        assert {len(found) for found in lie.values()} == {1}
        assert set(parts) == {"train", "val", "test"}


def bulk_like(number: int) -> Structure:
    """One atom of an element in a cube."""
    return Structure(np.eye(3) * 3.0, np.array([number], np.uint8), np.zeros((1, 3)))


@pytest.mark.parametrize(("scheme", "folds"), [("kfold_grouped", 9), ("ladder_grouped", 3)])
def test_folds_and_rungs_by_system_part_no_system(scheme, folds):
    made = [bulk_like(number) for number in range(1, 21) for _ in range(2)]
    ids = [f"s{i}" for i in range(len(made))]
    by_id = dict(zip(ids, made, strict=True))
    given = Rows(ids, ids, np.arange(40.0), lambda names: [by_id[name] for name in names])
    drawn = draw(scheme, given, 0)
    assert len(drawn) == folds
    for parts in drawn:
        assert (parts[::2] == parts[1::2]).all()  # an element's two entries lie together
    if scheme == "kfold_grouped":
        assert sum((parts == "test").astype(int) for parts in drawn).tolist() == [1] * 40


def test_a_crystal_in_several_settings_lies_in_one_part():
    rng = np.random.default_rng(3)
    crystals = [Structure(np.eye(3) * (3.0 + 0.8 * k), [11, 17], [[0, 0, 0], [0.5] * 3]) for k in range(12)]
    settings = [next(iter(settings_of(crystal, rng))) for crystal in crystals]
    ids = [f"s{i}" for i in range(24)]
    of = dict(zip(ids, [*crystals, *settings], strict=True))
    given = Rows(ids, ids, np.arange(24.0), lambda names: [of[name] for name in names])
    (apart,), (together,) = draw("random", given, 0), draw("grouped_crystal", given, 0)
    assert (apart[:12] != apart[12:]).any()
    assert (together[:12] == together[12:]).all()
    assert set(together) == {"train", "val", "test"}


def test_crystals_are_compared_once_for_all_properties_of_a_dataset():
    crystals = [bulk_like(number) for number in range(1, 21)]
    ids = [f"s{i}" for i in range(20)]
    asked = []

    def structures(names):
        asked.append(list(names))
        return [crystals[int(name[1:])] for name in names]

    labels: dict = {}
    for part in (ids[:10], ids[5:]):
        draw("grouped_crystal", Rows(part, part, np.zeros(len(part)), structures, None, labels, ids), 0)
    assert asked == [ids]


def test_extrapolation_ladder_and_fewer_rows_are_kept(tmp_path):
    add_dataset(tmp_path, "alpha", range(60), properties=("energy",))
    split_dataset(tmp_path, "alpha", ["random", "extrapolation", "ladder"], [0])
    store = featurestore.open(tmp_path)
    counts = dict(
        store.sql("SELECT scheme || fold, count(*) FROM splits GROUP BY ALL ORDER BY ALL").fetchall()
    )
    assert counts == {
        "random0": 60,
        "extrapolation0": 60,
        "ladder0": 60,
        "ladder1": 36,
        "ladder2": 24,
        "ladder3": 18,
    }
    highest = store.sql(
        "SELECT max(value) FILTER (part = 'test') <= min(value) FILTER (part <> 'test') "
        "FROM splits JOIN targets USING (dataset, property, entry_id) WHERE scheme = 'extrapolation'"
    ).fetchall()
    assert highest == [(True,)]
    same = store.sql(
        "SELECT fold, list(entry_id ORDER BY entry_id) FROM splits "
        "WHERE scheme IN ('random', 'ladder') AND part = 'test' GROUP BY scheme, fold"
    ).fetchall()
    assert len({tuple(entries) for _, entries in same}) == 1


def test_a_space_group_needs_structures():
    with pytest.raises(StrataError, match="no structures to be grouped by"):
        draw("grouped", rows(range(20)), 0)


@pytest.fixture
def with_published(tmp_path):
    """A store with a published split of alpha/energy, which leaves out the last entries."""
    add_dataset(tmp_path, "alpha", range(30))
    part_of = {f"alpha-{i}": "train" if i < 20 else "val" for i in range(22)}
    part_of |= {"alpha-22": "test", "elsewhere": "test"}
    rows = [
        {"dataset": "alpha", "property": "energy", "entry_id": entry, "part": part}
        for entry, part in part_of.items()
    ]
    folder = StoreLayout(tmp_path).table("published", "alpha")
    with TableWriter(folder, PUBLISHED, "test") as writer:
        facts = {"property": "energy", "file_sha256": "abc"}
        writer.commit("energy", pa.Table.from_pylist(rows, PUBLISHED), provenance=facts)
    return tmp_path


def test_a_published_split_is_kept_as_it_is(with_published):
    assert split_dataset(with_published, "alpha", ["random", "published"], [0]) == 2
    store = featurestore.open(with_published)
    assert {key.scheme for key in store.splits("alpha", "gap")} == {"random"}
    parts = dict(
        store.sql("SELECT part, count(*) FROM splits WHERE scheme = 'published' GROUP BY part").fetchall()
    )
    assert parts == {"train": 20, "val": 2, "test": 1}


def test_a_dataset_without_a_published_split_is_told(tmp_path):
    add_dataset(tmp_path, "alpha", range(30))
    with pytest.raises(StrataError, match=r"no published split of alpha;.*ingest again with the file"):
        split_dataset(tmp_path, "alpha", ["published"], [0])


def test_an_unknown_scheme_is_refused_before_anything_is_written(tmp_path):  # row 44
    add_dataset(tmp_path, "alpha", range(30))
    with pytest.raises(StrataError, match="did you mean 'grouped'"):
        split_dataset(tmp_path, "alpha", ["gruoped"], [0])
    assert not (tmp_path / "splits").exists()


def test_what_is_drawn_from_is_checked_first(tmp_path):
    add_dataset(tmp_path, "alpha", range(20))
    flip(snapshot(tmp_path / "targets" / "alpha").paths[0], 100)
    with pytest.raises(StrataError, match=r"targets/alpha.*damaged since it was committed"):
        split_dataset(tmp_path, "alpha", ("random",), (0,))
