"""The loop: what a step does, best epoch, stopping and going on, divergence, several properties, freezing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import StrataError
from tests.training import QUICK, examples, network
from zoo.training import checkpoint
from zoo.training.examples import Scale
from zoo.training.initial import freeze
from zoo.training.loop import Paused, train
from zoo.training.trained import predict

ROOT = Path(__file__).parents[3]

# The last updates of bonds and of angles: nothing reads what they make.
UNUSED = {"gcn_layers.3.bn_edges.weight", "alignn_layers.3.edge_update.bn_edges.weight"}


def optimizer() -> torch.optim.Optimizer:
    """An optimizer to look at a checkpoint with."""
    return torch.optim.AdamW([torch.zeros(1)])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(folder: Path, *more: str, failpoint: str | None = None, **changes) -> subprocess.CompletedProcess:
    """Train in a process of its own (tests/zoo/training/trainer.py)."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("STRATA_FAILPOINT", None)
    if failpoint:
        environment["STRATA_FAILPOINT"] = failpoint
    command = [sys.executable, "-m", "tests.zoo.training.trainer", str(folder), json.dumps(changes), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)


def assert_same(state, other) -> None:
    assert state.keys() == other.keys()
    for name in state:
        assert torch.equal(state[name], other[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return train(network(), examples(folder), QUICK, folder / "run", "key")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["checkpoint_written:1", "checkpoint_partly_written:3"])
def test_killed_and_resumed_ends_with_the_same_weights(tmp_path, where, whole):
    assert run(tmp_path, failpoint=where).returncode == -signal.SIGKILL
    data = examples(tmp_path)
    assert checkpoint.load(tmp_path / "run", "key", network(), optimizer())[0].epoch in (1, 2)
    resumed = train(network(seed=5), data, QUICK, tmp_path / "run", "key")
    assert_same(resumed.state, whole.state)
    assert resumed.history == whole.history
    assert not list((tmp_path / "run").glob(".tmp-*"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_step_it_finds_and_ends(tmp_path, number, code, whole):
    stopped = run(tmp_path, str(int(number)), checkpoint_seconds=1000)
    assert stopped.returncode == code, stopped.stderr
    assert "Traceback" not in stopped.stderr
    data = examples(tmp_path)
    position, _, _ = checkpoint.load(tmp_path / "run", "key", network(), optimizer())
    assert (position.epoch, position.updates) in {(1, 4), (2, 4)}
    resumed = train(network(seed=5), data, QUICK, tmp_path / "run", "key")
    assert_same(resumed.state, whole.state)


def test_time_that_is_over_pauses_inside_an_epoch_and_goes_on(tmp_path, whole):
    data = examples(tmp_path)
    pauses = 0
    while True:
        try:
            parts = train(network(), data, QUICK, tmp_path / "parts", "key", seconds=0)
            break
        except Paused:
            pauses += 1
    assert pauses == 5  # two steps an epoch; after the last nothing is left to pause before
    assert_same(parts.state, whole.state)
    assert parts.history == whole.history


def test_learns_and_gives_back_units(tmp_path):
    data = examples(tmp_path)
    done = train(network(), data, QUICK.model_copy(update={"epochs": 25}), tmp_path / "run", "key")
    assert done.history[-1]["train_mae"][0] < 0.5 * done.history[0]["train_mae"][0]
    assert done.val_mae == min(row["val_mae"] for row in done.history)
    found = predict(done.state, done.architecture, network().features, data.graphs)
    rows = data.val[:, 0]
    assert np.abs(found[rows] - data.values[rows]).mean() == pytest.approx(done.val_mae[0], rel=1e-4)


def test_early_stopping_keeps_the_best_epoch(tmp_path):
    data = examples(tmp_path)
    settings = QUICK.model_copy(update={"epochs": 60, "patience": 2, "learning_rate": 3e-3})
    done = train(network(), data, settings, tmp_path / "run", "key")
    assert len(done.history) == done.best_epoch + 3 < 60


def test_targets_of_other_parts_do_not_matter(tmp_path):
    data = examples(tmp_path)
    scale = Scale.of(data)
    known = data.values[data.train[:, 0], 0]
    assert scale.mean[0] == pytest.approx(known.mean())
    assert scale.deviation[0] == pytest.approx(known.std())


def test_diverging_loss_stops_with_advice_and_keeps_the_checkpoint(tmp_path):
    data = examples(tmp_path)
    with pytest.raises(StrataError, match=r"diverged.*epoch \d+, step \d+.*lower learning_rate"):
        train(network(), data, QUICK.model_copy(update={"learning_rate": 1e30}), tmp_path / "run", "key")


def test_constant_target_is_refused(tmp_path):
    data = examples(tmp_path)
    data.values[:] = 3.0
    with pytest.raises(StrataError, match="p0: all 8 training values are 3; a constant cannot be learned"):
        train(network(), data, QUICK, tmp_path / "run", "key")


def test_checkpoint_of_another_training_is_refused(tmp_path):
    data = examples(tmp_path)
    train(network(), data, QUICK, tmp_path / "run", "key")
    with pytest.raises(StrataError, match="belongs to another training"):
        train(network(), data, QUICK, tmp_path / "run", "other")


def test_a_finished_training_is_not_run_again(tmp_path):
    data = examples(tmp_path)
    first = train(network(), data, QUICK, tmp_path / "run", "key")
    again = train(network(seed=9), data, QUICK, tmp_path / "run", "key")
    assert_same(first.state, again.state)


def test_several_properties_with_missing_values(tmp_path):
    data = examples(tmp_path, properties=2)
    assert np.isnan(data.values[:10, 1]).any()
    settings = QUICK.model_copy(update={"epochs": 25})
    done = train(network(2), data, settings, tmp_path / "run", "key")
    assert len(done.val_mae) == 2
    first, last = done.history[0]["train_mae"], done.history[-1]["train_mae"]
    assert all(b < a for a, b in zip(first, last, strict=True))


def test_missing_values_leave_no_trace(tmp_path):
    data = examples(tmp_path, properties=2)
    data.train[:, 1] &= np.arange(12) < 4
    data.values[~data.train & ~data.val] = np.nan
    one = train(network(2), data, QUICK, tmp_path / "one", "key")
    data.values[~data.train & ~data.val] = 1e6
    assert_same(one.state, train(network(2), data, QUICK, tmp_path / "two", "key").state)


@pytest.mark.parametrize("plan", ["embeddings", "all_but_last", "head"])
def test_what_is_frozen_stays_to_the_bit(tmp_path, plan):
    data, start = examples(tmp_path), network()
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    learns = set(freeze(start, plan))
    done = train(start, data, QUICK, tmp_path / "run", "key")
    after = {name: tensor for name, tensor in done.state.items() if not name.startswith("fc.")}
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    statistics = {
        f"{name.rpartition('.')[0]}.{kind}"
        for name in learns
        for kind in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert changed <= learns | statistics
    weights = {name for name in learns if name.endswith("weight") and name not in UNUSED | {"fc.weight"}}
    assert weights <= changed
