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


def fail_half_way(path):
    path.write_text("half")
    path.touch(exist_ok=False)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "params.yaml"
    durable.write_whole(path, "größe: 1\n")
    assert path.read_text(encoding="utf-8") == "größe: 1\n"
    with pytest.raises(FileExistsError), durable.whole_file(path) as temporary:
        fail_half_way(temporary)
    assert path.read_text(encoding="utf-8") == "größe: 1\n"
    assert [found.name for found in path.parent.iterdir()] == ["params.yaml"]


def test_a_file_being_written_is_none_that_others_look_for(tmp_path):
    with durable.whole_file(tmp_path / "card.yaml") as temporary:
        temporary.write_text("name: x")
        assert not list(tmp_path.glob("*.yaml"))
    assert list(tmp_path.glob("*.yaml")) == [tmp_path / "card.yaml"]


def test_a_folder_is_filled_whole_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "models" / "run"
    with durable.whole_folder(path) as folder:
        (folder / "inside").mkdir()
        (folder / "inside" / "old").write_text("1")
        assert not path.exists()
    assert (path / "inside" / "old").read_text() == "1"
    with pytest.raises(FileExistsError), durable.whole_folder(path) as folder:
        fail_half_way(folder / "half")
    assert [found.name for found in path.iterdir()] == ["inside"]
    with durable.whole_folder(path) as folder:
        (folder / "new").write_text("3")
    assert [found.name for found in path.iterdir()] == ["new"]
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_is_cleared_and_in_nobodys_way(tmp_path):
    left = tmp_path / f"{durable.UNFINISHED}run"
    left.mkdir()
    (left / "half").touch()
    with durable.whole_folder(tmp_path / "run") as folder:
        (folder / "whole").touch()
    assert [found.name for found in (tmp_path / "run").iterdir()] == ["whole"]
    left.mkdir()
    (tmp_path / "kept").mkdir()
    durable.clear_unfinished(tmp_path)
    assert {found.name for found in tmp_path.iterdir()} == {"run", "kept"}
