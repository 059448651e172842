import json

import pytest

from core.errors import StrataError
from featurestore.tables import log
from featurestore.tables.entries import sealed
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Entry, Reject, Shard, entry_path, history, snapshot, timeline
from featurestore.tables.schema import ENTRIES
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import ROWS, chunk


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "entries" / "x"
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        for key in "abc":
            writer.commit(key, chunk(ord(key)), [Reject(key, "empty", "")])
    return folder


def test_a_table_that_is_not_there_is_empty(tmp_path):
    found = snapshot(tmp_path / "nothing")
    assert (found.version, found.shards, found.rejects, found.rows, found.bytes) == (0, (), (), 0, 0)


def test_a_table_can_be_read_as_it_was(folder):
    assert [snapshot(folder, at=n).rows for n in range(4)] == [0, ROWS, 2 * ROWS, 3 * ROWS]
    with pytest.raises(StrataError, match="log entries 1 to 3; there is no entry 4"):
        snapshot(folder, at=4)


def test_a_gap_in_the_log_is_named(folder):
    entry_path(folder, 2).unlink()
    with pytest.raises(StrataError, match=r"00000002\.json is missing, yet entry 3 exists"):
        history(folder)


@pytest.mark.parametrize(
    ("old", "new"), [('"rows": 500', '"rows": 499'), ('"version": 2', '"version": 3'), ("{", "[")]
)
def test_a_changed_log_entry_is_named(folder, old, new):
    path = entry_path(folder, 2)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(StrataError, match=r"00000002\.json: this log entry is corrupt"):
        snapshot(folder)


def test_an_entry_survives_the_way_to_disk_and_back(tmp_path):
    shard = Shard(
        {"b": 1, "a": 2}, "f" * 64 + ".parquet", 10, "f" * 64, 3, (Reject("é\udc80", "x", "y"),), {"k": "v"}
    )
    entry = Entry(1, "test", log.now(), (shard,), ("0" * 64 + ".parquet",))
    entry_path(tmp_path, 1).parent.mkdir()
    entry_path(tmp_path, 1).write_bytes(log.encode(entry))
    assert history(tmp_path) == [entry]
    assert list(history(tmp_path)[0].added[0].keys) == ["b", "a"]


@pytest.mark.parametrize("kept", [0, 3, 8, 0.5, -1])
def test_a_truncated_shard_is_named_before_it_is_opened(folder, kept):  # row 8
    path = snapshot(folder).paths[1]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if kept == 0.5 else kept])
    with pytest.raises(StrataError, match=rf"{path.name}: [\d,]+ bytes, the log says"):
        snapshot(folder).check()


def test_a_shard_without_its_footer_is_named(folder):  # row 8
    path = snapshot(folder).paths[1]
    path.write_bytes(path.read_bytes()[:-4] + b"XXXX")
    with pytest.raises(StrataError, match=rf"{path.name}: no Parquet footer"):
        snapshot(folder).check()


def test_a_deleted_shard_is_an_error(folder):  # row 9
    path = snapshot(folder).paths[1]
    path.unlink()
    with pytest.raises(StrataError, match=rf"{path.name} is missing: .* 500 rows"):
        snapshot(folder).check()


def test_the_timeline_merges_by_moment_and_keeps_each_logs_order(tmp_path):
    def entries(*hours):
        return [Entry(n, "x", f"2030-01-01T{hour:02d}:00") for n, hour in enumerate(hours, 1)]

    merged = timeline({tmp_path / "a": entries(1, 9, 3), tmp_path / "b": entries(2, 10)})
    assert [(folder.name, entry.version) for folder, entry in merged] == [
        ("a", 1),
        ("b", 1),
        ("a", 2),
        ("a", 3),  # written with the clock set back
        ("b", 2),
    ]


def test_log_entries_are_plain_json(folder):
    entry = json.loads(entry_path(folder, 1).read_bytes())["entry"]
    assert entry["operation"] == "ingest"
    assert entry["added"][0]["rejects"] == [["a", "empty", ""]]


@pytest.mark.parametrize(
    "path", ["../../../home/.bashrc", "/etc/passwd", "x.parquet", "f" * 64, "F" * 64 + ".parquet"]
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path, path):
    for entry in (
        Entry(1, "test", log.now(), (Shard({"a": 1}, path, 10, "f" * 64, 1),)),
        Entry(1, "test", log.now(), (), (path,)),
    ):
        entry_path(tmp_path, 1).parent.mkdir(exist_ok=True)
        entry_path(tmp_path, 1).write_bytes(log.encode(entry))
        with pytest.raises(StrataError, match="not the name of a shard"):
            history(tmp_path)


