"""Splits that came with a dataset, read from the rows that ingest kept."""

import numpy as np
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
    (parts,) = split.drawn(["c", "4", "other", "b"], np.arange(4), 0)
    assert parts.tolist() == ["val", "test", "", "train"]
    with pytest.raises(StrataError, match="none of 1 entries lies in the published part val"):
        split.drawn(["a"], np.arange(1), 0)


def test_folds_are_tested_in_turn():
    split = published.Split({"a": "0", "b": "1", "c": "10", "d": "0"}, "hash")
    folds = split.drawn(["a", "b", "c", "d", "other"], np.arange(5), 0)
    assert [parts.tolist() for parts in folds] == [
        ["test", "val", "train", "test", ""],
        ["train", "test", "val", "train", ""],
        ["val", "train", "test", "val", ""],
    ]
    with pytest.raises(StrataError, match="none of 2 entries lies in fold 10"):
        split.drawn(["a", "b"], np.arange(2), 0)


def test_a_validation_part_is_drawn_where_the_split_has_none():
    part_of = {str(i): "test" if i < 3 else "train" for i in range(30)}
    split, groups = published.Split(part_of, "hash"), np.arange(30) // 2
    (parts,) = split.drawn(list(part_of), groups, 0)
    assert (parts == "test").tolist() == [i < 3 for i in range(30)]
    assert 1 <= (parts == "val").sum() <= 3
    within = {part: set(groups[parts == part]) for part in ("train", "val")}
    assert not within["train"] & within["val"]  # entries of one structure stay together
    assert parts.tolist() == split.drawn(list(part_of), groups, 0)[0].tolist()
    assert parts.tolist() != split.drawn(list(part_of), groups, 1)[0].tolist()
    with pytest.raises(StrataError, match="leaves nothing for a validation part"):
        published.Split({"a": "train", "b": "test"}, "hash").drawn(["a", "b"], np.arange(2), 0)
