"""A property of classes, from its card to predictions."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from ase.build import bulk

import featurestore
from core.errors import StrataError
from core.params import Params, parse
from evaluation.classes import ClassScored, reliability, score_classes
from evaluation.current_runs import current_runs
from evaluation.evaluate import evaluate
from evaluation.experiments.settings import Comparison
from evaluation.experiments.workspace import Workspace
from evaluation.leakage import audit
from evaluation.looked import errors_on_test
from evaluation.report.contents import gather
from evaluation.report.html import render
from featurestore import StoreLayout, TableWriter
from featurestore.splits.schemes import split_dataset
from featurestore.tables.schema import GROWN, SCHEMAS
from heads.fit import fit
from tests import models
from tests.stores import SOURCE, add_dataset, add_features, write
from zoo.predict import predict_structures
from zoo.stored import stored_model
from zoo.training.data import read as read_rows

LABELS = ["metal", "semiconductor", "insulator"]
FOREST_ID = "sklearn.ensemble.ExtraTreesClassifier"
NAME = "ase_elements"  # a name that has a card, which the page quotes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with numbers (energy) and classes (kind: thirds of what energy is), fitted and scored."""
    folder = tmp_path_factory.mktemp("classes")
    root, layout = folder / "store", StoreLayout(folder / "store")
    add_dataset(root, NAME, range(90), ["energy"])
    add_features(root, range(90))
    rows = featurestore.open(root).sql("FROM targets").to_arrow_table().to_pylist()
    thirds = np.searchsorted(
        np.quantile([row["value"] for row in rows], [1 / 3, 2 / 3]), [r["value"] for r in rows]
    )
    more = [
        row | {"property": "kind", "unit": "class", "value": float(code)}
        for row, code in zip(rows, thirds, strict=True)
    ]
    with TableWriter(layout.targets(NAME), SCHEMAS["targets"], "test") as writer:
        writer.commit("kind", pa.Table.from_pylist(more, SCHEMAS["targets"]))
    words = dict.fromkeys(("title", "provider", "material_class", "licence", "citation", "note"), "x")
    items = [
        {"name": name, "unit": unit, "description": "d", "origin": "measured", "paper_name": None}
        for name, unit in (("energy", "eV"), ("kind", "class"))
    ]
    card = {"dataset": NAME, **words, "properties": items, "scales": json.dumps({"kind": LABELS})}
    with TableWriter(layout.table("datasets", NAME), GROWN["datasets"], "test") as writer:
        writer.commit("card", pa.Table.from_pylist([card], GROWN["datasets"]))
    split_dataset(root, NAME, schemes=("random",), seeds=(0, 1))
    trees = {"class": FOREST_ID, "n_estimators": 20}
    params = parse(
        {
            "datasets": [NAME],
            "extract": {"source_models": [SOURCE]},
            "fit": {"heads": ["mean", "ridge", "logistic", "lightgbm", "trees"], "committee": "mean"},
            "heads": {"trees": trees, "lightgbm": {"n_estimators": 20}},
            "evaluate": {"bootstrap": 50},
        }
    )
    (folder / "params.yaml").write_text(f"datasets: [{NAME}]\n")
    report = fit(NAME, params, root)
    scored = evaluate(params, root, folder)
    return folder, params, report, scored


def test_heads_that_cannot_are_left_out_and_say_so(made, capsys):
    _, _, report, _ = made
    fitted = {name: {run.head for run in report.runs if run.property == name} for name in ("kind", "energy")}
    assert fitted["kind"] == {"mean", "logistic", "lightgbm", "trees"}
    assert fitted["energy"] == {"mean", "ridge", "lightgbm", "committee"}
    report.show()
    printed = capsys.readouterr().out
    for line in (
        "not applicable to kind: ridge predicts numbers, and these are classes",
        "not applicable to energy: logistic predicts classes, and these are numbers",
        "of the unit class: log loss in place of the MAE",
    ):
        assert printed.count(line) == 1


