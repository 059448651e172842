import os
import signal

import pytest

from core.errors import StrataError
from featurestore.tables.lock import WriterLock, lock_path


def test_one_holder_at_a_time(tmp_path):
    first, second = WriterLock(tmp_path / "table", "extract"), WriterLock(tmp_path / "table", "compact")
    first.acquire()
    with pytest.raises(StrataError, match=rf"written by process {os.getpid()} on .* \(extract, since "):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_the_lock_lies_beside_the_table(tmp_path):
    assert lock_path(tmp_path / "table").parent == tmp_path


def test_a_lock_that_names_nobody_is_still_a_lock(tmp_path):
    first = WriterLock(tmp_path / "table", "extract")
    first.acquire()
    lock_path(tmp_path / "table").write_text("{")
    with pytest.raises(StrataError, match="another process"):
        WriterLock(tmp_path / "table", "extract").acquire()
    first.release()


def test_a_forked_worker_does_not_outlive_its_parent_with_the_lock(tmp_path, start):
    code = f"""
import os, sys, time
from pathlib import Path
from featurestore.tables.lock import WriterLock
lock = WriterLock(Path({str(tmp_path / "table")!r}), "extract")
lock.acquire()
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
sys.stdin.read()
"""
    parent = start("-c", code)
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        lock = WriterLock(tmp_path / "table", "extract")
        lock.acquire()
        lock.release()
        os.kill(child, 0)  # it was alive all the while
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_link_has_the_lock_of_its_folder(tmp_path):
    (tmp_path / "real" / "table").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "linked").symlink_to(tmp_path / "real" / "table")
    first = WriterLock(tmp_path / "real" / "table", "extract")
    first.acquire()
    with pytest.raises(StrataError, match="is being written by"):
        WriterLock(tmp_path / "other" / "linked", "compact").acquire()
    first.release()


def test_a_lock_whose_file_was_removed_is_not_taken_for_one(tmp_path, monkeypatch):
    import fcntl

    path = lock_path(tmp_path / "table")
    flock, removed = fcntl.flock, []

    def removing(handle, operation):
        flock(handle, operation)
        if not removed:
            removed.append(path.unlink())

    monkeypatch.setattr(fcntl, "flock", removing)
    lock = WriterLock(tmp_path / "table", "extract")
    lock.acquire()
    assert os.path.samestat(os.fstat(lock._handle), path.stat())
    lock.release()


def test_locks_that_were_given_back_leave_nothing_behind(tmp_path):
    from featurestore.tables import lock as module

    before = len(module._held)
    for _ in range(3):
        lock = WriterLock(tmp_path / "table", "extract")
        lock.acquire()
        assert len(module._held) == before + 1
        lock.release()
    assert len(module._held) == before
