from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from featurestore import Reject, StoreLayout
from featurestore.remote import pull
from featurestore.tables.schema import SCHEMAS
from tests.stores import (
    CHECKPOINTS,
    EXTRACTION,
    add_dataset,
    add_features,
    small_store,
    structure_id,
    vectors_of,
    write,
)

VIEWS = {
    "structures": "structure_id, formula, n_atoms, volume, lattice, numbers, frac_coords",
    "entries": "dataset, entry_id, structure_id",
    "targets": "dataset, property, entry_id, structure_id, value, unit",
    "features": "structure_id, extraction_id, source_model, prediction",
    "vectors": "structure_id, extraction_id, kind, depth, vector, source_model, checkpoint",
    "joined": "structure_id",
    "checkpoints": "source_model, checkpoint, kind, depth, width",
    "splits": "scheme, seed, dataset, property, entry_id, fold, part",
    "runs": "run_id, method, head, feature_set, val_mae, test_mae, base_test_mae, role, created_at",
    "predictions": "run_id, dataset, property, entry_id, part, prediction",
    "scores": "run_id, part, role, mae, mae_low, mae_high, r2, spearman, n",
    "source_models": "source_model, extractions, structures, is_default, backbone, checkpoints",
    "datasets": "dataset, title, licence, entries, structures, properties",
    "properties": "dataset, property, unit, description, origin, paper_name",
    "extractions": "extraction_id, source_model, structures, provenance, is_default, is_current",
    "coverage": "extraction_id, dataset, structures, extracted, rejected, missing",
    "rejects": '"table", dataset, id, code, message',
    "shards": '"table", dataset, rows, bytes, sha256',
    "log": 'n, "table", version, operation, written_at, rows_added, rows_removed',
}


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_answers_in_a_full_and_in_an_empty_store(shared_store, tmp_path, view):
    for root in (shared_store, tmp_path):
        featurestore.open(root).sql(f"SELECT {VIEWS[view]} FROM {view}").fetchall()


def test_structures_lie_there_once_with_the_first_datasets_floats(tmp_path):
    add_dataset(tmp_path, "b", [1, 2])
    add_dataset(tmp_path, "a", [2, 3])
    found = (
        featurestore.open(tmp_path)
        .sql("SELECT structure_id, floats_from FROM structures ORDER BY 1")
        .fetchall()
    )
    assert found == [(structure_id(1), "b"), (structure_id(2), "a"), (structure_id(3), "a")]


def test_vectors_are_arrays_of_256_wide_and_long(shared_store):
    store = featurestore.open(shared_store)
    features = store.sql("FROM features")
    wide = dict(zip(features.columns, map(str, features.types), strict=True))
    assert {wide[checkpoint.name] for checkpoint in CHECKPOINTS} == {"FLOAT[256]"}
    [(vector,)] = store.sql(
        "SELECT vector FROM vectors WHERE kind = 'bond' AND depth = 3 AND structure_id = ?", [structure_id(7)]
    ).fetchall()
    assert np.array_equal(np.float32(vector), vectors_of(7)["bond_3"])
    assert store.sql("SELECT count(*) FROM vectors").fetchall() == [(50 * 23,)]


def test_distances_between_structures_in_sql(shared_store):
    nearest = featurestore.open(shared_store).sql(
        "WITH one AS (SELECT atom_8 AS v FROM features WHERE structure_id = ?) "
        "SELECT structure_id, array_cosine_distance(atom_8, v) d FROM features, one ORDER BY d LIMIT 1",
        [structure_id(11)],
    )
    [(name, distance)] = nearest.fetchall()
    assert name == structure_id(11)
    assert distance == pytest.approx(0, abs=1e-6)


def test_rejects_of_both_tables(tmp_path):
    add_dataset(tmp_path, "a", [1, 2], rejects=[Reject("a-9", "empty", "no atoms")])
    add_features(tmp_path, [1], rejects=[Reject(structure_id(2), "too_large", "9 angles")])
    store = featurestore.open(tmp_path)
    assert store.sql("FROM rejects ORDER BY id DESC").fetchall() == [
        ("entries", "a", "a-9", "empty", "no atoms", None),
        ("features", None, structure_id(2), "too_large", "9 angles", EXTRACTION),
    ]
    assert store.sql("SELECT structures, extracted, rejected, missing FROM coverage").fetchall() == [
        (2, 1, 1, 0)
    ]


