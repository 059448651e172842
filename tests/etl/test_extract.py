"""The stage `extract`: every structure once, whatever happens, and a report of what was done."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
import yaml

import etl.extract as stage
import featurestore
from core.errors import StrataError
from core.params import Params, parse
from core.structure import Structure
from etl.extract import ExtractReport, extract
from featurestore.tables import maintenance
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Snapshot, snapshot
from featurestore.tables.schema import SCHEMAS
from tests.crystals import random_structure
from tests.engines import SOURCE, alignn_engine
from tests.stores import write
from zoo import hub
from zoo.extraction import extraction_id, provenance
from zoo.hub import load_card, load_source, weights_hash

ROOT = Path(__file__).parents[2]
STRUCTURES = [random_structure(np.random.default_rng(seed), 1 + seed % 3) for seed in range(7)]
GIANT = random_structure(np.random.default_rng(99), 40)


def params(
    *datasets: str, source: str = SOURCE, chunk: int = 2, precision: str = "float32", **alignn
) -> Params:
    chosen = {"source_models": [source], "chunk": chunk, "workers": 0, "threads": 1, "device": "cpu"}
    backbones = {"alignn": {"max_angles": 6000} | alignn}
    return parse(
        {"datasets": list(datasets), "extract": chosen | {"precision": precision, "backbones": backbones}}
    )


def run(asked: Params, root: Path) -> ExtractReport:
    """Extract by the one source model that is asked for."""
    (report,) = extract(asked, root)
    return report


def vectors_table(root: Path, source: str = SOURCE) -> Snapshot:
    return snapshot(StoreLayout(root).features(source))


def add(root: Path, dataset: str, structures: list[Structure]) -> None:
    """Write a dataset with an entry a structure, as `ingest` would."""
    ids = [s.structure_id for s in structures]
    unique = {s.structure_id: s for s in structures}
    rows = [
        {
            "structure_id": name,
            "formula": s.formula,
            "n_atoms": s.n_atoms,
            "volume": s.volume,
            "lattice": s.lattice.ravel().tolist(),
            "numbers": s.numbers.tolist(),
            "frac_coords": s.frac_coords.ravel().tolist(),
        }
        for name, s in unique.items()
    ]
    entries = [
        {"dataset": dataset, "entry_id": f"{dataset}-{i}", "structure_id": name, "position": i}
        for i, name in enumerate(ids)
    ]
    layout = StoreLayout(root)
    write(layout.structures(dataset), "structures", pa.Table.from_pylist(rows, SCHEMAS["structures"]))
    write(layout.entries(dataset), "entries", pa.Table.from_pylist(entries, SCHEMAS["entries"]))


@pytest.fixture
def store(tmp_path) -> Path:
    torch.set_num_threads(1)
    root = tmp_path / "store"
    add(root, "first", STRUCTURES[:5])
    add(root, "second", [*STRUCTURES[3:], STRUCTURES[3]])
    return root


def rows(root: Path, columns: str = "structure_id") -> list[tuple]:
    return featurestore.open(root).sql(f"SELECT {columns} FROM features ORDER BY structure_id").fetchall()


def ids(*structures: Structure) -> list[tuple[str]]:
    return sorted((s.structure_id,) for s in structures)


def test_vectors_in_the_store_are_the_engines(store):
    run(params("first"), store)
    direct = alignn_engine()(STRUCTURES[:5])
    opened = featurestore.open(store)
    order = [s.structure_id for s in STRUCTURES[:5]]
    for name in ("atom_0", "bond_8", "angle_4"):
        np.testing.assert_allclose(opened.vectors(order, name), direct.vectors[name], atol=1e-5)
    found = {name: row for name, *row in rows(store, "structure_id, prediction, n_bonds, n_distinct_angles")}
    for i, name in enumerate(order):
        counts = [direct.counts[kind][i] for kind in ("n_bonds", "n_distinct_angles")]
        assert found[name] == [pytest.approx(direct.prediction[i], abs=1e-5), *counts]


def test_provenance_is_in_the_store(store):
    run(params("first"), store)
    card = load_card(SOURCE)
    [row] = featurestore.open(store).extractions().to_pylist()
    assert (row["extraction_id"], row["source_model"], row["structures"]) == (extraction_id(card), SOURCE, 5)
    for fact in (card.weights_sha256, '"max_neighbours', '"pooling": "mean"', '"backend": "torch"'):
        assert fact in row["provenance"].replace("\\", "")


def test_a_second_dataset_adds_what_is_missing_and_shared_structures_run_once(store):
    first = run(params("first"), store)
    assert (first.extracted, first.entries, first.unique) == (5, 5, 5)
    before = vectors_table(store)
    second = run(params("first", "second"), store)
    assert (second.extracted, second.entries, second.unique) == (2, 10, 7)
    assert "2 structures extracted, 5 were there already" in str(second)
    assert "10 entries share 7 structures: 3 runs saved" in str(second)
    after = vectors_table(store)
    assert set(before.paths) < set(after.paths)
    assert rows(store) == ids(*STRUCTURES)


def test_a_second_run_does_nothing(store):
    run(params("first", "second"), store)
    version = vectors_table(store).version
    report = run(params("first", "second"), store)
    assert report.extracted == 0
    assert "0 structures extracted, 7 were there already" in str(report)
    assert vectors_table(store).version == version


def test_chunks_are_shards_and_do_not_change_the_vectors(store, tmp_path):
    run(params("first", chunk=2), store)
    assert sorted(shard.rows for shard in vectors_table(store).shards) == [1, 2, 2]
    other = tmp_path / "other"
    add(other, "first", STRUCTURES[:5])
    run(params("first", chunk=100, compression=False), other)
    names = [s.structure_id for s in STRUCTURES[:5]]
    vectors = [featurestore.open(root).vectors(names) for root in (store, other)]
    np.testing.assert_allclose(*vectors, atol=1e-4)
    assert rows(store, "extraction_id") == rows(other, "extraction_id")


KILLED = "from etl.extract import extract; from core.params import load; extract(load(), 'store')"


@pytest.mark.parametrize(
    # the first step of each kind is that of the row which says what the vectors are
    ("step", "kept"),
    [
        ("shard_partly_written:3", 2),
        pytest.param("entry_flushed:4", 4, marks=pytest.mark.slow),
        pytest.param("committed:2", 2, marks=pytest.mark.slow),
        ("committed:1", 0),
    ],
)
def test_killed_in_the_middle_it_continues(store, tmp_path, step, kept):
    settings = params("first", "second")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STRATA_FAILPOINT": step, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(rows(store)) == kept
    shards = vectors_table(store).paths
    report = run(settings, store)
    assert report.extracted == 7 - kept
    assert rows(store) == ids(*STRUCTURES)
    now = vectors_table(store)
    assert now.paths[: len(shards)] == shards
    assert sum(shard.rows for shard in now.shards) == 7
    maintenance.gc(store, 0)  # what the killed one left
    assert sorted(p.name for p in StoreLayout(store).features(SOURCE).glob("*")) == sorted(
        ["_log", *(p.name for p in now.paths)]
    )


def test_rejects_are_kept_with_their_reason_and_not_tried_again(store):
    add(store, "third", [STRUCTURES[0], GIANT])
    report = run(params("third"), store)
    assert (report.extracted, report.rejected) == (1, {"too_large": 1})
    assert "rejected, too_large: 1; strata sql" in str(report)
    found = featurestore.open(store).sql("SELECT id, code, message FROM rejects").fetchall()
    assert [(name, code) for name, code, _ in found] == [(GIANT.structure_id, "too_large")]
    assert "40 atoms make" in found[0][2]
    version = vectors_table(store).version
    again = run(params("third"), store)
    assert (again.extracted, again.rejected) == (0, {"too_large": 1})
    assert "0 structures extracted, 1 were there already" in str(again)
    assert vectors_table(store).version == version


def test_a_reject_in_a_later_task_of_a_chunk_is_the_right_one(store, monkeypatch):
    monkeypatch.setattr(stage, "TASK", 2)
    mixed = [*STRUCTURES[:3], GIANT, *STRUCTURES[3:]]
    add(store, "third", mixed)
    run(params("third", chunk=100), store)
    assert rows(store) == ids(*STRUCTURES)
    found = featurestore.open(store).sql("SELECT id FROM rejects").fetchall()
    assert found == [(GIANT.structure_id,)]
    direct = alignn_engine()(STRUCTURES, ["atom_8"])
    order = [s.structure_id for s in STRUCTURES]
    np.testing.assert_allclose(
        featurestore.open(store).vectors(order, "atom_8"), direct.vectors["atom_8"], atol=1e-5
    )


def test_a_chunk_of_rejects_only(store):
    add(store, "third", [GIANT])
    assert run(params("third"), store).rejected == {"too_large": 1}
    assert run(params("third"), store).extracted == 0
    assert rows(store) == []


def test_isolated_atoms_are_extracted(store):
    """Row 13, with the settings of the embedded source model: the nearest neighbours are its own images."""
    add(store, "third", [Structure(np.eye(3) * 20.0, [2], [[0, 0, 0]])])
    assert run(params("third"), store).extracted == 1
    assert np.isfinite(featurestore.open(store).vectors([r[0] for r in rows(store)])).all()


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Path:
    """A zoo of its own, with a copy of the embedded model, to which others may be added."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    (folder / f"{SOURCE}.yaml").write_bytes((hub.MODELS / f"{SOURCE}.yaml").read_bytes())
    (folder / f"{SOURCE}.safetensors").symlink_to(hub.WEIGHTS / f"{SOURCE}.safetensors")
    monkeypatch.setattr(hub, "MODELS", folder)
    monkeypatch.setattr(hub, "WEIGHTS", folder)
    return folder