def test_a_probability_of_every_class_is_kept_for_every_entry(made):
    folder, _, report, _ = made
    store = featurestore.open(folder / "store")
    (run, *_) = [run for run in report.runs if (run.property, run.head) == ("kind", "logistic")]
    rows = store.sql("SELECT * FROM predictions WHERE run_id = ?", [run.run_id]).df()
    assert len(rows) == 90 * 3
    assert set(rows["label"]) == set(LABELS)
    np.testing.assert_allclose(rows.groupby("entry_id")["prediction"].sum(), 1)
    numbers = store.sql("SELECT count(*), count(label) FROM predictions WHERE property = 'energy'").fetchall()
    assert numbers[0][0] > 0 == numbers[0][1]
    kept = store.sql(
        "SELECT val_mae, cv_mae, val_log_loss FROM runs WHERE run_id = ?", [run.run_id]
    ).fetchall()
    assert kept == [(None, None, run.val_log_loss)]


def test_base_says_the_frequencies_and_the_choice_is_by_validation(made):
    folder, _, report, scored = made
    of = [s for s in scored if isinstance(s, ClassScored) and s.split == "random-0"]
    roles = {s.role: s for s in of}
    assert set(roles) == {"chosen", "base"}
    ((probability, right, rows),) = json.loads(roles["base"].score.calibration)
    query = (
        "SELECT max(n) / sum(n) FROM (SELECT count(*) AS n FROM splits "
        "JOIN targets USING (dataset, property, entry_id) "
        "WHERE property = 'kind' AND seed = 0 AND part = 'train' GROUP BY value)"
    )
    ((frequency,),) = featurestore.open(folder / "store").sql(query).fetchall()
    assert probability == pytest.approx(frequency, rel=1e-5)
    assert (right, rows) == (pytest.approx(roles["base"].score.accuracy, abs=1e-6), 9)
    of_kind = [run for run in report.runs if (run.property, run.split.seed) == ("kind", 0)]
    losses = {run.head: run.val_log_loss for run in of_kind if run.head != "mean"}
    assert roles["chosen"].head == min(losses, key=losses.get)
    metrics = json.loads((folder / "metrics.json").read_text())[NAME]
    assert metrics["kind"]["random"]["repetitions"] == 2
    assert {"balanced_accuracy", "balanced_accuracy_sd", "roc_auc", "log_loss", "calibration_error"} <= set(
        metrics["kind"]["random"]
    )
    base = [s.score.log_loss for s in scored if isinstance(s, ClassScored) and s.role == "base"]
    assert metrics["kind"]["random"]["base_log_loss"] == pytest.approx(np.mean(base), rel=1e-5)
    assert "mae" in metrics["energy"]["random"]


def test_runs_that_exist_are_skipped_and_looks_are_recorded(made):
    folder, params, report, _ = made
    assert fit(NAME, params, folder / "store").new == 0
    store = featurestore.open(folder / "store")
    looked = store.sql("SELECT DISTINCT role FROM looks WHERE property = 'kind' ORDER BY role").fetchall()
    assert looked == [("base",), ("chosen",)]
    runs = current_runs(store, folder / "store", NAME)
    assert len(runs) == len(report.runs)


def test_test_errors_of_a_scored_run_of_classes_are_the_entries_that_it_got_wrong(made):
    folder, _, _, scored = made
    store = featurestore.open(folder / "store")
    (one,) = [s for s in scored if isinstance(s, ClassScored) and (s.role, s.split) == ("chosen", "random-0")]
    errors = errors_on_test(store, one.run_id)
    assert set(errors) <= {0.0, 1.0}
    assert len(errors) == one.score.n
    assert 1 - errors.mean() == pytest.approx(one.score.accuracy)
    (place,) = [place for place in audit(folder / "store", NAME, "kind").places if place.split.seed == 0]
    assert place.is_of_classes
    assert place.entries["error"].sum() == errors.sum()


