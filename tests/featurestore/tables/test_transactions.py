import shutil
import signal
import threading
from collections import Counter
from contextlib import contextmanager

import pytest

import featurestore
from core.errors import StrataError
from featurestore.query.views import read_tables
from featurestore.remote import pull
from featurestore.tables import maintenance
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import entry_path, history, read, snapshot
from featurestore.tables.schema import ENTRIES, STRUCTURES
from featurestore.tables.transactions import Together
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import ROWS, chunk
from tests.stores import structure_id

FOUR = """
import sys
from tests.featurestore.tables.test_transactions import commit_both
from pathlib import Path
commit_both(Path(sys.argv[1]), *sys.argv[2:])
"""


def structures(number):
    import pyarrow as pa

    row = {
        "structure_id": structure_id(number),
        "formula": "Si",
        "n_atoms": 1,
        "volume": 27.0,
        "lattice": [3.0, 0, 0, 0, 3.0, 0, 0, 0, 3.0],
        "numbers": [14],
        "frac_coords": [0.0, 0.0, 0.0],
    }
    return pa.Table.from_pylist([row], STRUCTURES)


@contextmanager
def both(root, **settings):
    layout = StoreLayout(root)
    with (
        TableWriter(layout.structures("x"), STRUCTURES, "test", alone=True) as one,
        TableWriter(layout.entries("x"), ENTRIES, "test", alone=True) as two,
        Together(one, two, **settings) as batch,
    ):
        yield one, two, batch


def commit_both(root, *numbers):
    """Commit one chunk of two tables for each number, each a transaction."""
    for number in map(int, numbers):
        with both(root) as (one, two, _):
            one.commit(str(number), structures(number))
            two.commit(str(number), chunk(number))


def shown(root):
    """Return the keys that a reader sees, once for each table; they must be the same."""
    tables, _ = read_tables(StoreLayout(root))
    one, two = (set(table.snapshot.by_key) for table in tables)
    assert one == two
    return one


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


def test_entries_say_which_tables_they_span(root):
    commit_both(root, 0)
    layout = StoreLayout(root)
    one, two = history(layout.structures("x"))[0], history(layout.entries("x"))[0]
    assert one.transaction.id == two.transaction.id
    assert one.transaction.tables == two.transaction.tables == {"structures/x": 1, "entries/x": 1}
    assert (one.transaction.table, two.transaction.table) == ("structures/x", "entries/x")


def test_a_change_of_one_table_is_no_transaction(root):
    commit_both(root, 0)
    with both(root) as (one, two, _):
        assert not one.commit("0", structures(0))
        two.commit("1", chunk(1))
    assert [entry.transaction is None for entry in history(StoreLayout(root).entries("x"))] == [False, True]
    assert len(history(StoreLayout(root).structures("x"))) == 1