def put_model(shelf: Path, name: str, graph: dict | None = None, state: dict | None = None) -> str:
    """Put a variant of the embedded model on the shelf; returns the hash of its weights."""
    card = yaml.safe_load((shelf / f"{SOURCE}.yaml").read_text())
    card |= {"name": name, "graph": card["graph"] | (graph or {})}
    if state is not None:
        path = shelf / f"{name}.safetensors"
        safetensors.torch.save_file(state, path)
        from core.atomic import sha256_file

        card |= {
            "weights": path.name,
            "file_sha256": sha256_file(path),
            "weights_sha256": weights_hash(state),
        }
    (shelf / f"{name}.yaml").write_text(yaml.safe_dump(card))
    return card["weights_sha256"]


def test_one_changed_weight_is_another_extraction(store, shelf):
    """Row 10: nothing is mixed, and both hashes are shown."""
    state = dict(load_source(SOURCE).state)
    state["fc.bias"] = state["fc.bias"] + 1
    digest = put_model(shelf, "shifted", state=state)
    assert digest != load_card(SOURCE).weights_sha256
    run(params("first"), store)
    report = run(params("first", source="shifted"), store)
    assert report.extracted == 5
    opened = featurestore.open(store)
    shown = str(opened.extractions().to_pydict())
    assert digest in shown
    assert load_card(SOURCE).weights_sha256 in shown
    assert opened.feature_set(source_model="shifted").extraction_id == report.extraction_id
    assert opened.feature_set(source_model=SOURCE).extraction_id == extraction_id(load_card(SOURCE))
    one, other = (
        opened.sql(f"SELECT prediction FROM features_{name} ORDER BY structure_id").df()
        for name in (SOURCE, "shifted")
    )
    np.testing.assert_allclose(one["prediction"] + 1, other["prediction"], atol=1e-5)


