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
