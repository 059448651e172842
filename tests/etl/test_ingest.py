import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from core import download, source
from core.atomic import sha256_file
from core.errors import StrataError
from core.params import Params
from core.structure import InvalidStructure, Structure
from etl import cards
from etl.ingest import ingest
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot

CARD = {
    "name": "mine",
    "title": "My data",
    "note": "Mine.",
    "provider": "jarvis",
    "source": {"file": "mine.json.zip", "url": "https://example.org/mine", "unverified": True},
    "id_column": "id",
    "structure": {"column": "atoms", "format": "jarvis"},
    "material_class": "3D",
    "expected_rows": 3,
    "null_tokens": ["na"],
    "properties": {
        "band_gap": {"column": "gap", "unit": "eV", "description": "gap", "origin": "measured"},
        "bulk_modulus": {"column": "K", "unit": "GPa", "description": "modulus", "origin": "computed"},
    },
    "licence": "CC0-1.0",
    "citation": "me",
}


def atoms(edge=4.0, **changes):
    cell = (edge * np.eye(3)).tolist()
    return {"lattice_mat": cell, "coords": [[0, 0, 0], [0.5, 0.5, 0.5]], "elements": ["Na", "Cl"]} | changes


def row(entry_id, edge=4.0, gap=1.0, modulus=2.0, **changes):
    return {"id": entry_id, "atoms": atoms(edge, **changes), "gap": gap, "K": modulus}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A raw folder, a folder of cards and an empty store."""
    for name in ("raw", "cards"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv(source.RAW_VARIABLE, str(tmp_path / "raw"))
    monkeypatch.setenv(cards.CARDS_VARIABLE, str(tmp_path / "cards"))
    monkeypatch.setenv(download.OFFLINE_VARIABLE, "1")
    (tmp_path / "cards" / "mine.yaml").write_text(yaml.safe_dump(CARD))
    return tmp_path


def publish(world, rows):
    with zipfile.ZipFile(world / "raw" / "mine.json.zip", "w") as archive:
        # A ZipInfo of no date: the same rows are the same bytes, whenever they are published.
        archive.writestr(zipfile.ZipInfo("mine.json"), json.dumps(rows))


def change(world, **changes):
    card = {key: value for key, value in (CARD | changes).items() if value is not None}
    (world / "cards" / "mine.yaml").write_text(yaml.safe_dump(card))


def run(world, rows, **settings):
    publish(world, rows)
    return ingest("mine", Params.model_validate({"ingest": settings}), world / "store")


def rows_of(world, kind, dataset="mine"):
    live = snapshot(StoreLayout(world / "store").table(kind, dataset))
    return [line for path in live.paths for line in pq.read_table(path).to_pylist()]


def test_three_tables(world):
    report = run(world, [row("a", gap=1.5), row("b", edge=5.0, gap="na"), row("c", edge=4.0, modulus=None)])
    assert (report.entries, report.structures, report.duplicates) == (3, 2, 0)
    first = Structure.from_jarvis(atoms()).structure_id
    entries = rows_of(world, "entries")
    assert [entry["entry_id"] for entry in entries] == ["a", "b", "c"]
    assert [entry["position"] for entry in entries] == [0, 1, 2]
    assert [entry["structure_id"] == first for entry in entries] == [True, False, True]
    targets = rows_of(world, "targets")
    found = {(t["entry_id"], t["property"]): (t["value"], t["unit"]) for t in targets}
    assert found == {
        ("a", "band_gap"): (1.5, "eV"),
        ("a", "bulk_modulus"): (2.0, "GPa"),
        ("b", "bulk_modulus"): (2.0, "GPa"),
        ("c", "band_gap"): (1.0, "eV"),
    }
    stored = rows_of(world, "structures")
    assert [(s["formula"], s["n_atoms"], round(s["volume"], 6)) for s in stored] == [
        ("ClNa", 2, 64.0),
        ("ClNa", 2, 125.0),
    ]
    assert stored[0]["lattice"] == [4.0, 0, 0, 0, 4.0, 0, 0, 0, 4.0]
    assert stored[0]["numbers"] == [11, 17]
    assert stored[0]["frac_coords"] == [0, 0, 0, 0.5, 0.5, 0.5]


def test_what_the_card_says_is_kept_and_replaced_when_it_changes(world):
    run(world, [row("a")])
    [said] = rows_of(world, "datasets")
    assert (said["title"], said["licence"], said["doi"]) == ("My data", "CC0-1.0", None)
    assert said["properties"][0] == {
        "name": "band_gap",
        "unit": "eV",
        "description": "gap",
        "origin": "measured",
        "paper_name": None,
    }
    change(world, expected_rows=4)  # which the table does not keep
    run(world, [row("a")])
    assert snapshot(StoreLayout(world / "store").table("datasets", "mine")).version == 1
    change(world, title="Another title")
    run(world, [row("a")])
    assert [item["title"] for item in rows_of(world, "datasets")] == ["Another title"]


def test_chunks_hold_the_same_rows(world):
    rows = [row(f"e{i}", edge=4 + (i % 4) / 10) for i in range(10)]
    run(world, rows, chunk=3)
    assert len(snapshot(StoreLayout(world / "store").entries("mine")).shards) == 4
    assert [entry["position"] for entry in rows_of(world, "entries")] == list(range(10))
    assert len(rows_of(world, "structures")) == 4
    assert len(rows_of(world, "targets")) == 20


def test_a_second_run_writes_nothing(world):
    rows = [row("a"), row("b", edge=5.0)]
    run(world, rows)
    before = {path: path.stat().st_mtime_ns for path in (world / "store").rglob("*.*")}
    run(world, rows)
    after = {path: path.stat().st_mtime_ns for path in (world / "store").rglob("*.*")}
    assert {p: t for p, t in after.items() if "lock" not in p.name} == {
        p: t for p, t in before.items() if "lock" not in p.name
    }


def test_what_is_no_longer_in_the_data_is_dropped(world):
    run(world, [row(name, edge=4 + i / 10) for i, name in enumerate("abcd")], chunk=2)
    run(world, [row(name, edge=4 + i / 10) for i, name in enumerate("abxy")], chunk=2)
    assert [entry["entry_id"] for entry in rows_of(world, "entries")] == ["a", "b", "x", "y"]
    run(world, [row("a")], chunk=2)
    assert len(rows_of(world, "entries")) == len(rows_of(world, "structures")) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"coords": [], "elements": []}, "empty"),
        ({"coords": [[0, 0, 0], [None, 0, 0]]}, "not_finite"),
        ({"coords": [[0, 0, 0], [float("nan"), 0, 0]]}, "not_finite"),
        ({"lattice_mat": [[1, 0, 0], [0, 1, 0], [1, 1, 0]]}, "zero_volume"),
        ({"lattice_mat": (500 * np.eye(3)).tolist()}, "volume_per_atom"),
        ({"coords": [[0, 0, 0], [1, 0, 0]]}, "min_dist"),
        ({"elements": ["Na", "D"]}, "no_features"),
        ({"elements": ["Na", "No"]}, "no_features"),
        ({"coords": "nonsense"}, "unreadable"),
    ],
)
def test_structures_that_cannot_be_used_are_rejects_and_the_run_goes_on(world, changes, code):
    report = run(world, [row("a"), row("bad", **changes), row("c", edge=5.0)])
    assert report.rejects == {code: 1}
    [reject] = snapshot(StoreLayout(world / "store").entries("mine")).rejects
    assert (reject.entry_id, reject.code) == ("bad", code)
    assert reject.message
    assert [entry["entry_id"] for entry in rows_of(world, "entries")] == ["a", "c"]
    assert {target["entry_id"] for target in rows_of(world, "targets")} == {"a", "c"}


def test_one_id_with_two_structures_is_an_error_with_both_hashes(world):
    hashes = [Structure.from_jarvis(atoms(edge)).structure_id for edge in (4.0, 5.0)]
    with pytest.raises(InvalidStructure, match=f"record 1.*'a'.*{hashes[0]}.*{hashes[1]}") as caught:
        run(world, [row("a"), row("a", edge=5.0)])
    assert caught.value.code == "duplicate_conflict"
    assert rows_of(world, "entries") == []


def test_one_id_with_two_values_is_an_error(world):
    with pytest.raises(InvalidStructure, match=r"record 1.*'a'.*1\.0.*3\.0"):
        run(world, [row("a", gap=1.0), row("a", gap=3.0)])


def test_the_same_record_twice_is_one_entry_and_counted(world):
    report = run(world, [row("a"), row("a"), row("b", elements=["D", "Na"]), row("b", elements=["D", "Na"])])
    assert (report.entries, report.duplicates, dict(report.rejects)) == (1, 2, {"no_features": 1})
    assert len(rows_of(world, "entries")) == 1
    assert len(rows_of(world, "targets")) == 2


def test_missing_and_non_finite_targets_are_dropped_for_that_property_and_counted(world):
    values = [1.0, None, float("nan"), float("inf"), "na", -2]
    report = run(world, [row(f"e{i}", edge=4 + i / 10, gap=value) for i, value in enumerate(values)])
    assert report.values["band_gap"] == {"kept": 2, "missing": 2, "not finite": 2}
    assert report.values["bulk_modulus"] == {"kept": 6}
    gaps = [t["value"] for t in rows_of(world, "targets") if t["property"] == "band_gap"]
    assert gaps == [1.0, -2.0]


@pytest.mark.parametrize("value", ["NA", "x1", "", "1.5", True, [1.0], {"a": 1}])
def test_any_other_word_is_an_error_with_its_place(world, value):
    with pytest.raises(StrataError) as caught:
        run(world, [row("a"), row("b", edge=5.0, gap=value)])
    for part in ("dataset mine", "mine.json.zip", "record 1 (b)", "column 'gap'", repr(value), "'na'"):
        assert part in str(caught.value)
    assert rows_of(world, "entries") == []


def test_numbers_written_as_text_where_the_card_says_so(world):
    change(world, text_numbers=True)
    report = run(world, [row("a", gap="1.5"), row("b", edge=5.0, gap="na"), row("c", edge=6.0, gap="inf")])
    assert report.values["band_gap"] == {"kept": 1, "missing": 1, "not finite": 1}
    assert {t["value"] for t in rows_of(world, "targets") if t["property"] == "band_gap"} == {1.5}
    with pytest.raises(StrataError, match="'x1' is neither a number"):
        run(world, [row("a", gap="x1")])


def test_a_formula_that_meets_another_shape_names_the_place(world):
    properties = {"c12": CARD["properties"]["band_gap"] | {"formula": "component(value, 1, 2)"}}
    change(world, properties=properties)
    report = run(world, [row("a", gap=[[1, 2], [3, 4]]), row("b", edge=5.0, gap="na")])
    assert report.values["c12"] == {"kept": 1, "missing": 1}
    assert [t["value"] for t in rows_of(world, "targets")] == [2.0]
    with pytest.raises(
        StrataError, match=r"mine\.json\.zip, record 0 \(a\), column 'gap': .*no component 1, 2"
    ):
        run(world, [row("a", gap=[[1], [3]])])


def test_an_optional_column_that_the_file_lacks_is_told_and_no_error(world):
    optional = CARD["properties"]["bulk_modulus"] | {"optional": True}
    change(world, properties=CARD["properties"] | {"bulk_modulus": optional})
    report = run(world, [{key: value for key, value in row("a").items() if key != "K"}])
    assert report.absent == ["bulk_modulus"]
    assert report.counts() == {"band_gap": {"kept": 1}}
    [shard] = snapshot(StoreLayout(world / "store").entries("mine")).shards
    assert json.loads(shard.provenance["counts"]) == {"band_gap": {"kept": 1}}


def test_versions_are_chosen_in_params_and_overruled_by_the_call(world):
    versions = {key: {"file": f"{key}.json.zip", "url": "https://example.org"} for key in ("v1", "v2")}
    for item in versions.values():
        item["unverified"] = True
    change(world, version="v1", versions=versions, source=None)
    publish(world, [row("a")])
    (world / "raw" / "mine.json.zip").rename(world / "raw" / "v2.json.zip")
    with pytest.raises(StrataError, match=r"v1\.json\.zip is in none of"):
        ingest("mine", Params(), world / "store", version="v1")
    chosen = Params.model_validate({"ingest": {"versions": {"mine": "v2"}}})
    assert ingest("mine", chosen, world / "store").entries == 1
    [shard] = snapshot(StoreLayout(world / "store").entries("mine")).shards
    assert (shard.provenance["version"], shard.provenance["file"]) == ("v2", "v2.json.zip")
    assert ingest("mine", Params(), world / "store", version="v2").entries == 1
    # another dataset's version changes nothing here: the shards are those of before
    other = Params.model_validate({"ingest": {"versions": {"mine": "v2", "jarvis_3d": "dft_3d_2022"}}})
    ingest("mine", other, world / "store")
    assert snapshot(StoreLayout(world / "store").entries("mine")).shards == (shard,)


def test_a_column_of_the_card_that_the_file_does_not_have(world):
    rows = [{key: value for key, value in row("a").items() if key != "K"} | {"k": 1.0}]
    with pytest.raises(StrataError, match="unknown column 'K'"):
        run(world, rows)


def test_no_records(world):
    with pytest.raises(StrataError, match="no records"):
        run(world, [])


def test_missing_raw_file(world):
    with pytest.raises(StrataError, match=r"https://example\.org/mine"):
        ingest("mine", Params(), world / "store")


def test_unknown_dataset_makes_no_store(world):
    with pytest.raises(StrataError, match="did you mean 'mine'"):
        ingest("mines", Params(), world / "store")
    assert not (world / "store").exists()


def test_provenance_names_the_file_but_no_path(world):
    run(world, [row("a")])
    [shard] = snapshot(StoreLayout(world / "store").entries("mine")).shards
    assert shard.provenance["file_sha256"] == sha256_file(world / "raw" / "mine.json.zip")
    assert shard.provenance["vouched_for_by"] == "nothing"
    assert str(world) not in json.dumps(dict(shard.provenance))


@pytest.mark.parametrize("step", ["shard_renamed", "entry_flushed", "committed"])
def test_killed_in_the_middle_it_is_whole_after_the_next_run(world, step):
    rows = [row(f"e{i}", edge=4 + i / 10) for i in range(4)]
    publish(world, rows)
    code = "from etl.ingest import ingest; from core.params import Params; ingest('mine', Params(), 'store')"
    settings = {"STRATA_FAILPOINT": step, "PYTHONPATH": str(Path(cards.__file__).parents[1])}
    killed = subprocess.run([sys.executable, "-c", code], cwd=world, env=os.environ | settings, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert rows_of(world, "entries") == []
    run(world, rows)
    assert [len(rows_of(world, kind)) for kind in ("entries", "structures", "targets")] == [4, 4, 8]


def test_the_report_fits_one_screen(world):
    from rich.console import Console

    report = run(world, [row("a"), row("b", elements=["D", "Na"]), row("c", edge=5.0, gap="na")])
    console = Console(width=100)
    with console.capture() as captured:
        console.print(report)
    text = captured.get()
    assert "mine: 2 entries, 2 unique structures, 1 rejects" in text
    assert "rejected as no_features: 1" in text
    assert len(text.splitlines()) < 24


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nb", "a\x00", "a\x7f", "a\u2028b"])
def test_an_id_with_a_character_that_cannot_be_shown_is_named(world, name):
    with pytest.raises(
        StrataError, match=r"record 1: the id 'a.*' has a character that cannot be shown"
    ) as told:
        run(world, [row("fine"), row(name, edge=5.0)])
    assert name not in str(told.value)
    assert rows_of(world, "entries") == []


def test_killed_between_two_tables_the_dataset_is_as_it_was(world):
    run(world, [row("a")])
    publish(world, [row(f"e{i}", edge=4 + i / 10) for i in range(4)])
    code = "from etl.ingest import ingest; from core.params import Params; ingest('mine', Params(), 'store')"
    settings = {"PYTHONPATH": str(Path(cards.__file__).parents[1]), "STRATA_FAILPOINT": "member_committed:2"}
    killed = subprocess.run([sys.executable, "-c", code], cwd=world, env=os.environ | settings, check=False)
    assert killed.returncode == -signal.SIGKILL
    counts = [len(rows_of(world, kind)) for kind in ("entries", "structures", "targets")]
    assert counts == [1, 1, 2]
    run(world, [row(f"e{i}", edge=4 + i / 10) for i in range(4)])
    assert [len(rows_of(world, kind)) for kind in ("entries", "structures", "targets")] == [4, 4, 8]


def test_two_at_once_of_one_dataset_the_second_is_told(world):
    from featurestore.tables.schema import ENTRIES
    from featurestore.tables.writer import TableWriter

    folder = StoreLayout(world / "store").entries("mine")
    with (
        TableWriter(folder, ENTRIES, "ingest", alone=True),
        pytest.raises(StrataError, match=r"entries/mine is being written by process \d+ .*ingest"),
    ):
        run(world, [row("a")])
