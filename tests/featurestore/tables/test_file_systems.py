"""The store on file systems that are full, read-only or without hard links, mounted for the test."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import featurestore
from core.errors import StrataError
from featurestore.tables import maintenance
from featurestore.tables.log import LOG, snapshot
from featurestore.tables.schema import ENTRIES
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import ROWS, chunk
from tests.featurestore.tables.test_storage import WITHOUT_LINKS
from tests.stores import small_store


@pytest.fixture
def mount(tmp_path) -> Iterator[Callable[..., Path]]:
    """Mount something under the test's folder; skips where that is not permitted here."""
    mounted = []

    def run(kind: str, options: str, device: str = "strata-test") -> Path:
        place = tmp_path / "mounted"
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", kind, "-o", options, device, place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"{kind} cannot be mounted here: {done.stderr.strip()}")
        if place not in mounted:
            mounted.append(place)
        return place

    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    yield run
    for place in mounted:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_keeps_what_was_committed(mount):
    place = mount("tmpfs", "size=1m")
    folder = place / "store" / "entries" / "x"
    (place / "ballast").write_bytes(bytes(700_000))
    done = 0
    with TableWriter(folder, ENTRIES, "test") as writer:
        try:
            for done in range(10_000):
                writer.commit(str(done), chunk(done))
        except StrataError as error:
            told = str(error)
    assert "no room left for about" in told
    assert done > 1
    with TableWriter(folder, ENTRIES, "test", alone=True):  # nor does the lock need room
        pass
    assert set(snapshot(folder).by_key) == {str(number) for number in range(done)}
    assert not maintenance.verify(place / "store").damages
    (place / "ballast").unlink()
    with TableWriter(folder, ENTRIES, "test") as writer:
        assert writer.commit(str(done), chunk(done))
    assert snapshot(folder).rows == (done + 1) * ROWS
    left = [path for path in (*folder.iterdir(), *(folder / LOG).iterdir()) if path.name.startswith(".tmp-")]
    assert left == []


def test_a_read_only_store_answers_and_is_not_written(mount):
    place = mount("tmpfs", "size=8m")
    root = small_store(place / "store")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    mount("tmpfs", "remount,ro")
    opened = featurestore.open(root)
    assert len(opened.matrix("alpha", "energy").X)
    assert not maintenance.verify(root).damages
    with (
        pytest.raises(StrataError, match=r"entries/alpha.* cannot be written .*nothing was computed"),
        TableWriter(root / "entries" / "alpha", ENTRIES, "test"),
    ):
        pass
    for action in (maintenance.compact, maintenance.gc):
        with pytest.raises(StrataError, match="cannot be written"):
            action(root)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_file_system_without_hard_links(mount, tmp_path):
    image = tmp_path / "image"
    if shutil.which("mkfs.vfat") is None:
        pytest.skip("there is no mkfs.vfat here")
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.vfat", image], check=True, capture_output=True)
    place = mount("vfat", "loop", str(image))
    folder = place / "store" / "entries" / "x"
    for number in range(3):
        with TableWriter(folder, ENTRIES, "test") as writer:
            assert writer.commit(str(number), chunk(number))
    assert snapshot(folder).rows == 3 * ROWS
    maintenance.compact(place / "store")
    maintenance.gc(place / "store", 0)
    assert snapshot(folder).rows == 3 * ROWS
    assert not maintenance.verify(place / "store").damages


def test_writers_at_once_without_hard_links(tmp_path, start, assert_sound):
    folder = tmp_path / "entries" / "x"
    shared = range(100, 104)
    processes = [start("-c", WITHOUT_LINKS, folder, *range(worker, 12, 3), *shared) for worker in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    found = assert_sound(folder)
    assert set(found.by_key) == {str(number) for number in (*range(12), *shared)}
    assert found.rows == ROWS * len(found.by_key)
