"""What calibrates a run: rows that it was not fitted on, with vectors, and never the test part."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from featurestore import StoreLayout, TableWriter
from featurestore.splits.schemes import split_dataset
from featurestore.tables.schema import SCHEMAS
from heads.calibration import Seen, calibrate, seen_of, spread_of
from heads.domain import EDGE, INSIDE, OUTSIDE, Place
from heads.fit import fit
from tests.stores import add_dataset, add_features, vectors_of

FOLDED = {"choose_by": "cv", "repeats": 1, "properties": {"alpha": ["energy"]}}
BY_VALIDATION = {"choose_by": "validation", "properties": {"alpha": ["energy"]}}


def vectors(lacking=(), calls=None):
    """Return what looks up made-up vectors of structures; some have none."""

    def of(ids):
        if calls is not None:
            calls.extend(ids)
        found = np.stack([vectors_of(int(name, 16))["atom_8"] for name in ids])
        found[[i for i, name in enumerate(ids) if int(name, 16) in lacking]] = np.nan
        return found

    return {"synthetic": of}


def run_of(root, head="ridge", seed=0):
    query = "SELECT * FROM runs WHERE head = ? AND seed = ? ORDER BY run_id LIMIT 1"
    return featurestore.open(root).sql(query, [head, seed]).to_arrow_table().to_pylist()[0]


def calibrated(root, run=None, members=(), given=None):
    return calibrate(featurestore.open(root), run or run_of(root), members, given or vectors())


def entries(root, *parts, seed=0):
    query = (
        "SELECT entry_id FROM splits WHERE dataset = 'alpha' AND property = 'energy' AND scheme = 'random' "
        "AND seed = ? AND part IN (SELECT unnest(?::VARCHAR[])) ORDER BY entry_id"
    )
    return [name for (name,) in featurestore.open(root).sql(query, [seed, list(parts)]).fetchall()]


def errors_of(root, run, part):
    query = (
        "SELECT entry_id, value - prediction FROM predictions JOIN targets "
        "USING (dataset, property, entry_id) WHERE run_id = ? AND part = ? ORDER BY entry_id"
    )
    return dict(featurestore.open(root).sql(query, [run["run_id"], part]).fetchall())


def same(one, other):
    """Tell whether two calibrations say the same to the last bit."""
    arrays = [
        (getattr(c.domain.own, name), getattr(c.intervals, more))
        for c in (one, other)
        for name, more in (("distance", "residuals"), ("percentile", "expected"), ("far", "values"))
    ]
    first, second = arrays[:3], arrays[3:]
    equal = all(
        a.tobytes() == b.tobytes()
        for x, y in zip(first, second, strict=True)
        for a, b in zip(x, y, strict=True)
    )
    return equal and one.rows == other.rows and one.seen == other.seen


def test_folded_and_fitted_to_all_every_known_row_has_an_error_out_of_fold(store_root, ask):
    fit("alpha", ask("ridge", refit=True, **FOLDED), store_root)
    found, run = calibrated(store_root), run_of(store_root)
    names = entries(store_root, "train", "val")
    assert [row.entry_id for row in found.rows] == names
    errors = errors_of(store_root, run, "oof")
    np.testing.assert_allclose(found.intervals.residuals, [errors[name] for name in names])
    np.testing.assert_allclose(found.intervals.errors, np.abs(found.intervals.residuals))
    np.testing.assert_allclose(found.intervals.values, [row.value for row in found.rows])


def test_folded_and_fitted_to_the_training_part_it_learned_from_that_alone(store_root, ask):
    fit("alpha", ask("ridge", refit=False, **FOLDED), store_root)
    found = calibrated(store_root)
    train, known = entries(store_root, "train"), entries(store_root, "train", "val")
    assert [row.entry_id for row in found.rows] == train
    errors = errors_of(store_root, run_of(store_root), "oof")
    np.testing.assert_allclose(found.intervals.residuals, [errors[name] for name in known])
    of_train = [abs(errors[name]) for name in train]
    np.testing.assert_allclose(found.intervals.errors, of_train)


def test_chosen_by_validation_that_part_calibrates(store_root, ask):
    fit("alpha", ask("ridge", refit=False, **BY_VALIDATION), store_root)
    found = calibrated(store_root)
    assert [row.entry_id for row in found.rows] == entries(store_root, "train")
    errors = errors_of(store_root, run_of(store_root), "val")
    np.testing.assert_allclose(
        found.intervals.residuals, [errors[name] for name in entries(store_root, "val")]
    )
    assert np.isnan(found.intervals.errors).all()  # of rows that it was fitted on none is known


def test_chosen_by_validation_and_fitted_to_all_validation_rows_are_training_rows(store_root, ask):
    fit("alpha", ask("ridge", refit=True, **BY_VALIDATION), store_root)
    found = calibrated(store_root)
    val = entries(store_root, "val")
    assert [row.entry_id for row in found.rows] == entries(store_root, "train", "val")
    assert len(found.intervals.residuals) == len(val)
    known = {
        row.entry_id for row, e in zip(found.rows, found.intervals.errors, strict=True) if np.isfinite(e)
    }
    assert known == set(val)


def changed_test_part(root):
    """Give every test entry another value and another structure, and the run another error on them."""
    layout, held_back = StoreLayout(root), set(entries(root, "test"))
    store = featurestore.open(root)
    rows = store.sql("SELECT * FROM targets WHERE dataset = 'alpha'").to_arrow_table().to_pylist()
    rows = [row | {"value": 1e6 * (row["entry_id"] in held_back) + row["value"]} for row in rows]
    with TableWriter(layout.targets("alpha"), SCHEMAS["targets"], "test") as writer:
        writer.retain([])
        writer.commit("changed", pa.Table.from_pylist(rows, SCHEMAS["targets"]))


@pytest.mark.parametrize("asked", [FOLDED, BY_VALIDATION], ids=["folded", "by validation"])
def test_the_test_part_is_never_read(store_root, ask, tmp_path, asked):
    fit("alpha", ask("ridge", refit=True, **asked), store_root)
    before, ids = calibrated(store_root), []
    copy = shutil.copytree(store_root, tmp_path / "copy")
    changed_test_part(copy)
    assert same(calibrated(copy, given=vectors(calls=ids)), before)
    held_back = {int(name.rpartition("-")[2]) for name in entries(store_root, "test")}
    assert held_back.isdisjoint(int(name, 16) for name in ids)  # nor are vectors of it
    # It would be seen: the same change of other entries is.
    store = featurestore.open(copy)
    rows = store.sql("SELECT * FROM targets WHERE dataset = 'alpha'").to_arrow_table().to_pylist()
    with TableWriter(StoreLayout(copy).targets("alpha"), SCHEMAS["targets"], "test") as writer:
        writer.retain([])
        table = pa.Table.from_pylist([row | {"value": row["value"] + 1} for row in rows], SCHEMAS["targets"])
        writer.commit("all", table)
    assert not same(calibrated(copy), before)


def test_rows_without_vectors_are_left_out(store_root, ask):
    fit("alpha", ask("ridge", refit=True, **FOLDED), store_root)
    known = [int(name.rpartition("-")[2]) for name in entries(store_root, "train", "val")]
    lacking = known[:7]
    found = calibrated(store_root, given=vectors(lacking))
    assert len(found.rows) == len(found.intervals.residuals) == len(known) - 7
    assert not {row.entry_id for row in found.rows} & {f"alpha-{number}" for number in lacking}
    assert np.isfinite(found.domain.own.distance).all()


def test_a_head_on_two_source_models_learned_from_rows_that_have_both(store_root, ask):
    fit("alpha", ask("ridge", refit=True, **FOLDED), store_root)
    known = [int(name.rpartition("-")[2]) for name in entries(store_root, "train", "val")]
    given = {"a": vectors()["synthetic"], "b": vectors(known[:5])["synthetic"]}
    assert len(calibrated(store_root, given=given).rows) == len(known) - 5
    run = run_of(store_root)
    averaged = calibrated(store_root, run, [(run["run_id"], 1.0)], given)  # one member may do without
    assert len(averaged.rows) == len(known)


def test_where_no_row_has_vectors_it_is_said(store_root, ask):
    fit("alpha", ask("ridge", refit=True, **FOLDED), store_root)
    with pytest.raises(StrataError, match=r"no entry that run \w+ learned from has vectors in the store"):
        calibrated(store_root, given=vectors(range(100)))


def test_a_run_without_predictions_of_its_own_is_named(store_root, ask):
    fit("alpha", ask("ridge", refit=True, **FOLDED), store_root)
    with pytest.raises(StrataError, match=r"no predictions of run nobody .*strata fit alpha again"):
        calibrated(store_root, run_of(store_root) | {"run_id": "nobody"})


def test_of_classes_there_is_a_domain_alone(store_root, ask):
    fit("alpha", ask("ridge", refit=True, **FOLDED), store_root)
    found = calibrated(store_root, run_of(store_root) | {"val_log_loss": 0.5})
    assert found.intervals is None
    assert found.seen == {}
    assert len(found.rows) == len(entries(store_root, "train", "val"))


def test_another_repetition_is_calibrated_by_its_own_parts(store_root, ask):
    fit("alpha", ask("ridge", refit=True, **FOLDED), store_root)
    found = calibrated(store_root, run_of(store_root, seed=1))
    assert [row.entry_id for row in found.rows] == entries(store_root, "train", "val", seed=1)


def test_entries_of_one_structure_are_no_neighbours(tmp_path, ask):
    """Of every structure there are two entries: the nearest is another structure's."""
    root = tmp_path / "store"
    add_dataset(root, "alpha", [n for n in range(30) for _ in range(2)], ["energy"])
    add_features(root, range(30))
    split_dataset(root, "alpha", schemes=("random",), seeds=(0,))
    fit("alpha", ask("ridge", refit=True, **FOLDED), root)
    found = calibrated(root)
    for i, near in enumerate(found.domain.own.near):
        there = np.isfinite(found.domain.own.far[i])
        assert found.rows[i].structure_id not in {found.rows[j].structure_id for j in near[there]}
    assert (found.domain.own.distance > 0.1).all()


