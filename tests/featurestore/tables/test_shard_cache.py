"""Copies of shards on this machine: checked, bounded, and made anew when they are lost."""

import os
import time

import pytest

import featurestore
from core.errors import StrataError
from featurestore.tables.address import folder_of_all, located
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from featurestore.tables.places import readable
from featurestore.tables.ranges import Ranges
from featurestore.tables.schema import ENTRIES
from featurestore.tables.vectors import read_columns
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import ROWS, chunk
from tests.stores import SOURCE, add_dataset, add_features, vectors_of

ADDRESS = "s3://vectors/store"


@pytest.fixture
def folder(bucket):
    folder = located(f"{ADDRESS}/entries/x")
    with TableWriter(folder, ENTRIES, "test") as writer:
        for number in range(3):
            writer.commit(str(number), chunk(number))
    for path in folder_of_all().rglob("*.parquet"):
        path.unlink()
    return folder


def gets(bucket):
    return sum(".parquet" in path for method, path, _ in bucket.requests if method == "GET")


def test_a_small_shard_is_fetched_once(bucket, folder):
    path = snapshot(folder).paths[0]
    before = gets(bucket)
    for _ in range(3):
        assert read_columns(path, ENTRIES.names).num_rows == ROWS
    assert gets(bucket) == before + 1
    assert readable(path) == path
    assert path.is_file()


def test_a_copy_that_was_changed_is_fetched_again(bucket, folder):
    path = snapshot(folder).paths[0]
    read_columns(path, ENTRIES.names)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert read_columns(path, ENTRIES.names).num_rows == ROWS
    path.write_bytes(content[:100])
    assert read_columns(path, ENTRIES.names).num_rows == ROWS


def test_bytes_that_are_not_what_their_name_says_are_not_kept(bucket, folder):
    path = snapshot(folder).paths[0]
    held = next(one for key, one in bucket.objects.items() if key.endswith(path.name))
    held.content = held.content[:50] + b"?" + held.content[51:]
    with pytest.raises(StrataError, match=r"its name is its hash"):
        read_columns(path, ENTRIES.names)
    assert list(path.parent.glob("*.parquet")) == list(path.parent.glob(".tmp-*")) == []


def test_what_was_used_longest_ago_makes_room(bucket, folder, monkeypatch):
    paths = snapshot(folder).paths
    size = snapshot(folder).shards[0].bytes
    monkeypatch.setenv("STRATA_BUCKET_CACHE", str(2 * size + size // 2))
    for age, path in enumerate(paths):
        readable(path)
        os.utime(path, (time.time() - 100 + age,) * 2)
    assert [path.is_file() for path in paths] == [False, True, True]
    assert read_columns(paths[0], ENTRIES.names).num_rows == ROWS


def test_a_bound_that_is_no_number_is_refused(bucket, monkeypatch):
    monkeypatch.setenv("STRATA_BUCKET_CACHE", "20 GB")
    with pytest.raises(StrataError, match="STRATA_BUCKET_CACHE is '20 GB'"):
        readable(located(f"{ADDRESS}/entries/x/a"))


def test_of_a_large_shard_only_what_is_asked_for_is_read(bucket, monkeypatch):
    root = located(ADDRESS)
    numbers = list(range(400))
    add_dataset(root, "large", numbers)
    add_features(root, numbers, chunk=400)
    for path in folder_of_all().rglob("*.parquet"):
        path.unlink()
    monkeypatch.setenv("STRATA_BUCKET_WHOLE", "100000")
    (path,) = snapshot(StoreLayout(root).features(SOURCE)).paths
    assert isinstance(readable(path), Ranges)
    bucket.requests.clear()
    with featurestore.open(ADDRESS) as store:
        assert store.sql("SELECT count(DISTINCT structure_id) FROM features").fetchall() == [(400,)]
        data = store.matrix("large", "energy", "atom_8")
        assert ([vectors_of(number)["atom_8"] for number in numbers] == data.X).all()
    read = sum(size for _, name, size in bucket.requests if path.name in name)
    assert 0 < read < 0.2 * len(bucket.objects[f"vectors/store/features/{SOURCE}/{path.name}"].content)
    assert not path.exists()
