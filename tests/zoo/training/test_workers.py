"""Trainings side by side: the same as one after another, and none lost whatever ends them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import featurestore
from core.errors import StrataError
from core.params import Finetune, Params
from etl.ingest import ingest
from featurestore import SplitKey, StoreLayout
from featurestore.splits.schemes import split_dataset
from tests.clusters import small_cluster
from zoo.training.finetune import train_all
from zoo.training.run import Ask
from zoo.training.trained import TrainedModel
from zoo.training.workers import count_workers

DATASET = "ase_elements"
SOURCE = "alignn_mp_eform"
SECTION = Finetune(epochs=1, batch_size=32, device="cpu", threads=1, workers=2)


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "store"
    ingest(DATASET, Params(), root)
    split_dataset(root, DATASET, ("random",), (0, 1))
    return root


def asks(settings: Finetune, *seeds: int) -> list[Ask]:
    return [Ask(DATASET, ("volume",), SplitKey("random", seed, 0), None, SOURCE, settings) for seed in seeds]


def predictions(root: Path) -> dict:
    return dict(
        featurestore.open(root).sql("SELECT run_id || entry_id, prediction FROM predictions").fetchall()
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_side_by_side_is_bit_for_bit_one_after_another(store, tmp_path, engine):
    with small_cluster(2) if engine == "ray" else nullcontext():
        section = SECTION.model_copy(update={"engine": engine})
        two = train_all(featurestore.open(store), DATASET, asks(section, 1, 0))
    assert [run.split.seed for run in two] == [1, 0]
    other = tmp_path / "other"
    ingest(DATASET, Params(), other)
    split_dataset(other, DATASET, ("random",), (0, 1))
    before = torch.get_num_threads()
    one = train_all(featurestore.open(other), DATASET, asks(SECTION.model_copy(update={"workers": 0}), 1, 0))
    torch.set_num_threads(before)
    assert [run.run_id for run in one] == [run.run_id for run in two]
    assert predictions(store) == predictions(other)
    for run in one:
        places = [StoreLayout(root).trained("models", DATASET) / run.run_id for root in (store, other)]
        first, second = map(TrainedModel.load, places)
        assert all(torch.equal(second.state[name], tensor) for name, tensor in first.state.items())
    assert not list((store / ".training").glob("[!.]*"))


@pytest.mark.slow
def test_what_runs_beside_a_failure_is_kept(store):
    bad = SECTION.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(StrataError, match=r"scratch ase_elements/volume random-0-0: training diverged"):
        train_all(featurestore.open(store), DATASET, [*asks(bad, 0), *asks(SECTION, 1)])
    ((seed,),) = featurestore.open(store).sql("SELECT seed FROM runs").fetchall()
    assert seed == 1


@pytest.mark.slow
def test_a_worker_that_is_killed_is_an_error_that_says_how_to_go_on(store):
    def kill() -> None:
        _until(multiprocessing.active_children)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StrataError, match=r"ended abruptly.*same command goes on.*workers"):
        train_all(featurestore.open(store), DATASET, asks(SECTION, 0, 1))
    killer.join()
    assert [run.split.seed for run in train_all(featurestore.open(store), DATASET, asks(SECTION, 0))] == [0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "number", "code"),
    [
        ("local", signal.SIGINT, 130),
        ("local", signal.SIGTERM, 143),
        ("local", signal.SIGKILL, -9),
        ("ray", signal.SIGTERM, 143),
        ("ray", signal.SIGKILL, -9),
    ],
)
def test_a_signal_to_the_parent_saves_all_and_the_same_command_goes_on(store, engine, number, code):
    if engine == "ray":
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'strata[ray]'")
    section = {"properties": {DATASET: ["volume"]}, "methods": ["scratch"], "epochs": 12, "batch_size": 64}
    section |= {"device": "cpu", "threads": 1, "engine": engine, "workers": 2, "checkpoint_seconds": 0}
    params = {"datasets": [DATASET], "finetune": section}
    file = store.parent / "params.yaml"
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    command = [sys.executable, "-m", "strata", "finetune", DATASET, "--store", str(store)]
    process = subprocess.Popen(command, cwd=store.parent, stderr=subprocess.DEVNULL, env=_environment())
    try:
        _until(lambda: len(_saved(store)) == 2)
        process.send_signal(number)
        assert process.wait(120) == code
    finally:
        process.kill()
    assert len(_saved(store)) == 2
    _until(lambda: _free(store))
    section |= {"engine": "local", "workers": 0}  # one after another goes on with what was begun side by side
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    again = subprocess.run(
        command, cwd=store.parent, check=False, capture_output=True, text=True, env=_environment()
    )
    assert again.returncode == 0, again.stderr
    ((runs,),) = featurestore.open(store).sql("SELECT count(*) FROM runs").fetchall()
    assert runs == 2
    assert not _saved(store)


def _saved(store: Path) -> set[Path]:
    """Return the trainings that have a checkpoint."""
    return {path.parent for path in (store / ".training").glob("[!.]*/[!.]*")}


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}


def _until(true) -> None:
    end = time.monotonic() + 180
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def _free(store: Path) -> bool:
    """Whether the trainings' own locks are free: workers of a killed parent end within a second or so."""
    from featurestore.tables.lock import WriterLock

    for folder in (store / ".training").glob("[!.]*"):
        lock = WriterLock(folder, "look")
        try:
            lock.acquire()
        except StrataError:
            return False
        lock.release()
    return True


def test_how_many_at_a_time(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    asked = [
        ({"threads": 1}, 24, 8),
        ({"threads": 3}, 24, 2),
        ({"threads": 1}, 3, 3),
        ({"threads": 1}, 1, 0),
        ({"threads": 0}, 24, 0),  # all cores for each
        ({"threads": 8}, 24, 0),
        ({"threads": 8, "workers": 4}, 24, 4),
        ({"threads": 1, "workers": 0}, 24, 0),
    ]
    found = [count_workers(Finetune(device="cpu", **settings), trainings) for settings, trainings, _ in asked]
    np.testing.assert_array_equal(found, [expected for *_, expected in asked])
