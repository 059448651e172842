"""Tasks on a Ray cluster: as by processes of this machine, and done again where a worker was lost."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from core import ray_cluster, ray_executor
from core.channel import Channel
from core.errors import StrataError
from core.executor import Processes
from core.ray_cluster import Place, cluster
from core.ray_executor import OnRay, do
from tests.clusters import SmallCluster, small_cluster
from tests.core.test_executor import add, begin, collect, fail_at_one, fail_or_wait, threads


def test_a_place_is_the_folder_and_our_variables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRATA_RAW", "/raw")
    monkeypatch.setenv("SECRET", "stays")
    place = Place.here()
    assert (place.folder, "SECRET" in place.variables) == (str(tmp_path), False)
    monkeypatch.delenv("STRATA_RAW")
    monkeypatch.chdir("/")
    place.enter()
    assert (Path.cwd(), os.environ["STRATA_RAW"]) == (tmp_path, "/raw")
    Place(str(tmp_path / "not on this machine"), {}).enter()
    assert Path.cwd() == tmp_path


def test_without_workers_this_process_does_the_tasks():
    assert list(OnRay(0, begin, (100,)).ordered(add, range(3))) == [100, 101, 102]
    assert dict(OnRay(0, begin, (10,)).completed(add, range(2))) == {0: 10, 1: 11}


def test_how_many():
    assert OnRay.count(-1, 5000, 2000) == -1
    assert OnRay.count(-1, 1999, 2000) == 0
    assert OnRay.count(8, 100, 2000) == 8
    assert OnRay.count(8, 0, 2000) == 0
    assert OnRay.count(0, 5000, 2000) == 0


@pytest.mark.parametrize(
    ("address", "said"),
    [("ray://here:10001", "Ray Client.*host:port"), ("nonsense", r"RAY_ADDRESS is nonsense.*docs/cluster")],
)
def test_an_address_that_is_no_clusters_is_told(monkeypatch, address, said):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'strata[ray]'")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(StrataError, match=said), cluster():
        pass


def test_without_ray_the_extra_is_named(monkeypatch):
    def lacks(module: str, extra: str):
        raise StrataError(f"{module}: strata[{extra}]")

    monkeypatch.setattr(ray_cluster, "need", lacks)
    with pytest.raises(StrataError, match=r"ray: strata\[ray\]"):
        list(OnRay(2).ordered(abs, [1]))


def test_a_worker_is_prepared_once_for_all_tasks_of_an_executor(monkeypatch, tmp_path):
    monkeypatch.setattr(ray_executor, "_begun", "mine")
    assert do("mine", [], abs, -3) == 3  # the beginning is not looked at


@pytest.fixture(scope="module")
def nodes():
    with small_cluster(3) as found:
        yield found


@pytest.mark.slow
def test_results_errors_and_threads_are_as_by_processes(nodes, tmp_path):
    with cluster():
        assert list(OnRay(-1, begin, (100,)).ordered(add, range(20))) == list(range(100, 120))
        assert dict(OnRay(2, begin, (10,)).completed(add, range(5))) == {n: 10 + n for n in range(5)}
        (found,) = OnRay(1, threads=1).ordered(threads, [0])
        assert found == next(Processes(1, threads=1).ordered(threads, [0]))
        with pytest.raises(StrataError, match=r"^one is bad$"):
            list(OnRay(2).ordered(fail_at_one, range(3)))
        assert list(OnRay(1).ordered(tried, [tmp_path] * 2)) == [1, 2]  # so failures are not tried again
        asked = []
        results = OnRay(1).ordered(abs, (asked.append(n) or n for n in range(100)), ahead=3)
        assert next(results) == 0
        assert len(asked) <= 4
        results.close()


@pytest.mark.slow
def test_a_channel_brings_notes_and_the_wish_to_stop(nodes):
    with OnRay.channel(2) as channel:
        for n, _ in OnRay(2, set_channel, (channel,)).completed(note_until_stopped, range(2)):
            assert n in {0, 1}
            channel.stop()
        assert sorted(channel.notes()) == [0, 1]
        assert channel.stopped()


_channel: Channel | None = None


def set_channel(channel: Channel) -> None:
    global _channel  # noqa: PLW0603 - as a worker's user keeps it
    _channel = channel


def note_until_stopped(n: int) -> int:
    _channel.put(n)
    end = time.monotonic() + (0 if n == 0 else 60)
    while not _channel.stopped() and time.monotonic() < end:
        time.sleep(0.1)
    return n


def tried(folder: Path) -> int:
    count = len(list(folder.iterdir())) + 1
    (folder / str(count)).touch()
    return count


@pytest.mark.slow
def test_what_runs_beside_a_failure_ends_and_comes(nodes, tmp_path):
    fails, runs, never = tmp_path / "fails", tmp_path / "runs", tmp_path / "never"
    rounds, done = [], []

    def poll() -> None:
        rounds.append(fails.exists())
        if sum(rounds) == 3:
            runs.write_text("")

    with pytest.raises(StrataError, match=r"^failed as asked$"):
        collect(done, OnRay(2).completed(fail_or_wait, [fails, runs, never], poll))
    assert done == [runs]


def die_once(path: Path) -> str:
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def die(_n: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slowly(n: int) -> int:
    time.sleep(0.2)
    return n * n


@pytest.mark.slow
def test_a_lost_worker_is_replaced_and_a_task_that_kills_each_is_told(nodes, tmp_path):
    with cluster():
        paths = [tmp_path / str(n) for n in range(3)]
        assert list(OnRay(-1).ordered(die_once, paths)) == ["0", "1", "2"]
        for results in (OnRay(1).ordered(die, [0]), OnRay(1).completed(die, [0])):
            with pytest.raises(StrataError, match=r"lost 6 workers.*goes on.*`workers`"):
                list(results)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_kills_of_nodes_and_workers_change_no_result(seed):
    choice = random.Random(seed)
    with small_cluster(3) as found:
        got = []
        for n in OnRay(-1).ordered(slowly, range(40)):
            got.append(n)
            strike(found, choice, len(got))
        assert got == [n * n for n in range(40)]


def strike(found: SmallCluster, choice: random.Random, done: int) -> None:
    """Kill a worker early, and later a node."""
    if done == 5:
        found.kill_worker("do", choice)
    if done == 12:
        found.kill_node(choice)
