"""Any number of writers of one table, and clean-up beside them."""

import os
import random
import threading
import time

import pyarrow as pa
import pytest

from core.errors import StrataError
from featurestore.tables import maintenance
from featurestore.tables.log import history, snapshot
from featurestore.tables.schema import ENTRIES
from featurestore.tables.storage import Local
from featurestore.tables.vectors import read_columns
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import ROWS, chunk

# Commits the chunks of its own and those that all writers share.
WRITER = """
import sys
from pathlib import Path
from featurestore.tables.schema import ENTRIES
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import chunk
with TableWriter(Path(sys.argv[1]), ENTRIES, "test") as writer:
    for number in map(int, sys.argv[2:]):
        writer.commit(str(number), chunk(number))
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store" / "entries" / "x"


def test_two_writers_of_one_table_both_succeed(folder, assert_sound):
    with TableWriter(folder, ENTRIES, "one") as one, TableWriter(folder, ENTRIES, "two") as two:
        assert one.commit("a", chunk(0))
        assert two.commit("b", chunk(1))
        assert not one.commit("b", chunk(1))  # two's, seen when the number was taken
        assert two.commit("c", chunk(2))
        one.retain(["b", "c"])
        assert set(one.committed) == {"b", "c"}
    assert set(assert_sound(folder).by_key) == {"b", "c"}
    assert len(history(folder)) == 4


def test_a_joined_shard_does_not_bring_back_what_was_dropped_meanwhile(folder):
    with TableWriter(folder, ENTRIES, "one") as one:
        for number in range(4):
            one.commit(str(number), chunk(number))
        with TableWriter(folder, ENTRIES, "two") as two:
            two.retain(["0", "3"])
        one.join(10 * ROWS)
    assert set(snapshot(folder).by_key) == {"0", "3"}
    assert snapshot(folder).rows == 2 * ROWS


ONCE = ("entry_id", "extraction_id")


def part(numbers):
    """Entries of these numbers."""
    rows = [{"dataset": "x", "entry_id": str(n), "structure_id": str(n), "position": n} for n in numbers]
    return pa.Table.from_pylist(rows, ENTRIES)


def names(folder):
    """The ids of all rows and rejects, with the extraction that their shard is of."""
    rows = []
    for shard in snapshot(folder).shards:
        ids = read_columns(folder / shard.path, ["entry_id"])["entry_id"].to_pylist()
        ids += [f"reject {reject.entry_id}" for reject in shard.rejects]
        rows += [(shard.provenance["extraction_id"], name) for name in ids]
    return sorted(rows)


def test_what_another_writer_added_under_another_key_is_left_out(folder):
    a, b = {"extraction_id": "a"}, {"extraction_id": "b"}
    with (
        TableWriter(folder, ENTRIES, "one", once=ONCE) as one,
        TableWriter(folder, ENTRIES, "two", once=ONCE) as two,
    ):
        assert one.commit("k1", part([1, 2, 3]), [("8", "large", "")], a)
        assert two.commit("k2", part([3, 4]), [("8", "large", ""), ("9", "large", "")], a)
        assert two.commit("k3", part([1, 2]), provenance=b)  # of another extraction: nothing in common
        assert not two.commit("k4", part([1, 2]), provenance=a)
        two.join(10)
        assert not one.commit("k5", part([4]), [("9", "large", "")], a)  # which lies in a joined shard now
        assert one.commit("k6", part([4, 5]), provenance=a)
    assert names(folder) == [
        *(("a", str(n)) for n in range(1, 6)),
        *(("a", f"reject {n}") for n in (8, 9)),
        *(("b", str(n)) for n in (1, 2)),
    ]
    assert not maintenance.verify(folder.parents[1]).damages


def test_eight_processes_write_what_one_would(folder, start, assert_sound):
    order = random.Random(0)
    shared = list(range(100, 110))
    processes = []
    for worker in range(8):
        numbers = [*range(worker, 40, 8), *shared]
        order.shuffle(numbers)
        processes.append(start("-c", WRITER, folder, *numbers))
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    found = assert_sound(folder)
    assert set(found.by_key) == {str(number) for number in (*range(40), *shared)}
    assert found.rows == ROWS * len(found.by_key)  # no key twice


def test_readers_see_no_gap_while_many_commit(folder, start):
    writers = [start("-c", WRITER, folder, *range(worker, 120, 2)) for worker in range(2)]
    versions = []
    while any(process.poll() is None for process in writers):
        versions.append(snapshot(folder).version)
    assert versions == sorted(versions)
    assert snapshot(folder).rows == 120 * ROWS


def test_a_number_that_a_listing_left_out_is_looked_for(folder, monkeypatch):
    with TableWriter(folder, ENTRIES, "one") as one:
        for number in range(3):
            one.commit(str(number), chunk(number))
    listed = os.scandir

    def leaving_one_out(path):
        return [entry for entry in listed(path) if entry.name != "00000002.json"]

    monkeypatch.setattr(os, "scandir", leaving_one_out)
    assert snapshot(folder).version == 3


def test_clean_up_spares_what_another_writer_is_about_to_name(folder):
    """A shard lies under its name, and its entry is about to be linked, when `gc` and `compact` come by."""
    reached, go = threading.Event(), threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        real = Local.put_if_absent

        def waiting(self, path, content):
            if threading.current_thread() is not threading.main_thread():
                reached.set()
                go.wait(30)
            return real(self, path, content)

        patch.setattr(Local, "put_if_absent", waiting)

        def write():
            with TableWriter(folder, ENTRIES, "one") as writer:
                writer.commit("a", chunk(0))

        thread = threading.Thread(target=write)
        thread.start()
        assert reached.wait(30)
        maintenance.gc(folder.parents[1])
        maintenance.compact(folder.parents[1])
        with TableWriter(folder, ENTRIES, "two", alone=True):
            pass
        go.set()
        thread.join()
    snapshot(folder).check()
    assert snapshot(folder).rows == ROWS


def test_clean_up_takes_what_has_become_old(folder):
    with TableWriter(folder, ENTRIES, "one") as writer:
        writer.commit("a", chunk(0))
        writer.commit("b", chunk(1))
        (gone, _) = snapshot(folder).paths
        writer.retain(["b"])
    orphan = folder / ("0" * 64 + ".parquet")
    orphan.write_bytes(b"left by a killed writer")
    unfinished = folder / ".tmp-1-x.parquet"
    unfinished.write_bytes(b"left by a killed writer")
    root = folder.parents[1]
    assert maintenance.gc(root)[0] == 0
    assert all(path.exists() for path in (gone, orphan, unfinished))
    long_ago = time.time() - 7200
    for path in (gone, orphan, unfinished):
        os.utime(path, (long_ago, long_ago))
    assert maintenance.gc(root)[0] == 1
    assert gone.exists()  # it is old, but was live until now: a reader may have it open
    assert not orphan.exists()
    assert not unfinished.exists()
    os.utime(folder / "_log" / "00000003.json", (long_ago, long_ago))
    assert maintenance.gc(root)[0] == 1
    assert not gone.exists()


def test_a_linked_table_is_not_looked_after_here(folder, tmp_path):
    """What was done to a linked table was done to another store's, under a lock that nobody there saw."""
    with TableWriter(folder, ENTRIES, "one") as writer:
        for number in range(3):
            writer.commit(str(number), chunk(number))
    other = tmp_path / "other"
    other.mkdir()
    (other / "entries").symlink_to(folder.parent)
    for action in (maintenance.compact, maintenance.gc):
        with pytest.raises(StrataError, match=r"entries/x is a link to .*store/entries/x"):
            action(other)
    assert len(history(folder)) == 3
    with (
        TableWriter(folder, ENTRIES, "one", alone=True),
        pytest.raises(StrataError, match="is being written by"),
        TableWriter(other / "entries" / "x", ENTRIES, "two", alone=True),
    ):
        pass
