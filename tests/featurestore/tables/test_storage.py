import errno
import os
import signal

import pytest

from core.errors import StrataError
from featurestore.tables.log import LOG, entry_path, history, snapshot
from featurestore.tables.schema import ENTRIES
from featurestore.tables.storage import LOCAL, is_torn
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import ROWS, chunk

NO_LINK = [errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EIO, errno.ENOSYS]
# A process whose file system has no hard links; it commits one chunk and says so.
WITHOUT_LINKS = """
import os, sys
from pathlib import Path
from featurestore.tables.schema import ENTRIES
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import chunk
del os.link
with TableWriter(Path(sys.argv[1]), ENTRIES, "test") as writer:
    for number in sys.argv[2:]:
        writer.commit(number, chunk(int(number)))
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "entries" / "x"


@pytest.fixture
def log(tmp_path):
    return tmp_path


def refuse(code):
    def link(source, target):
        raise OSError(code, os.strerror(code))

    return link


def test_a_name_is_given_once(log):
    assert LOCAL.put_if_absent(log / "a", b"one")
    assert not LOCAL.put_if_absent(log / "a", b"two")
    assert LOCAL.read(log / "a") == b"one"
    assert LOCAL.names(log) == ["a"]
    LOCAL.delete(log / "a")
    LOCAL.delete(log / "a")
    assert LOCAL.names(log) == LOCAL.names(log / "nowhere") == []
    with pytest.raises(FileNotFoundError):
        LOCAL.read(log / "a")


def test_a_link_whose_answer_was_lost_counts(log, monkeypatch):
    """Over NFS a request is repeated when its answer is lost, and then finds the name taken by itself."""
    link = os.link

    def twice(source, target):
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    assert LOCAL.put_if_absent(log / "a", b"mine")
    assert not LOCAL.put_if_absent(log / "a", b"another's")
    assert LOCAL.read(log / "a") == b"mine"


@pytest.mark.parametrize("code", NO_LINK)
def test_without_hard_links_the_name_is_created(folder, log, monkeypatch, code, assert_sound):
    monkeypatch.setattr(os, "link", refuse(code))
    assert LOCAL.put_if_absent(log / "a", b"one")
    assert not LOCAL.put_if_absent(log / "a", b"two")
    with TableWriter(folder, ENTRIES, "test") as writer:
        assert writer.commit("a", chunk(0))
        assert writer.commit("b", chunk(1))
    assert assert_sound(folder).rows == 2 * ROWS


def test_an_unlinkable_name_on_a_full_disk_is_our_error(folder, monkeypatch):
    monkeypatch.setattr(os, "link", refuse(errno.ENOSPC))
    with TableWriter(folder, ENTRIES, "test") as writer:
        with pytest.raises(StrataError, match="no room left"):
            writer.commit("a", chunk(0))
        monkeypatch.undo()
        assert writer.commit("a", chunk(0))
    assert not list((folder / LOG).glob(".tmp-*"))


@pytest.mark.parametrize("code", [errno.ESTALE, errno.ENAMETOOLONG, errno.ETIMEDOUT])
def test_any_other_error_is_ours_too(folder, monkeypatch, code):
    monkeypatch.setattr(os, "link", refuse(code))
    with (
        TableWriter(folder, ENTRIES, "test") as writer,
        pytest.raises(StrataError, match=r"00000001\.json cannot be written"),
    ):
        writer.commit("a", chunk(0))


def test_a_folder_that_cannot_be_made_is_our_error(tmp_path):
    (tmp_path / "entries").write_text("a file")
    with (
        pytest.raises(StrataError, match="cannot be written"),
        TableWriter(tmp_path / "entries/x", ENTRIES, "t"),
    ):
        pass


def test_the_parents_of_new_folders_are_flushed(folder, monkeypatch):
    flushed = []
    monkeypatch.setattr("featurestore.tables.storage.sync_folder", flushed.append)
    LOCAL.make_folder(folder / LOG)
    assert flushed == [folder.parent.parent, folder.parent, folder]


@pytest.fixture
def impatient(monkeypatch):
    """A reader that hardly waits for the writer of a torn entry: here it is dead."""
    monkeypatch.setattr("featurestore.tables.storage.PATIENCE", 0.05)
    monkeypatch.setattr("featurestore.tables.writer._TORN_FOR", 0.05)


@pytest.mark.parametrize("kept", [0, 1, 100, -2])
def test_a_torn_entry_is_not_committed_and_its_number_is_used_again(
    folder, impatient, monkeypatch, assert_sound, kept
):
    with monkeypatch.context() as without:
        without.delattr(os, "link")
        with TableWriter(folder, ENTRIES, "test") as writer:
            for number in (0, 1):
                writer.commit(str(number), chunk(number))
    path = entry_path(folder, 2)
    whole = path.read_bytes()
    assert whole.startswith(b" {")
    path.write_bytes(whole[:kept])
    assert is_torn(path.read_bytes())
    assert set(snapshot(folder).by_key) == {"0"}
    with TableWriter(folder, ENTRIES, "test") as writer:
        assert set(writer.committed) == {"0"}
        assert writer.commit("2", chunk(2))
    assert set(assert_sound(folder).by_key) == {"0", "2"}
    assert len(history(folder)) == 2


@pytest.mark.slow
def test_killed_while_it_creates_an_entry(folder, impatient, start, assert_sound):
    first = start("-c", WITHOUT_LINKS, folder, 0, 1, STRATA_FAILPOINT="entry_partly_written:4")
    first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL
    assert is_torn(entry_path(folder, 2).read_bytes())
    assert set(snapshot(folder).by_key) == {"0"}
    start("-c", WITHOUT_LINKS, folder, 0, 1).communicate(timeout=60)
    assert set(assert_sound(folder).by_key) == {"0", "1"}


def test_a_damaged_entry_is_not_taken_for_a_torn_one(folder, start):
    with TableWriter(folder, ENTRIES, "test") as writer:
        writer.commit("a", chunk(0))
        writer.commit("b", chunk(1))
    path = entry_path(folder, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])  # it was linked, so that it was whole once
    with pytest.raises(StrataError, match=r"00000002\.json: this log entry is corrupt"):
        snapshot(folder)
    path.write_bytes(whole)
    entry_path(folder, 1).write_bytes(b"")  # not the newest
    with pytest.raises(StrataError, match=r"00000001\.json: this log entry is corrupt"):
        snapshot(folder)