def test_the_page_shows_classes_apart_with_their_reliability(made):
    folder, params, _, _ = made
    params = params.model_copy(update={"extract": Params().extract})  # whose default model has a card
    page = gather(params, folder / "store", folder / "plots/parity.csv", folder / "params.yaml")
    assert [target.chosen.prop for target in page.targets] == ["energy"]
    (answer,) = page.classes
    target = answer.target
    assert (target.classes, target.figures["balanced_accuracy"].n) == (tuple(LABELS), 2)
    assert sum(rows for _, _, rows in target.bins) == target.n
    html = render(page)
    assert "of 2 properties worth using" in html
    assert html.count('<details class="property"') == 2
    table = html[html.index('id="t-classes"') :]
    assert "metal, semiconductor, insulator" in table[: table.index("</table>")]
    assert "said 0." in html
    facts = {item.name: item for item in page.facts[0].properties}
    assert facts["kind"].labels == dict.fromkeys(LABELS, 30)
    assert facts["kind"].quantiles == ()


def test_predict_gives_labels_with_their_probabilities(made, tmp_path, monkeypatch):
    folder, params, _, _ = made
    models.stand_in(monkeypatch)
    model = stored_model(featurestore.open(folder / "store"), NAME, "kind", params)
    seen = int(model.calibration.rows[0].entry_id.rpartition("-")[2])
    structures = [models.of_store(seen), bulk("Al"), bulk("Al", cubic=True) * (3, 1, 1)]
    found = predict_structures(model, structures)
    chances = found[[f"p_{label}" for label in LABELS]].to_numpy()[:2]
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert found["value"].tolist() == [*(LABELS[i] for i in chances.argmax(axis=1)), ""]
    np.testing.assert_allclose(found["probability"][:2], chances.max(axis=1))
    assert found["near_1"][0] in found["in_training"][0].split(", ")
    assert found["near_1_value"][0] in LABELS
    assert found["new_elements"].tolist() == ["", "Al", ""]
    assert found["error"].tolist() == ["", "", "too_large: ten atoms"]
    assert np.isnan(found["probability"][2])
    assert "low" not in found  # classes have probabilities in place of intervals
    assert model.calibration.intervals is None
    assert 0 < model.card.balanced_accuracy <= 1
    assert model.card.test_mae is None


def test_networks_of_a_targets_own_refuse_classes(made):
    folder, _, report, _ = made
    store = featurestore.open(folder / "store")
    with pytest.raises(
        StrataError, match="kind is a property of classes, and these networks predict numbers"
    ):
        read_rows(store, NAME, ["kind"], report.runs[0].split)


def test_experiments_take_numbers_alone(made, tmp_path):
    folder, params, _, _ = made
    root = shutil.copytree(folder / "store", tmp_path / "store")
    assert Workspace("all", params, Comparison(), root).targets == {NAME: ("energy",)}
    with pytest.raises(StrataError, match="kind is a property of classes, and experiments compare errors"):
        Workspace("all", params, Comparison(targets={NAME: ("kind",)}), root)


def test_a_table_that_was_joined_keeps_its_labels(made, tmp_path):
    folder, params, report, _ = made
    root = shutil.copytree(folder / "store", tmp_path / "store")
    with TableWriter(StoreLayout(root).table("datasets", NAME), GROWN["datasets"], "test") as writer:
        writer.retain([])
    write(StoreLayout(root).table("datasets", NAME), "datasets", SCHEMAS["datasets"].empty_table())
    only = params.model_copy(
        update={"fit": params.fit.model_copy(update={"properties": {NAME: ("energy",)}})}
    )
    fit(NAME, only, root)
    labels = (
        featurestore.open(root).sql("SELECT count(label) FROM predictions WHERE property = 'kind'").fetchall()
    )
    assert labels == [(90 * 3 * sum(run.property == "kind" for run in report.runs),)]


def test_scores_of_probabilities_by_hand():
    codes = np.array([0, 0, 0, 1])
    chances = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.3, 0.7]])
    found = score_classes(codes, chances, resamples=20)
    assert found.accuracy == 0.75
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert found.roc_auc == pytest.approx(2 / 3)
    assert found.log_loss == pytest.approx(-np.log([0.8, 0.6, 0.1, 0.7]).mean())
    assert found.balanced_accuracy_low <= found.balanced_accuracy <= found.balanced_accuracy_high
    assert score_classes(np.array([0, 0]), chances[:2]).roc_auc is None  # a class is not there
    assert sum(rows for _, _, rows in reliability(codes == 0, chances.max(axis=1))) == 4
