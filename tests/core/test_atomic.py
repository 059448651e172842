import errno
import hashlib
import io
import signal
import threading

import pytest

from core import atomic as durable
from core.errors import StrataError


def test_the_hash_is_of_what_passed_through():
    sink = io.BytesIO()
    file = durable.HashingFile(sink)
    file.write(b"one")
    file.write(memoryview(b"two"))
    assert sink.getvalue() == b"onetwo"
    assert (file.tell(), file.sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "no room left for about 1,234 bytes"), (errno.EROFS, "readable only")]
)
def test_a_failed_write_is_explained(tmp_path, number, says):
    with pytest.raises(StrataError, match=says), durable.explained(tmp_path, 1234):
        raise OSError(number, "strerror")


def test_other_faults_pass_unchanged(tmp_path):
    with pytest.raises(OSError, match="input/output"), durable.explained(tmp_path, 1):
        raise OSError(errno.EIO, "input/output")


def test_signals_are_delivered_at_the_end():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("delivered"))
    try:
        with durable.signals_held():
            signal.raise_signal(signal.SIGTERM)
            assert not seen
        assert seen == ["delivered"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_hold_no_signals():
    done = []

    def work():
        with durable.signals_held():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_removing_what_is_gone_is_fine(tmp_path):
    (tmp_path / "x").touch()
    durable.remove(tmp_path / "x")
    durable.remove(tmp_path / "x")
    assert not (tmp_path / "x").exists()
