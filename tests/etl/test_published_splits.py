import hashlib
import json
import os

import pyarrow.parquet as pq
import pytest

from core import source
from core.errors import StrataError
from etl import published_splits as published
from etl.cards import load_card
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from featurestore.tables.schema import PUBLISHED
from featurestore.tables.writer import TableWriter

KEYS = published.File("", "").keys
IDS = {"id_train": ["a", "b"], "id_val": ["c"], "id_test": [4]}
FILE = published.FILES["megnet", "formation_energy"].name


def read(tmp_path, content):
    path = tmp_path / "ids.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return published.read(path, KEYS)


def test_parts_by_entry(tmp_path):
    assert read(tmp_path, IDS) == {"a": "train", "b": "train", "c": "val", "4": "test"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "expected lists of ids under id_train, id_val, id_test"),
        ({"id_train": ["a"], "id_val": ["b"]}, "id_test"),
        ({"id_train": ["a"], "id_val": ["b"], "id_test": ["a"]}, "a lies in train and in test"),
    ],
)
def test_what_is_no_split_is_named(tmp_path, content, says):
    with pytest.raises(StrataError, match=says):
        read(tmp_path, content)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of raw files, and an empty cache."""
    monkeypatch.setenv(source.RAW_VARIABLE, str(tmp_path))
    monkeypatch.setenv(source.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path


def put(folder, ids):
    content = json.dumps(ids).encode()
    (folder / FILE).write_bytes(content)
    (folder / source.LOCK).write_text(f"{hashlib.sha256(content).hexdigest()}  {FILE}\n")


def keep(folder, dataset="megnet"):
    with TableWriter(
        StoreLayout(folder / "store").table("published", dataset), PUBLISHED, "ingest"
    ) as writer:
        return published.keep(load_card(dataset), writer)


def kept(folder, dataset="megnet"):
    live = snapshot(StoreLayout(folder / "store").table("published", dataset))
    return live.version, [row for path in live.paths for row in pq.read_table(path).to_pylist()]


def test_the_rows_of_a_file_at_hand_are_kept_once(folder):
    put(folder, IDS)
    assert keep(folder) == []
    version, rows = kept(folder)
    row = {"dataset": "megnet", "property": "formation_energy"}
    assert rows[2:] == [row | {"entry_id": "c", "part": "val"}, row | {"entry_id": "4", "part": "test"}]
    keep(folder)
    assert kept(folder) == (version, rows)
    put(folder, IDS | {"id_val": ["d"]})
    keep(folder)
    assert {row["entry_id"] for row in kept(folder)[1]} == {"a", "b", "d", "4"}


def test_a_file_that_is_not_at_hand_is_told_and_what_was_kept_stays(folder):
    [told] = keep(folder)
    assert FILE in told
    assert "ingest again" in told
    assert kept(folder) == (1, [])  # the table is there, for DVC
    put(folder, IDS)
    keep(folder)
    before = kept(folder)
    assert len(before[1]) == 4
    (folder / FILE).unlink()
    assert len(keep(folder)) == 1
    assert kept(folder) == before


def test_a_file_of_another_hash_is_refused(folder):
    put(folder, IDS)
    (folder / FILE).write_text("{}")
    with pytest.raises(StrataError, match=r"its SHA-256 is .* expects"):
        keep(folder)


def test_a_dataset_without_a_published_split_gets_an_empty_table(folder):
    assert keep(folder, "ase_elements") == []
    assert kept(folder, "ase_elements") == (1, [])


@pytest.mark.skipif("STRATA_RAW" not in os.environ, reason="STRATA_RAW names no folder of raw files")
def test_the_published_split_of_megnet(tmp_path):
    assert keep(tmp_path) == []
    parts = [row["part"] for row in kept(tmp_path)[1]]
    assert {part: parts.count(part) for part in ("train", "val", "test")} == {
        "train": 31_623,
        "val": 2_615,
        "test": 2_238,
    }