def test_the_log_tells_the_growth(store_root):
    store = featurestore.open(store_root)
    rows = store.sql('SELECT n, "table", dataset, version, rows_added FROM log WHERE n <= 3').fetchall()
    assert rows == [
        (1, "structures", "alpha", 1, 40),
        (2, "entries", "alpha", 1, 40),
        (3, "targets", "alpha", 1, 67),
    ]
    total = store.sql("SELECT sum(rows_added - rows_removed), max(n) FROM log").fetchall()
    assert total == [(sum(row[0] for row in store.sql("SELECT rows FROM shards").fetchall()), store.version)]


def run(name, head, method="features"):
    plain = {
        "run_id": name,
        "method": method,
        "head": head,
        "dataset": "a",
        "property": "energy",
        "unit": "eV",
        "scheme": "random",
        "created_at": datetime(2030, 1, 1, 12, tzinfo=UTC),
        "val_mae": 0.5,
    }
    return plain | dict.fromkeys(("seed", "fold", "n_train", "n_val", "n_test"), 0)


def score(name, role, mae):
    return {
        "run_id": name,
        "dataset": "a",
        "property": "energy",
        "part": "test",
        "role": role,
        "mae": mae,
        "n": 5,
    }


def test_runs_stand_beside_their_scores_and_base(tmp_path):
    layout = StoreLayout(tmp_path)
    runs = [run("r1", "ridge"), run("r2", "lightgbm"), run("r3", None, "base")]
    scores = [score("r1", "chosen", 0.25), score("r3", "base", 1.0)]
    write(layout.runs("a"), "runs", pa.Table.from_pylist(runs, SCHEMAS["runs"]))
    write(layout.scores, "scores", pa.Table.from_pylist(scores, SCHEMAS["scores"]))
    found = featurestore.open(tmp_path).sql(
        "SELECT run_id, role, test_mae, base_test_mae, created_at FROM runs ORDER BY run_id"
    )
    noon = datetime(2030, 1, 1, 12)  # noqa: DTZ001 - the views' times are UTC without saying so
    assert found.fetchall() == [
        ("r1", "chosen", 0.25, 1.0, noon),
        ("r2", None, None, None, noon),
        ("r3", "base", 1.0, 1.0, noon),
    ]


def test_the_store_as_it_was_at_a_moment(store_root):
    store = featurestore.open(store_root)
    rows = store.sql("SELECT written_at FROM log ORDER BY n").fetchall()
    moments = [row[0].isoformat() for row in rows]
    assert featurestore.open(store_root, at=moments[2]).version == 3
    assert featurestore.open(store_root, at=moments[2] + "+00:00").version == 3
    assert featurestore.open(store_root, at="2000-01-01").version == 0
    assert featurestore.open(store_root, at="2999-01-01T00:00").version == store.version
    assert featurestore.open(store_root, at="3").version == 3
    with pytest.raises(StrataError, match=r"--at 'yesterday' is neither a version, .* nor a moment"):
        featurestore.open(store_root, at="yesterday")


def test_versions_stay_when_clocks_go_back_and_tables_are_pulled(tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    moments = iter([f"20{99 - n}-01-01T00:00:00.000000+00:00" for n in range(60)])
    monkeypatch.setattr("featurestore.tables.log.now", lambda: next(moments))
    root = small_store(tmp_path / "store")

    def versions(place):
        query = 'SELECT "table", dataset, rows FROM shards ORDER BY ALL'
        return [
            featurestore.open(place, at=n).sql(query).fetchall()
            for n in range(featurestore.open(place).version + 1)
        ]

    before = versions(root)
    assert [sum(row[2] for row in rows) for rows in before[:4]] == [0, 40, 80, 147]
    pull(f"file://{root}", tmp_path / "copy")
    assert versions(tmp_path / "copy") == before
