"""The one look at the test part."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import featurestore
from etl.errors import StrataError
from featurestore.log import snapshot
from zoo import evaluate as module
from zoo.evaluate import choose, current_runs, evaluate, score

DATASET = "ase_elements"
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


def files(small) -> dict[str, bytes]:
    """Return what evaluate wrote, by name."""
    names = ("metrics.json", "plots/parity.csv", "plots/scores.csv")
    return {name: (small.root / name).read_bytes() for name in names}


def scores(small) -> dict[str, tuple]:
    """Return run_id → (role, mae, n) from the store."""
    rows = featurestore.open(small.store).sql("SELECT run_id, role, mae, n FROM scores").fetchall()
    return {run_id: rest for run_id, *rest in rows}


def test_score_against_worked_values():
    # errors 1, 1, 2, 0; mean target 2.5: 1 - 6/5
    found = score(np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 1, 4]), resamples=0)
    assert found.mae == 1.0
    assert found.r2 == pytest.approx(-0.2, abs=1e-12)
    assert found.spearman == pytest.approx(0.4, abs=1e-12)  # ranks 1 2 3 4 and 2 3 1 4: 1 - 6·6/60
    assert (found.mae_low, found.mae_high, found.n) == (None, None, 4)


@given(arrays(float, st.integers(2, 40), elements=numbers))
def test_interval_holds_the_mae_and_repeats(actual):
    predicted = np.zeros_like(actual)
    first, second = (score(actual, predicted, resamples=60, seed=7) for _ in range(2))
    assert first == second
    tolerance = 1e-9 * (1 + first.mae)
    errors = np.abs(actual)
    assert errors.min() - tolerance <= first.mae_low <= first.mae_high <= errors.max() + tolerance


@given(arrays(float, 12, elements=numbers), st.permutations(range(12)))
def test_order_of_entries_does_not_matter(actual, order):
    predicted = np.sin(np.arange(12)) * 100
    one = score(actual, predicted, resamples=0)
    other = score(actual[order], predicted[order], resamples=0)
    assert one.mae == pytest.approx(other.mae, rel=1e-9)
    assert (one.r2 is None) == (other.r2 is None)


def test_interval_narrows_with_more_entries():
    errors = np.random.default_rng(0).exponential(size=4000)
    few, many = (score(errors[:n], np.zeros(n)) for n in (40, 4000))
    assert many.mae_high - many.mae_low < (few.mae_high - few.mae_low) / 4


@pytest.mark.parametrize(
    ("actual", "predicted", "undefined"),
    [
        ([5.0, 5.0], [1.0, 2.0], {"r2", "spearman"}),  # constant target
        ([1.0, 2.0], [3.0, 3.0], {"spearman"}),  # constant prediction: Base
        ([1.0], [2.0], {"r2", "spearman", "mae_low", "mae_high"}),
    ],
)
def test_undefined_is_none_and_never_nan(actual, predicted, undefined):
    found = score(np.array(actual), np.array(predicted), resamples=20)
    assert {
        name for name in ("mae_low", "mae_high", "r2", "spearman") if getattr(found, name) is None
    } == undefined


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_prediction_that_is_no_number_is_an_error(bad):
    with pytest.raises(StrataError, match="prediction 1 of 2"):
        score(np.array([1.0, 2.0]), np.array([1.0, bad]))


def test_different_lengths_and_no_entries_are_errors():
    with pytest.raises(StrataError, match=r"\(3,\) predictions against \(2,\) targets"):
        score(np.zeros(2), np.zeros(3))
    with pytest.raises(StrataError, match="cannot score"):
        score(np.zeros(0), np.zeros(0))


def table(*rows) -> pd.DataFrame:
    """Return runs of one target from (run_id, method, val_mae, seed)."""
    frame = pd.DataFrame(rows, columns=["run_id", "method", "val_mae", "seed"])
    return frame.assign(dataset="d", property="p", scheme="random", fold=0)


def test_tie_is_broken_by_run_id():
    runs = table(("z", "features", 1.0, 0), ("b", "features", 1.0, 0), ("a", "base", 9.0, 0))
    assert choose(runs)[["run_id", "role"]].to_numpy().tolist() == [["b", "chosen"], ["a", "base"]]


def test_every_split_has_its_own_choice():
    runs = table(("a", "features", 1.0, 0), ("b", "features", 2.0, 0), ("c", "features", 5.0, 1))
    assert choose(runs)["run_id"].tolist() == ["a", "c"]


def test_run_without_validation_error_is_never_chosen():
    runs = table(("a", "features", None, 0), ("b", "features", 2.0, 0))
    assert choose(runs)["run_id"].tolist() == ["b"]


def test_choice_is_by_validation_even_where_test_says_otherwise(small):
    evaluate(small.params, small.store, small.root)
    assert scores(small) == {
        "bulk_modulus-ridge": ["chosen", 4.0, 10],
        "bulk_modulus-mean": ["base", pytest.approx(35.0), 10],
        "volume-ridge": ["chosen", 4.0, 10],
        "volume-mean": ["base", pytest.approx(70.0), 10],
    }


def test_only_chosen_and_base_are_looked_at(small, monkeypatch):
    looked = []
    real = module.test_predictions
    monkeypatch.setattr(module, "test_predictions", lambda store, run: looked.append(run) or real(store, run))
    evaluate(small.params, small.store, small.root)
    assert sorted(looked) == sorted(scores(small))  # an audit row for each look
    assert not any("lightgbm" in run for run in looked)


def test_metrics_and_plots(small):
    evaluate(small.params, small.store, small.root)
    metrics = json.loads((small.root / "metrics.json").read_text())
    found = metrics[DATASET]["volume"]["random-0"]
    assert found["mae"] == 4.0
    assert found["base_mae"] == 70.0
    assert found["ratio"] == pytest.approx(4 / 70, rel=1e-5)
    assert (found["head"], found["feature_set"], found["unit"], found["n"]) == (
        "ridge",
        "atom_bond_angle_last",
        "Å³/atom",
        10,
    )
    with (small.root / "plots/parity.csv").open(newline="") as file:
        parity = list(csv.DictReader(file))
    assert len(parity) == 20
    assert {float(row["predicted"]) - float(row["actual"]) for row in parity} == {4.0}
    with (small.root / "plots/scores.csv").open(newline="") as file:
        bars = {row["target"]: float(row["ratio"]) for row in csv.DictReader(file)}
    assert bars == {"ase_elements bulk_modulus": 0.114286, "ase_elements volume": 0.0571429}


def test_second_evaluation_changes_no_byte(small):
    evaluate(small.params, small.store, small.root)
    before, version = files(small), snapshot(small.layout.scores).version
    evaluate(small.params, small.store, small.root)
    assert files(small) == before
    assert snapshot(small.layout.scores).version == version


def test_scores_are_replaced_and_come_back(small):
    wanted = small.layout.runs(DATASET).parent / "current.json"
    evaluate(small.params, small.store, small.root)
    first = scores(small)
    wanted.write_text(json.dumps(["volume-lightgbm", "volume-mean"]))
    evaluate(small.params, small.store, small.root)
    assert set(scores(small)) == {"volume-lightgbm", "volume-mean"}
    wanted.unlink()
    evaluate(small.params, small.store, small.root)
    assert scores(small) == first


def test_without_base_there_is_no_ratio(small):
    (small.layout.runs(DATASET).parent / "current.json").write_text('["volume-ridge"]')
    evaluate(small.params, small.store, small.root)
    found = json.loads((small.root / "metrics.json").read_text())[DATASET]["volume"]["random-0"]
    assert (found["mae"], found["base_mae"], found["ratio"]) == (4.0, None, None)


def test_run_that_fit_asked_for_and_is_not_there(small):
    (small.layout.runs(DATASET).parent / "current.json").write_text('["volume-ridge", "gone"]')
    with pytest.raises(StrataError, match=r"1 are not in the store \(first: gone\).*strata fit ase_elements"):
        evaluate(small.params, small.store, small.root)


def test_no_runs_says_what_to_do(small):
    store = featurestore.open(small.store)
    with pytest.raises(StrataError, match=r"no runs of ase_g2 .* strata fit ase_g2"):
        current_runs(store, small.store, "ase_g2")


def test_targets_that_changed_since_the_fit(small):
    small.add_run("short", "volume", "ridge", np.zeros(60), val_mae=0.1, n_test=11)
    with pytest.raises(StrataError, match=r"run short .*11 test entries were predicted, and 10"):
        evaluate(small.params, small.store, small.root)


def test_prediction_that_is_nan_names_the_run(small):
    small.add_run("broken", "volume", "ridge", np.full(60, np.nan), val_mae=0.1)
    with pytest.raises(
        StrataError, match=r"run broken \(ridge on ase_elements/volume\): prediction 0 of 10 is nan"
    ):
        evaluate(small.params, small.store, small.root)


def test_file_is_the_same_whatever_the_last_bits():
    assert module.significant(0.1 + 0.2) == module.significant(0.3) == 0.3
    assert module.significant(float("nan")) is None
