import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.atomic import sha256_file
from featurestore.tables.garbage import garbage
from featurestore.tables.log import LOG, snapshot
from tests.stores import small_store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory):
    """A small store that no test changes."""
    return small_store(tmp_path_factory.mktemp("shared") / "store")


@pytest.fixture
def store_root(shared_store, tmp_path):
    """A small store of the test's own."""
    return shutil.copytree(shared_store, tmp_path / "store")


@pytest.fixture
def start():
    """Start a Python script or `-c` text in a process of its own; it is ended with the test."""
    started = []

    def run(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def commit(start):
    """Run the committer to its end and return its exit status and the chunks it acknowledged."""

    def run(folder, chunks, **environment):
        process = start(Path(__file__).with_name("committer.py"), folder, chunks, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, [int(line) for line in out.split()[1:]], err

    return run


@pytest.fixture
def assert_sound():
    """Check a table: every live shard has its hash and rows, and nothing else lies in its folder.

    What killed writers left is taken away first, as `gc` does when it has become old.
    """

    def check(folder):
        for path in [path for place in garbage(folder, snapshot(folder).shards, 0) for path in place]:
            path.unlink()
        found = snapshot(folder)
        found.check()
        for shard in found.shards:
            assert sha256_file(folder / shard.path) == shard.sha256
        files = {path.name for path in folder.iterdir() if path.is_file()}
        assert files == {shard.path for shard in found.shards}
        entries = {path.name for path in (folder / LOG).iterdir()}
        entries = {name for name in entries if "checkpoint" not in name}
        assert entries == {f"{n:08d}.json" for n in range(1, found.version + 1)}
        return found

    return check