def test_nothing_is_committed_where_the_block_fails(root):
    def fail():
        with both(root) as (one, _, _):
            one.commit("0", structures(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert history(StoreLayout(root).structures("x")) == []


@pytest.mark.parametrize("step", ["entry_linked:3", "member_committed:3", "shard_renamed:4"])
def test_killed_between_two_tables_neither_shows_it_and_the_next_writer_goes_on(root, start, step):
    process = start("-c", FOUR, root, 0, 1, STRATA_FAILPOINT=step)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert shown(root) == {"0"}
    layout = StoreLayout(root)
    for folder in (layout.structures("x"), layout.entries("x")):
        assert set(snapshot(folder).by_key) == {"0"}
    assert featurestore.open(root).sql("SELECT count(*) FROM structures").fetchall() == [(1,)]
    commit_both(root, 1)
    assert shown(root) == {"0", "1"}
    if step != "shard_renamed:4":
        assert history(layout.structures("x"))[-1].void == (2,)
    assert not maintenance.verify(root).damages
    alone = shutil.copytree(root, root.with_name("alone"))
    shutil.rmtree(alone / "entries")  # a copy that lacks the table which would tell
    assert snapshot(StoreLayout(alone).structures("x")).rows == 2


def test_a_member_that_was_not_copied_is_not_waited_for(root):
    commit_both(root, 0, 1)
    shutil.rmtree(root / "entries")
    assert snapshot(StoreLayout(root).structures("x")).rows == 2
    tables, _ = read_tables(StoreLayout(root))
    assert [table.snapshot.rows for table in tables] == [2]


def test_an_incomplete_transaction_is_not_pulled(root, tmp_path):
    pytest.importorskip("fsspec")
    commit_both(root, 0, 1)
    entry_path(StoreLayout(root).entries("x"), 2).unlink()
    pull(f"file://{root}", tmp_path / "copy", ["structures"])
    assert set(snapshot(tmp_path / "copy" / "structures" / "x").by_key) == {"0"}
    assert read(tmp_path / "copy" / "structures" / "x").version == 1


def test_a_number_taken_by_somebody_who_heeds_no_lock(root):
    commit_both(root, 0)
    layout = StoreLayout(root)
    with both(root) as (one, two, _):
        one.commit("1", structures(1))
        two.commit("1", chunk(1))
        with TableWriter(layout.entries("x"), ENTRIES, "rude") as rude:
            rude.commit("2", chunk(2))
    assert set(snapshot(layout.structures("x")).by_key) == {"0", "1"}
    assert set(snapshot(layout.entries("x")).by_key) == {"0", "1", "2"}
    assert history(layout.structures("x"))[-1].void == (2,)


def test_a_writer_of_a_transaction_is_alone(root):
    with (
        TableWriter(root / "entries" / "x", ENTRIES, "test") as writer,
        pytest.raises(ValueError, match="alone"),
    ):
        Together(writer)
    with both(root), pytest.raises(StrataError, match="is being written by"), both(root):
        pass


def test_works_that_stand_alone_become_one_shard_and_what_was_done_is_kept(root):
    def fail():
        with both(root, joined=True) as (one, two, batch):
            for number in range(3):
                one.commit(str(number), structures(number))
                two.commit(str(number), chunk(number))
                batch.keep(3600)
                assert not one.commit(str(number), structures(number))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert shown(root) == {"0", "1", "2"}
    for folder in (StoreLayout(root).structures("x"), StoreLayout(root).entries("x")):
        (shard,) = snapshot(folder).shards
        assert list(shard.keys) == ["0", "1", "2"]
        assert len(history(folder)) == 1


def test_kept_from_time_to_time(root):
    with both(root, joined=True) as (one, two, batch):
        for number in range(3):
            one.commit(str(number), structures(number))
            two.commit(str(number), chunk(number))
            batch.keep(0)
    assert len(history(StoreLayout(root).entries("x"))) == 3
    assert shown(root) == {"0", "1", "2"}


def test_readers_never_see_half_of_it(root):
    commit_both(root, 0)
    stop, seen, failures = threading.Event(), Counter(), []

    def reading():
        while not stop.is_set():
            try:
                seen[len(shown(root))] += 1
            except (AssertionError, StrataError) as error:
                failures.append(error)
                return

    reader = threading.Thread(target=reading)
    reader.start()
    commit_both(root, *range(1, 70))
    stop.set()
    reader.join()
    assert not failures
    assert len(seen) > 1
    assert len(shown(root)) == 70
    assert snapshot(StoreLayout(root).entries("x")).rows == 70 * ROWS


def test_at_a_version_inside_a_transaction_none_of_it_is_seen(root):
    commit_both(root, 0, 1)
    layout = StoreLayout(root)
    for version, keys in ((0, 0), (1, 0), (2, 1), (3, 1), (4, 2)):
        tables, commits = read_tables(layout, version)
        assert [len(table.snapshot.by_key) for table in tables] == [keys, keys]
        assert len(commits) == version
