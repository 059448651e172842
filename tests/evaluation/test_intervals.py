"""The intervals of the test part, kept beside its scores."""

import shutil

import numpy as np
import pytest

import featurestore
from core.params import parse
from evaluation.evaluate import evaluate, notes
from evaluation.intervals import place_run
from evaluation.neighbours import FILE as NEIGHBOURS
from evaluation.neighbours import Neighbour
from evaluation.report.held import held
from evaluation.rows_file import read_rows
from featurestore.tables.log import snapshot
from heads.fit import fit
from tests.stores import SOURCE, small_store

PARAMS = parse(
    {
        "datasets": ["alpha"],
        "extract": {"source_models": [SOURCE]},
        "fit": {
            "heads": ["mean", "ridge", "svr"],
            "feature_sets": ["last", "atom_8"],
            "composition": None,
            "properties": {"alpha": ["energy"]},
            "choose_by": "cv",
            "refit": True,
            "committee": "greedy",
            "workers": 0,
        },
        "evaluate": {"level": 0.8},
    }
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A store with a committee for alpha/energy, scored on two splits."""
    root = small_store(tmp_path_factory.mktemp("intervals") / "store")
    fit("alpha", PARAMS, root)
    evaluate(PARAMS, root, root.parent)
    return root


def test_every_entry_of_the_test_part_has_a_row(root):
    store = featurestore.open(root)
    rows = store.sql("FROM intervals").df()
    tested = store.sql(
        "SELECT run_id, entry_id FROM predictions JOIN scores USING (run_id, dataset, property, part) "
        "WHERE role = 'chosen'"
    ).df()
    assert set(rows["run_id"] + rows["entry_id"]) == set(tested["run_id"] + tested["entry_id"])
    assert len(rows) == 8  # four in the test part of each split
    assert (rows["low"] < rows["high"]).all()
    assert set(rows["level"]) == {0.8}
    assert set(rows["domain"]) <= {"inside", "edge", "outside"}
    assert rows["percentile"].between(0, 100).all()
    assert notes(PARAMS, root) == []


def test_the_worst_predictions_have_their_nearest_training_entries(root):
    store = featurestore.open(root)
    rows = read_rows(root.parent / "plots" / NEIGHBOURS, Neighbour)
    by_entry = {}
    for row in rows:
        by_entry.setdefault((row.split, row.entry_id), []).append(row)
    assert len(by_entry) == 8  # fewer than ten in a test part: all of them
    values = dict(store.sql("SELECT entry_id, value FROM targets WHERE property = 'energy'").fetchall())
    for (split, entry), near in by_entry.items():
        assert len(near) == 3
        assert [one.distance for one in near] == sorted(one.distance for one in near)
        assert all(one.value == pytest.approx(values[one.neighbour], rel=1e-5) for one in near)
        scheme, seed = split.split("-")
        part = "SELECT entry_id FROM splits WHERE (property, scheme, seed, part) = ('energy', ?, ?, 'test')"
        tested = {name for (name,) in store.sql(part, [scheme, int(seed)]).fetchall()}
        assert entry in tested
        assert tested.isdisjoint(one.neighbour for one in near)


def test_the_values_of_the_test_part_play_no_part(root):
    store = featurestore.open(root)
    (run_id, *_) = store.sql("SELECT run_id FROM scores WHERE role = 'chosen'").fetchall()[0]
    asked = []
    real = store.sql
    try:
        store.sql = lambda query, params=None: asked.append((query, params)) or real(query, params)
        place_run(store, run_id, 0.9)
    finally:
        del store.sql
    readers = [query for query, _ in asked if "targets" in query]
    assert readers
    assert all("p.part IN ('train', 'val')" in query for query in readers)


def test_the_same_runs_leave_the_same_table(root):
    before = snapshot(featurestore.open(root).layout.intervals).paths
    evaluate(PARAMS, root, root.parent)
    assert snapshot(featurestore.open(root).layout.intervals).paths == before
    wider = PARAMS.model_copy(update={"evaluate": PARAMS.evaluate.model_copy(update={"level": 0.9})})
    old = featurestore.open(root).sql("SELECT entry_id, run_id, high - low AS width FROM intervals").df()
    evaluate(wider, root, root.parent)
    new = featurestore.open(root).sql("SELECT entry_id, run_id, high - low AS width FROM intervals").df()
    both = old.merge(new, on=["entry_id", "run_id"])
    assert len(both) == 8
    assert (both["width_y"] > both["width_x"]).all()
    evaluate(PARAMS, root, root.parent)


def test_what_became_of_them_is_counted(root):
    store = featurestore.open(root)
    ids = [row[0] for row in store.sql("SELECT run_id FROM runs").fetchall()]
    (found,) = held(store, ids)
    assert (found.dataset, found.prop, found.scheme, found.n) == ("alpha", "energy", "random", 8)
    rows = store.sql(
        "SELECT i.*, t.value, p.prediction FROM intervals i "
        "JOIN targets t USING (dataset, property, entry_id) "
        "JOIN predictions p ON (p.run_id, p.entry_id, p.part) = (i.run_id, i.entry_id, i.part)"
    ).df()
    inside = (rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])
    assert found.coverage == pytest.approx(inside.mean())
    assert found.width == pytest.approx((rows["high"] - rows["low"]).mean())
    assert found.quarters == ()  # too few entries
    assert sum(share for _, share, _ in found.domains) == pytest.approx(1)
    errors = (rows["prediction"] - rows["value"]).abs()
    together = sum(share * mae for _, share, mae in found.domains if mae is not None)
    assert together == pytest.approx(np.mean(errors))
    assert held(store, []) == ()


def test_a_run_whose_vectors_are_gone_is_counted_and_stops_nothing(tmp_path):
    root = small_store(tmp_path / "store")
    fit("alpha", PARAMS, root)
    shutil.rmtree(root / "features")
    scored = evaluate(PARAMS, root, tmp_path)
    assert {one.role for one in scored} == {"base", "chosen"}
    assert featurestore.open(root).sql("SELECT count(*) FROM intervals").fetchall() == [(0,)]
    (said,) = notes(PARAMS, root)
    assert said.startswith("2 of 2 chosen runs have no intervals")