def test_a_path_that_is_another_shards_hash_is_refused(tmp_path):
    entry_path(tmp_path, 1).parent.mkdir()
    shard = Shard({"a": 1}, "0" * 64 + ".parquet", 10, "f" * 64, 1)
    entry_path(tmp_path, 1).write_bytes(log.encode(Entry(1, "test", log.now(), (shard,))))
    with pytest.raises(StrataError, match="not named by its hash"):
        history(tmp_path)


def test_the_timeline_goes_by_what_writers_saw_and_not_by_clocks(tmp_path):
    def entries(*numbers):
        moments = [f"2030-01-{30 - number:02d}T00:00" for number in numbers]  # each clock a day further back
        return [
            Entry(n, "x", moment, seen=seen)
            for n, (seen, moment) in enumerate(zip(numbers, moments, strict=True), 1)
        ]

    old = [Entry(1, "x", "2031-01-01T00:00"), Entry(2, "x", "2031-01-02T00:00", seen=9)]
    merged = timeline({tmp_path / "b": entries(3, 4, 8), tmp_path / "a": entries(4, 5), tmp_path / "c": old})
    assert [(folder.name, entry.version) for folder, entry in merged] == [
        ("c", 1),  # of an older store, which has no such number
        ("b", 1),
        ("a", 1),
        ("b", 2),
        ("a", 2),
        ("b", 3),
        ("c", 2),
    ]


def test_each_commit_has_a_number_above_all_that_its_writer_could_see(tmp_path, monkeypatch):
    moments = iter([f"20{99 - n}-01-01T00:00:00.000000+00:00" for n in range(9)])
    monkeypatch.setattr("featurestore.tables.log.now", lambda: next(moments))
    for number, kind in enumerate(["entries", "splits", "entries", "runs", "entries"]):
        folder = StoreLayout(tmp_path).table(kind, "x")
        with TableWriter(folder, ENTRIES, "test") as writer:
            writer.commit(str(number), chunk(number))
    folders = [StoreLayout(tmp_path).table(kind, "x") for kind in ("entries", "splits", "runs")]
    merged = timeline({folder: history(folder) for folder in folders})
    assert [next(iter(entry.added[0].keys)) for _, entry in merged] == list("01234")
    assert [entry.seen for _, entry in merged] == [1, 2, 3, 4, 5]


def test_entries_of_an_older_store_are_read_and_written_on(tmp_path):
    """Format 1 had neither format, seen, transaction nor void."""
    folder = tmp_path / "entries" / "x"
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("a", chunk(0))
        writer.commit("b", chunk(1))
    for number, entry in enumerate(history(folder), 1):
        body = json.loads(log.encode(entry))["entry"]
        for name in ("format", "seen", "transaction", "void"):
            del body[name]
        entry_path(folder, number).write_bytes(sealed("entry", body))
    assert [entry.format for entry in history(folder)] == [1, 1]
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        assert set(writer.committed) == {"a", "b"}
        writer.commit("c", chunk(2))
    assert [(entry.format, entry.seen) for entry in history(folder)] == [(1, 0), (1, 0), (2, 3)]
    assert snapshot(folder).rows == 3 * ROWS


def test_a_newer_format_is_named(folder):
    body = json.loads(entry_path(folder, 3).read_bytes())["entry"] | {"format": 3, "more": True}
    entry_path(folder, 3).write_bytes(sealed("entry", body))
    with pytest.raises(StrataError, match=r"00000003\.json: it has format 3, .* update strata"):
        snapshot(folder)


@pytest.mark.parametrize(
    "transaction",
    [
        {"id": "x", "table": "entries/x", "tables": {"entries/x": 1, "../../home": 1}},
        {"id": "x", "table": "entries/x", "tables": {"entries/x": 1, "/etc": 1}},
        {"id": "x", "table": "entries/x", "tables": {"entries/x": 1, "runs/x": "1"}},
        {"id": "x", "table": "entries/x", "tables": {"entries/x": 2}},
        {"id": "x"},
        [],
    ],
)
def test_a_transaction_that_names_no_table_is_refused(tmp_path, transaction):
    entry_path(tmp_path, 1).parent.mkdir()
    body = json.loads(log.encode(Entry(1, "test", log.now())))["entry"] | {"transaction": transaction}
    entry_path(tmp_path, 1).write_bytes(sealed("entry", body))
    with pytest.raises(StrataError, match="this log entry is corrupt"):
        snapshot(tmp_path)