def systems(root):
    """Give half of the structures of `alpha` another element, so that there are two chemical systems."""
    layout = StoreLayout(root)
    rows = featurestore.open(root).sql("SELECT * FROM structures").to_arrow_table().to_pylist()
    own = [row for row in rows if int(row["structure_id"], 16) < 40]
    changed = [
        row | ({"numbers": [32], "formula": "Ge"} if int(row["structure_id"], 16) % 2 else {}) for row in own
    ]
    with TableWriter(layout.structures("alpha"), SCHEMAS["structures"], "test") as writer:
        writer.retain([])
        table = pa.Table.from_pylist(
            [{k: row.get(k) for k in SCHEMAS["structures"].names} for row in changed], SCHEMAS["structures"]
        )
        writer.commit("changed", table)


def test_in_a_grouped_split_neighbours_are_of_other_chemical_systems(store_root, ask):
    systems(store_root)
    fit("alpha", ask("ridge", refit=True, **FOLDED), store_root)
    run = run_of(store_root)
    plain = calibrated(store_root)
    parts = featurestore.open(store_root).sql("SELECT * FROM splits WHERE dataset = 'alpha'").to_arrow_table()
    rows = [row | {"scheme": "grouped"} for row in parts.to_pylist() if row["scheme"] == "random"]
    with TableWriter(StoreLayout(store_root).splits("alpha"), SCHEMAS["splits"], "test") as writer:
        writer.commit("grouped", pa.Table.from_pylist(rows, SCHEMAS["splits"]))
    found = calibrated(store_root, run | {"scheme": "grouped"})
    assert found.rows == plain.rows
    for i, near in enumerate(found.domain.own.near):
        there = np.isfinite(found.domain.own.far[i])
        assert {found.rows[j].formula for j in near[there]} == {"Si", "Ge"} - {found.rows[i].formula}
    assert any(
        plain.rows[i].formula in {plain.rows[j].formula for j in near}
        for i, near in enumerate(plain.domain.own.near)
    )


