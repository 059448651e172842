import json
import os
import random
import resource
import signal
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import StrataError
from featurestore.tables.entries import shard_of
from featurestore.tables.log import LOG, Reject, entry_path, history, snapshot
from featurestore.tables.schema import ENTRIES, features_schema
from featurestore.tables.shards import Chunk, write_chunks
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import ROWS, chunk
from tests.stores import CHECKPOINTS, COUNTS, features

FEATURES = features_schema(COUNTS, CHECKPOINTS)
COMMITTER = Path(__file__).parents[1] / "committer.py"
BEFORE_THE_LINK = (
    pytest.param("shard_partly_written", marks=pytest.mark.slow),
    pytest.param("shard_written", marks=pytest.mark.slow),
    pytest.param("shard_flushed", marks=pytest.mark.slow),
    "shard_renamed",
    pytest.param("entry_partly_written", marks=pytest.mark.slow),
    "entry_flushed",
)
AFTER_THE_LINK = ("entry_linked", pytest.param("committed", marks=pytest.mark.slow))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "entries" / "x"


def test_a_committed_chunk_is_there_with_its_rejects_and_provenance(folder, assert_sound):
    rejects = [Reject("bad-1", "empty", "no atoms [at all]")]
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        assert writer.commit("a", chunk(0), rejects, {"source": "file.json", "code": "1"})
        assert set(writer.committed) == {"a"}
    found = assert_sound(folder)
    assert found.rows == ROWS
    assert found.rejects == tuple(rejects)
    assert found.shards[0].provenance == {"code": "1", "source": "file.json"}
    assert pq.read_table(found.paths[0], schema=ENTRIES).equals(chunk(0))
    metadata = pq.read_schema(found.paths[0]).metadata
    assert metadata[b"strata.source"] == b"file.json"


def test_a_shard_that_another_process_wrote_is_committed_by_its_description(folder, assert_sound):
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        described = write_chunks(folder, {"a": Chunk(chunk(0), (Reject("bad-1", "empty", ""),))})
        assert snapshot(folder).version == 0  # a file alone is nothing
        assert writer.commit_shard(shard_of(json.loads(json.dumps(asdict(described)))))
        assert not writer.commit_shard(described)
        assert not writer.commit("a", chunk(1))
    assert assert_sound(folder).shards == (described,)


def test_a_description_of_what_is_not_there_is_refused(folder):
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        described = write_chunks(folder, {"a": Chunk(chunk(0))})
        path = folder / described.path
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(StrataError, match="truncated"):
            writer.commit_shard(described)
        path.unlink()
        with pytest.raises(StrataError, match="is missing"):
            writer.commit_shard(described)
    assert snapshot(folder).version == 0


def test_a_key_is_committed_once(folder):
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        assert writer.commit("a", chunk(0))
        assert not writer.commit("a", chunk(1))
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        assert not writer.commit("a", chunk(1))
    assert snapshot(folder).version == 1


def test_a_chunk_may_hold_nothing_but_rejects(folder, assert_sound):
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("a", chunk(0).slice(0, 0), [Reject("1", "empty", "")])
        writer.commit("b", chunk(0).slice(0, 0), [Reject("2", "empty", "")])
    assert [reject.entry_id for reject in assert_sound(folder).rejects] == ["1", "2"]


def test_retain_drops_what_is_not_named_in_one_entry(folder):
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        for key in "abc":
            writer.commit(key, chunk(ord(key)))
        writer.retain(["b"])
        assert set(writer.committed) == {"b"}
        writer.retain(["b"])
    assert snapshot(folder).version == 4
    assert set(snapshot(folder).by_key) == {"b"}
    assert set(snapshot(folder, at=3).by_key) == set("abc")
    snapshot(folder, at=3).check()


def test_the_same_input_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        with TableWriter(tmp_path / name, FEATURES, "extract") as writer:
            writer.commit("a", features(range(3)), provenance={"b": "2", "a": "1"})
    one, two = snapshot(tmp_path / "one"), snapshot(tmp_path / "two")
    assert one.shards == two.shards


