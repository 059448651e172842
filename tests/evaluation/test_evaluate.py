"""The one look at the test part."""

import csv
import json

import numpy as np
import pytest
from hypothesis import strategies as st

import featurestore
from core.errors import StrataError
from evaluation.current_runs import current_runs
from evaluation.evaluate import evaluate
from evaluation.metrics import significant
from featurestore.tables.log import history, snapshot

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


def test_choice_is_by_validation_even_where_test_says_otherwise(small):
    evaluate(small.params, small.store, small.root)
    assert scores(small) == {
        "bulk_modulus-ridge": ["chosen", 4.0, 10],
        "bulk_modulus-mean": ["base", pytest.approx(35.0), 10],
        "volume-ridge": ["chosen", 4.0, 10],
        "volume-mean": ["base", pytest.approx(70.0), 10],
    }


def test_metrics_and_plots(small):
    evaluate(small.params, small.store, small.root)
    metrics = json.loads((small.root / "metrics.json").read_text())
    found = metrics[DATASET]["volume"]["random-0"]
    assert found["mae"] == 4.0
    assert found["base_mae"] == 70.0
    assert found["ratio"] == pytest.approx(4 / 70, rel=1e-5)
    assert found["n"] == 10
    with (small.root / "plots/parity.csv").open(newline="") as file:
        parity = list(csv.DictReader(file))
    assert len(parity) == 20
    assert {float(row["predicted"]) - float(row["actual"]) for row in parity} == {4.0}
    with (small.root / "plots/scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    words = [rows[1][name] for name in ("head", "reads", "unit")]
    assert words == ["ridge", "alignn_mp_eform/atom_bond_angle_last", "Å³/atom"]
    bars = {row["target"]: float(row["ratio"]) for row in rows}
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
    assert found["mae"] == 4.0
    assert not {"base_mae", "ratio"} & set(found)


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
    assert significant(0.1 + 0.2) == significant(0.3) == 0.3
    assert significant(float("nan")) is None


def metrics_of(small, prop: str) -> dict:
    evaluate(small.params, small.store, small.root)
    return json.loads((small.root / "metrics.json").read_text())[DATASET][prop]["random-0"]


def test_the_forest_by_composition_stands_beside_base_and_is_never_chosen(small):
    small.add_forest("volume", 0.5)  # better than every head, on the validation part too
    found = metrics_of(small, "volume")
    assert found["mae"] == 4.0  # ridge's
    assert (found["composition_mae"], found["composition_change"]) == (0.5, 700.0)
    assert "composition_mae" not in metrics_of(small, "bulk_modulus")
    assert scores(small)["volume-forest"] == ["composition", 0.5, 10]
    with (small.root / "plots/scores.csv").open(newline="") as file:
        beside = {row["property"]: row["composition"] for row in csv.DictReader(file)}
    assert beside == {"volume": "0.00714286", "bulk_modulus": ""}
    role = "SELECT role, base_test_mae FROM runs WHERE run_id = 'volume-forest'"
    assert featurestore.open(small.store).sql(role).fetchall() == [("composition", 70.0)]


def test_a_target_whose_label_the_source_model_has_seen_is_marked(small, monkeypatch):
    assert metrics_of(small, "volume")["seen"] == 0
    monkeypatch.setattr("evaluation.seen.has_seen", lambda card, _dataset, prop: (card.name, prop) == SEEN)
    assert metrics_of(small, "volume")["seen"] == 1
    assert metrics_of(small, "bulk_modulus")["seen"] == 0


SEEN = ("alignn_mp_eform", "volume")


@pytest.mark.parametrize("kind", ["targets", "predictions"])
def test_a_changed_byte_stops_it_before_it_scores(small, kind):
    folder = small.layout.table(kind, DATASET)
    path = snapshot(folder).paths[0]
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(StrataError, match=rf"{path.name}: .* damaged since it was committed"):
        evaluate(small.params, small.store, small.root)
    assert not small.layout.looks.exists()


def test_scores_are_replaced_in_one_entry(small):
    evaluate(small.params, small.store, small.root)
    (small.layout.runs(DATASET).parent / "current.json").write_text('["volume-lightgbm", "volume-mean"]')
    evaluate(small.params, small.store, small.root)
    first, second = history(small.layout.scores)
    assert (len(first.added), len(second.added), len(second.removed)) == (1, 1, 1)