@pytest.mark.parametrize(
    "change", [{"cutoff": 6.0}, {"max_neighbours": 8}, {"shell_tolerance": 0.0}, {"max_bond": 6.0}]
)
def test_other_graph_settings_are_another_extraction(store, shelf, change):
    """Row 11."""
    put_model(shelf, "other", graph=change)
    first = run(params("first"), store)
    second = run(params("first", source="other"), store)
    assert first.extraction_id != second.extraction_id
    assert second.extracted == 5
    counted = "SELECT extraction_id, count(*) FROM stored_features GROUP BY ALL"
    found = dict(featurestore.open(store).sql(counted).fetchall())
    assert found == {first.extraction_id: 5, second.extraction_id: 5}


def test_graph_settings_that_change_keep_the_old_vectors_and_mean_the_new(store, shelf):
    """Two extractions of one source model lie in its table; the one asked for last is meant."""
    first = run(params("first"), store)
    put_model(shelf, SOURCE, graph={"max_neighbours": 8})
    second = run(params("first"), store)
    opened = featurestore.open(store)
    assert opened.sources[SOURCE].extraction_id == second.extraction_id
    assert {row["extraction_id"] for row in opened.extractions().to_pylist()} == {
        first.extraction_id,
        second.extraction_id,
    }
    names = [s.structure_id for s in STRUCTURES[:5]]
    old, new = (opened.vectors(names, extraction=one.extraction_id) for one in (first, second))
    assert not np.allclose(old, new)
    np.testing.assert_array_equal(opened.vectors(names), new)


def test_backend_and_compression_are_not_keyed_but_the_numeric_mode_is():
    card = load_card(SOURCE)
    other = params(chunk=7, compression=False, backend="dgl").extract
    assert provenance(card, other)["extraction_id"] == extraction_id(card)
    assert provenance(card, other)["backend"] == "dgl"
    assert provenance(card, params(precision="tf32").extract)["extraction_id"] != extraction_id(card)


def test_unknown_source_model_names_the_nearest(store):
    with pytest.raises(
        StrataError, match=r"unknown source model 'alignn_mp_form'; did you mean 'alignn_mp_eform'"
    ):
        run(params("first", source="alignn_mp_form"), store)


def test_unknown_dataset_names_the_nearest(store):
    with pytest.raises(StrataError, match=r"unknown dataset 'frist'.*did you mean 'first'"):
        run(params("frist"), store)


def test_elements_with_one_feature_row_are_reported_by_dataset(store):
    cell = np.eye(3) * 3.5
    oxides = [Structure(cell, [z, 8], [[0, 0, 0], [0.5, 0.5, 0.5]]) for z in (57, 58, 62, 64, 26)]
    add(store, "oxides", oxides)
    report = run(params("first", "oxides"), store)
    assert report.collisions == {"oxides": [("La", "Ce"), ("Sm", "Gd")]}
    assert "oxides: La = Ce, Sm = Gd share one feature row" in str(report)
    names = [o.structure_id for o in oxides]
    lanthanum, cerium, *_, iron = featurestore.open(store).vectors(names, "atom_8")
    np.testing.assert_array_equal(lanthanum, cerium)
    assert not np.allclose(lanthanum, iron)