def test_bytes_do_not_depend_on_locale_or_time_zone(tmp_path, commit):  # row 41
    for name, environment in {
        "one": {"TZ": "UTC"},
        "two": {"TZ": "Asia/Kolkata", "LC_ALL": "tr_TR.UTF-8"},
    }.items():
        status, _, err = commit(tmp_path / name, 1, **environment)
        assert status == 0, err
    assert snapshot(tmp_path / "one").shards == snapshot(tmp_path / "two").shards


def test_a_clock_set_back_does_not_reorder_the_log(folder, monkeypatch):  # row 41
    moments = iter(["2030-01-01T00:00:00.000000+00:00", "1999-01-01T00:00:00.000000+00:00"])
    monkeypatch.setattr("featurestore.tables.log.now", lambda: next(moments))
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("first", chunk(0))
        writer.commit("second", chunk(1))
    assert [next(iter(shard.keys)) for shard in snapshot(folder).shards] == ["first", "second"]


def test_another_schema_is_refused(folder):
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        with pytest.raises(StrataError, match="expected"):
            writer.commit("a", pa.table({"x": [1]}))
        holes = chunk(0).slice(0, 2).to_pydict() | {"structure_id": ["s", None]}
        with pytest.raises(StrataError, match="structure_id has no value in row 1"):
            writer.commit("a", pa.Table.from_pydict(holes, ENTRIES))
    assert snapshot(folder).version == 0


@pytest.mark.parametrize("step", BEFORE_THE_LINK)
def test_killed_before_the_link_nothing_is_lost_or_half_there(
    folder, commit, assert_sound, step
):  # rows 1, 2
    status, acknowledged, _ = commit(folder, 3, STRATA_FAILPOINT=f"{step}:2")
    assert status == -signal.SIGKILL
    assert set(snapshot(folder).by_key) == {str(number) for number in acknowledged} == {"0"}
    status, acknowledged, err = commit(folder, 3)
    assert (status, acknowledged) == (0, [1, 2]), err
    assert assert_sound(folder).rows == 3 * ROWS


@pytest.mark.parametrize("step", AFTER_THE_LINK)
def test_killed_after_the_link_the_chunk_is_kept(folder, commit, assert_sound, step):  # row 2
    status, acknowledged, _ = commit(folder, 3, STRATA_FAILPOINT=f"{step}:2")
    assert status == -signal.SIGKILL
    assert acknowledged == [0]
    assert set(snapshot(folder).by_key) == {"0", "1"}
    status, acknowledged, err = commit(folder, 3)
    assert (status, acknowledged) == (0, [2]), err
    assert_sound(folder)


@pytest.mark.slow
def test_a_storm_of_kills_loses_nothing_acknowledged(folder, start, assert_sound):  # rows 1, 6
    moments = random.Random(0)
    acknowledged: set[str] = set()
    stop, failures = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                found = snapshot(folder)
                found.check()
                rows = sum(pq.read_metadata(path).num_rows for path in found.paths[-5:])
                assert rows == sum(shard.rows for shard in found.shards[-5:])
                assert found.rows == ROWS * len(found.by_key)
            except (StrataError, OSError, pa.ArrowException, AssertionError) as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        process = start(COMMITTER, folder, 100_000)
        assert process.stdout.readline() == "writing\n"
        said = [process.stdout.readline() for _ in range(moments.randrange(4))]
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        said += process.stdout.readlines()
        acknowledged |= {line.strip() for line in said if line.endswith("\n")}
        assert acknowledged <= set(snapshot(folder).by_key)
    stop.set()
    reader.join()
    assert not failures
    assert len(acknowledged) > 100
    with TableWriter(folder, ENTRIES, "after"):
        assert_sound(folder)