def test_errors_are_averaged_by_verdict():
    percentile = np.array([10.0, 50, 80, 97, 99])
    place = Place(
        percentile, percentile, percentile, np.zeros((5, 1), int), np.zeros((5, 1)), ((), (), (), (), ())
    )
    found = seen_of(place, np.array([1.0, 3, 5, 7, 9]))
    assert found == {INSIDE: Seen(2, 2.0), EDGE: Seen(1, 5.0), OUTSIDE: Seen(2, 8.0)}
    few = Place(*[percentile[:1]] * 3, np.zeros((1, 1), int), np.zeros((1, 1)), ((),))
    assert seen_of(few, np.ones(1)) == {INSIDE: Seen(1, 1.0), EDGE: Seen(0, None), OUTSIDE: Seen(0, None)}


def test_what_was_seen_is_of_all_judged_rows(store_root, ask):
    fit("alpha", ask("ridge", refit=True, **FOLDED), store_root)
    found = calibrated(store_root)
    assert sum(seen.rows for seen in found.seen.values()) == len(found.rows)
    total = sum(seen.rows * (seen.mae or 0) for seen in found.seen.values())
    assert total / len(found.rows) == pytest.approx(np.abs(found.intervals.residuals).mean())


def test_members_lie_apart_by_their_weighted_deviation():
    members = np.array([[1.0, 3.0, np.nan], [np.nan, np.nan, 2.0], [4.0, 4.0, 4.0]])
    found = spread_of(members, np.array([1.5, 2.0, 4.0]), np.array([0.6, 0.2, 0.2]))
    np.testing.assert_allclose(found, [np.sqrt((0.6 * 0.25 + 0.2 * 2.25) / 0.8), 0, 0])
    assert spread_of(np.empty((2, 0)), np.zeros(2), np.empty(0)).tolist() == [0, 0]
