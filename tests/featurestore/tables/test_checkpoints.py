import json

import pytest

import featurestore
from core.errors import StrataError
from featurestore.tables import log, maintenance
from featurestore.tables.checkpoints import EVERY, checkpoint_path, read_checkpoint
from featurestore.tables.entries import sealed
from featurestore.tables.log import LOG, Entry, entry_path, history, read, replay, snapshot
from featurestore.tables.schema import ENTRIES
from featurestore.tables.shards import MOST_SMALL
from featurestore.tables.storage import Local
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import chunk

COMMITS = 2 * EVERY + 20


@pytest.fixture(scope="module")
def long_table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long") / "store" / "entries" / "x"
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        for number in range(COMMITS):
            writer.commit(str(number), chunk(number).slice(0, 3))
    return folder


@pytest.fixture
def folder(long_table, tmp_path):
    import shutil

    return shutil.copytree(long_table.parents[1], tmp_path / "store") / "entries" / "x"


def found_in(folder):
    return sorted(path for path in (folder / LOG).iterdir() if "checkpoint" in path.name)


def test_opening_reads_the_newest_checkpoint_and_what_came_after(folder, monkeypatch):
    opened = []
    decode = log.decode
    monkeypatch.setattr(log, "decode", lambda path, *rest: opened.append(path) or decode(path, *rest))
    found = snapshot(folder)
    assert set(found.by_key) == {str(number) for number in range(COMMITS)}
    assert 0 < len(opened) < EVERY
    assert found == replay(folder, history(folder))


def test_many_small_shards_are_joined_at_commit(folder):
    found = snapshot(folder)
    assert len(found.shards) <= MOST_SMALL + 2
    assert found.rows == 3 * COMMITS
    assert not maintenance.verify(folder.parents[1]).damages
    assert len(
        featurestore.open(folder.parents[1]).sql("SELECT DISTINCT entry_id FROM entries").fetchall()
    ) == (3 * COMMITS)


def test_only_the_last_two_are_kept(folder):
    assert len(found_in(folder)) == 2


@pytest.mark.parametrize("damage", [b"", b"{", None])
def test_without_a_sound_checkpoint_the_entries_say_the_same(folder, damage):
    before = snapshot(folder)
    for path in found_in(folder):
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
    assert snapshot(folder) == before
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("more", chunk(999))
    assert set(snapshot(folder).by_key) == {*before.by_key, "more"}


def test_every_flipped_bit_of_a_checkpoint_is_noticed(folder):
    before = snapshot(folder)
    path = found_in(folder)[-1]
    whole = path.read_bytes()
    for offset in range(0, len(whole), len(whole) // 50):
        flipped = bytearray(whole)
        flipped[offset] ^= 4
        path.write_bytes(flipped)
        assert snapshot(folder) == before


def test_a_checkpoint_that_says_something_else_is_found_by_verify(folder):
    path = found_in(folder)[-1]
    body = json.loads(path.read_bytes())["checkpoint"]
    body["shards"] = body["shards"][1:]
    path.write_bytes(sealed("checkpoint", body))
    with pytest.raises(StrataError, match=r"checkpoint\.json does not say what the entries say"):
        maintenance.verify(folder.parents[1])


def test_a_log_whose_end_is_lost_is_noticed(folder):
    number = read(folder).base.version
    for path in sorted((folder / LOG).glob("????????.json"))[number - 1 :]:
        path.unlink()
    with pytest.raises(StrataError, match=r"is missing, yet there is a checkpoint of entry"):
        snapshot(folder)


def test_a_checkpoint_of_a_newer_format_is_named(folder):
    path = found_in(folder)[-1]
    body = json.loads(path.read_bytes())["checkpoint"] | {"format": 3}
    path.write_bytes(sealed("checkpoint", body))
    with pytest.raises(StrataError, match="update strata"):
        snapshot(folder)


def test_ten_thousand_commits_are_opened_by_reading_few(tmp_path, monkeypatch):
    """What takes time is the number of files that are read."""
    folder = tmp_path / "store" / "entries" / "x"
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("a", chunk(0))
    for number in range(2, 10_000):
        entry_path(folder, number).write_bytes(log.encode(Entry(number, "x", log.now(), seen=number)))
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("b", chunk(1))
    assert read_checkpoint(folder / LOG, 10_000).version == 10_000
    assert checkpoint_path(folder / LOG, 10_000).exists()
    opened = []
    monkeypatch.setattr(Local, "read", lambda self, path: opened.append(path) or path.read_bytes())
    assert featurestore.open(folder.parents[1]).version == 10_000
    assert len(opened) < 10