def test_a_full_disk_is_named_and_keeps_what_was_committed(folder, assert_sound):  # row 4
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("a", chunk(0))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(StrataError, match=r"entries/x: no room left for about [\d,]+ bytes"):
                writer.commit("b", chunk(1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert_sound(folder)
        assert writer.commit("b", chunk(1))
    assert assert_sound(folder).rows == 2 * ROWS


def test_the_second_of_those_who_ask_to_be_alone_is_told_who_is(folder, start):  # row 5
    first = start(COMMITTER, folder, 1, "hold")
    assert first.stdout.readline() == "writing\n"
    assert first.stdout.readline() == "0\n"
    second = start(COMMITTER, folder, 1, "hold")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"is being written by process {first.pid} on " in err
    assert "(committer, since " in err
    assert snapshot(folder).rows == ROWS  # readers do not care
    first.communicate("", timeout=60)
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        assert set(writer.committed) == {"0"}


def test_readers_see_complete_snapshots_while_a_writer_works(folder, start):  # row 6
    process = start(COMMITTER, folder, 40)
    seen = set()
    while process.poll() is None:
        found = snapshot(folder)
        found.check()
        assert sum(pq.read_metadata(path).num_rows for path in found.paths) == ROWS * found.version
        seen.add(found.version)
    assert process.returncode == 0
    assert snapshot(folder).version == 40
    assert len(seen) > 1


def test_a_damaged_table_is_not_written_to(folder):  # row 9
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("a", chunk(0))
    snapshot(folder).paths[0].unlink()
    with pytest.raises(StrataError, match="is missing"), TableWriter(folder, ENTRIES, "ingest"):
        pass
    snapshot(folder)  # and the lock was given back
    with pytest.raises(StrataError, match="is missing"), TableWriter(folder, ENTRIES, "ingest"):
        pass


def test_a_foreign_log_entry_that_is_none_is_noticed(folder):
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("a", chunk(0))
        entry_path(folder, 2).write_bytes(entry_path(folder, 1).read_bytes())
        with pytest.raises(StrataError, match="says that it is entry 1"):
            writer.commit("b", chunk(1))
    entry_path(folder, 2).unlink()
    assert not list((folder / LOG).glob(".tmp-*"))
    assert len(history(folder)) == 1


def test_a_read_only_store_is_read_but_refused_before_any_computing(folder, start):  # row 43
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.commit("a", chunk(0))
    everything = [folder.parent, folder, folder / LOG]
    temporary = Path(tempfile.gettempdir())
    for place in [*reversed(folder.parents), folder]:  # another user must get as far as here
        if place.is_relative_to(temporary) and place != temporary:
            place.chmod(0o755)
    for place in everything:
        place.chmod(0o555)
    try:
        code = f"""
import os
from pathlib import Path
from core.errors import StrataError
from featurestore.tables.log import snapshot
from featurestore.tables.schema import ENTRIES
from featurestore.tables.shards import Chunk, write_chunks
from featurestore.tables.writer import TableWriter
if os.getuid() == 0:
    os.setuid(65534)
for name in ("x", "y"):
    try:
        with TableWriter(Path({str(folder.parent)!r}) / name, ENTRIES, "ingest"):
            raise SystemExit("wrote")
    except StrataError as error:
        print(error)
print(snapshot(Path({str(folder)!r})).rows)
"""
        out, err = start("-c", code).communicate(timeout=60)
    finally:
        for place in everything:
            place.chmod(0o755)
    lines = out.splitlines()
    assert [line.count("readable only: nothing was computed") for line in lines[:2]] == [1, 1], out + err
    assert lines[2] == str(ROWS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_commit_finish(folder, assert_sound, monkeypatch, number):  # row 46
    class Asked(Exception):  # noqa: N818
        pass

    def handler(*_):
        raise Asked

    before = signal.signal(number, handler)
    link = os.link
    monkeypatch.setattr(os, "link", lambda *paths: (signal.raise_signal(number), link(*paths)))
    try:
        with TableWriter(folder, ENTRIES, "ingest") as writer:
            with pytest.raises(Asked):
                writer.commit("a", chunk(0))
            assert set(writer.committed) == {"a"}
    finally:
        signal.signal(number, before)
    assert assert_sound(folder).rows == ROWS
