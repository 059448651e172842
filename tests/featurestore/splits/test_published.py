"""Splits that came with a dataset, read from the rows that ingest kept."""

import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from featurestore.splits import published
from featurestore.tables.layout import StoreLayout
from featurestore.tables.schema import PUBLISHED
from featurestore.tables.writer import TableWriter


def keep(root, property_name, part_of):
    rows = [
        {"dataset": "alpha", "property": property_name, "entry_id": entry, "part": part}
        for entry, part in part_of.items()
    ]
    with TableWriter(StoreLayout(root).table("published", "alpha"), PUBLISHED, "test") as writer:
        facts = {"property": property_name, "file_sha256": f"hash of {property_name}"}
        writer.commit(property_name, pa.Table.from_pylist(rows, PUBLISHED), provenance=facts)


def test_each_property_has_its_own_rows_and_its_own_file(tmp_path):
    keep(tmp_path, "gap", {"a": "test"})
    keep(tmp_path, "energy", {"a": "train", "b": "val"})
    store = featurestore.open(tmp_path)
    assert published.find(store, "alpha", "gap") == published.Split({"a": "test"}, "hash of gap")
    found = published.find(store, "alpha", "energy")
    assert found == published.Split({"a": "train", "b": "val"}, "hash of energy")
    assert published.find(store, "alpha", "hardness") is None


def test_parts_by_entry():
    split = published.Split({"a": "train", "b": "train", "c": "val", "4": "test"}, "hash")
    assert split.parts(["c", "4", "other", "b"]).tolist() == ["val", "test", "", "train"]
    with pytest.raises(StrataError, match="none of 1 entries lies in the published part val"):
        split.parts(["a"])
