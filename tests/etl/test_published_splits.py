import json
import os

import pytest

from core.errors import StrataError
from etl import published_splits as published

KEYS = published.File("", "").keys


def read(tmp_path, content):
    path = tmp_path / "ids.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return published.read(path, "hash", KEYS)


def test_parts_by_entry(tmp_path):
    split = read(tmp_path, {"id_train": ["a", "b"], "id_val": ["c"], "id_test": [4]})
    assert split.parts(["c", "4", "other", "b"]).tolist() == ["val", "test", "", "train"]
    with pytest.raises(StrataError, match="none of 1 entries lies in the published part val"):
        split.parts(["a"])


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


def test_a_property_without_one():
    assert published.find("megnet", "band_gap") is None
    published.need("megnet", ["band_gap", "formation_energy"])


@pytest.mark.skipif("STRATA_RAW" not in os.environ, reason="STRATA_RAW names no folder of raw files")
def test_the_published_split_of_megnet():
    split = published.find("megnet", "formation_energy")
    counts = {part: list(split.part_of.values()).count(part) for part in ("train", "val", "test")}
    assert counts == {"train": 31_623, "val": 2_615, "test": 2_238}
