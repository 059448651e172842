"""The executor: results in order, tasks taken lazily, failures and lost workers told, none left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import StrataError
from core.executor import Processes, count

_base = 0


def begin(base: int) -> None:
    global _base  # noqa: PLW0603  # as a worker's user keeps what it made once
    _base = base


def add(n: int) -> int:
    return _base + n


def fail_at_one(n: int) -> int:
    if n == 1:
        raise StrataError("one is bad")
    return n


def collect(done: list[int], results) -> None:
    for task, _ in results:
        done.append(task)


def die(_n: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail_or_wait(path: Path) -> None:
    if path.name == "fails":
        path.write_text("")
        raise StrataError("failed as asked")
    wait_for(path)


def wait_for(path: Path) -> str:
    while not path.exists():
        time.sleep(0.05)
    return path.read_text()


def threads(_n: int) -> set[int]:
    import numpy as np  # noqa: F401  # brings a threaded library
    from threadpoolctl import threadpool_info

    return {library["num_threads"] for library in threadpool_info()}


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_the_order_of_tasks_and_each_worker_begins(workers):
    assert list(Processes(workers, begin, (100,)).ordered(add, range(20))) == list(range(100, 120))
    done = dict(Processes(workers, begin, (10,)).completed(add, range(5)))
    assert done == {n: 10 + n for n in range(5)}


@pytest.mark.parametrize(("workers", "taken"), [(0, 1), (1, 3)])
def test_tasks_are_taken_a_few_ahead(workers, taken):
    asked = []
    tasks = (asked.append(n) or n for n in range(100))
    results = Processes(workers).ordered(abs, tasks, ahead=3)
    assert next(results) == 0
    assert len(asked) == taken
    results.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_after_a_failure_no_more_is_begun(workers):
    asked, done = [], []
    tasks = (asked.append(n) or n for n in range(10))
    with pytest.raises(StrataError, match="one is bad"):
        collect(done, Processes(workers).completed(fail_at_one, tasks))
    assert (asked, done) == ([0, 1], [0])


def test_what_runs_beside_a_failure_ends_and_comes(tmp_path):
    fails, runs, never = tmp_path / "fails", tmp_path / "runs", tmp_path / "never"
    rounds, done = [], []

    def poll() -> None:
        rounds.append(fails.exists())
        if sum(rounds) == 3:  # the failure has come by then
            runs.write_text("")

    with pytest.raises(StrataError, match="as asked"):
        collect(done, Processes(2).completed(fail_or_wait, [fails, runs, never], poll))
    assert done == [runs]


def test_poll_ends_the_work_and_what_runs_is_told(tmp_path):
    path = tmp_path / "told"

    def poll() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Processes(1).completed(wait_for, [path], poll, lambda: path.write_text("end")))


def test_a_worker_that_dies_is_an_error_that_says_what_to_do():
    for results in (Processes(1).ordered(die, [0]), Processes(1).completed(die, [0])):
        with pytest.raises(StrataError, match=r"ended abruptly.*goes on.*`workers`"):
            list(results)


def test_workers_have_the_threads_they_are_given():
    (found,) = Processes(1, threads=1).ordered(threads, [0])
    assert found <= {1}


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = f"""
import os, pathlib
from core.executor import Processes
from tests.core.test_executor import report_and_wait
if __name__ == "__main__":
    list(Processes(1).ordered(report_and_wait, [pathlib.Path({str(tmp_path)!r})]))
"""
    path = tmp_path / "parent.py"
    path.write_text(script)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, str(path)], env=environment)
    worker = int(wait_for(tmp_path / "pid"))
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while _runs(worker):
        assert time.monotonic() < end
        time.sleep(0.1)


def report_and_wait(folder: Path) -> None:
    (folder / "writing").write_text(str(os.getpid()))
    (folder / "writing").rename(folder / "pid")
    time.sleep(600)


def _runs(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_how_many(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    assert count(-1, 5000, 2000) == 8
    assert count(-1, 1999, 2000) == 0
    assert count(-1, 24, 2, threads=3) == 2
    assert count(-1, 24, 2, threads=8) == 0
    assert count(-1, 3, 2) == 3
    assert count(4, 2, 2000) == 2
    assert count(0, 5000, 2000) == 0
