"""Worker processes give what one process gives, in the same order, and leave nothing behind."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from core.errors import StrataError
from core.params import Extract
from core.structure import Structure
from tests.crystals import random_structure
from tests.engines import SOURCE, stacked
from zoo import extraction
from zoo.extraction import run_tasks

SETTINGS = Extract(threads=1, device="cpu", backbones={"alignn": {"max_angles": 3000}})


def tasks() -> list[list[Structure]]:
    found = [random_structure(np.random.default_rng(seed), 1 + seed % 3) for seed in range(12)]
    found.insert(5, random_structure(np.random.default_rng(99), 60))  # over the limit of angles
    return [found[i : i + 3] for i in range(0, len(found), 3)]


@pytest.mark.slow
def test_two_workers_give_what_one_process_gives():
    in_line = list(run_tasks(SOURCE, tasks(), SETTINGS.model_copy(update={"workers": 0}), 13))
    shared = list(run_tasks(SOURCE, iter(tasks()), SETTINGS.model_copy(update={"workers": 2}), 13))
    assert len(in_line) == len(shared) == len(tasks())
    for a, b in zip(in_line, shared, strict=True):
        np.testing.assert_allclose(stacked(a), stacked(b), atol=1e-6)
        np.testing.assert_allclose(a.prediction, b.prediction, atol=1e-6)
        assert list(a.counts) == list(b.counts)
        for name in a.counts:
            np.testing.assert_array_equal(a.counts[name], b.counts[name])
        assert {i: (e.code, str(e)) for i, e in a.errors.items()} == {
            i: (e.code, str(e)) for i, e in b.errors.items()
        }
    assert [list(r.errors) for r in shared] == [[], [2], [], [], []]


@pytest.mark.slow
def test_a_fault_in_the_tasks_reaches_the_caller():
    def broken():
        yield tasks()[0]
        raise StrataError("the store is damaged")

    for count in (0, 1):
        with pytest.raises(StrataError, match="damaged"):
            list(run_tasks(SOURCE, broken(), SETTINGS.model_copy(update={"workers": count}), 3))


ORPHANS = """
import os, sys, numpy as np
from core.params import Extract
from core.structure import Structure
from zoo.extraction import run_tasks
import multiprocessing

def endless():
    while True:
        yield [Structure(np.eye(3) * 4.0, [29], [[0, 0, 0]])]

if __name__ == "__main__":
    for _ in run_tasks("alignn_mp_eform", endless(), Extract(workers=1, threads=1, device="cpu"), 10):
        print(*(p.pid for p in multiprocessing.active_children()), flush=True)
        sys.stdin.read()
"""


@pytest.mark.slow
def test_workers_leave_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    parent = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    children = [int(word) for word in parent.stdout.readline().split()]
    parent.kill()
    parent.communicate()
    assert len(children) == 1
    for _ in range(100):
        if not any(map(alive, children)):
            return
        time.sleep(0.1)
    pytest.fail("a worker outlived its parent by ten seconds")


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_holds_no_engine_before_it_is_started():
    assert extraction._engine is None
