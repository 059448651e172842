"""What DVC may do to a table, and what the table makes of it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from core.errors import StrataError
from core.params import Params
from featurestore.tables.log import snapshot
from featurestore.tables.schema import ENTRIES
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import ROWS

pytest.importorskip("dvc")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    """A DVC project of one stage, a writer that waits for its standard input to be closed at the end."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\nno_scm = true\nanalytics = false\ncheck_update = false\n"
    )
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    command = f"{sys.executable} {Path(__file__).with_name('committer.py')} store/entries/x 4 hold"
    stage = {"cmd": command, "outs": [{"store/entries/x": {"persist": True}}]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"write": stage}}))
    return tmp_path


def repro(project, stdin):
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(condition):
    """Wait for another process; the suite's own limit ends what never comes."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came to that")


@pytest.mark.slow
def test_only_dvc_is_killed_and_the_stage_goes_on(project):  # row 39
    folder = project / "store" / "entries" / "x"
    first = repro(project, subprocess.PIPE)
    until(lambda: snapshot(folder).version == 4)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with (
        pytest.raises(StrataError, match=r"is being written by process \d+ .*committer"),
        TableWriter(folder, ENTRIES, "other", alone=True),
    ):
        pass  # the orphan still holds the lock
    second = repro(project, subprocess.DEVNULL)
    told, _ = second.communicate(timeout=60)
    assert second.returncode != 0, told
    assert "is being written by process" in told
    before = snapshot(folder)
    assert before.rows == 4 * ROWS  # DVC has deleted nothing
    first.stdin.close()  # and the orphan ends

    def free():
        try:
            with TableWriter(folder, ENTRIES, "other", alone=True):
                return True
        except StrataError:
            return False

    until(free)
    third = repro(project, subprocess.DEVNULL)
    told, _ = third.communicate(timeout=60)
    assert third.returncode == 0, told
    assert snapshot(folder).shards == before.shards  # nothing was written again
    snapshot(folder).check()


def test_fit_stops_at_a_changed_byte_that_duckdb_would_read(store_root):  # row 40
    from heads.fit import fit

    path = snapshot(store_root / "targets" / "alpha").paths[0]
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    params = Params.model_validate({"fit": {"heads": ["mean"]}, "extract": {"source_models": ["synthetic"]}})
    with pytest.raises(StrataError, match=r"targets/alpha/.*damaged since it was committed"):
        fit("alpha", params, store_root)
    assert not (store_root / "runs").exists()
    assert fit("beta", params, store_root).runs  # what it does not read does not stop it
