"""A property on a logarithmic scale, from its card to its scores."""

import json

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.params import parse
from evaluation.evaluate import evaluate
from evaluation.metrics import lines_of
from featurestore import StoreLayout, TableWriter
from featurestore.splits.schemes import split_dataset
from featurestore.tables.schema import GROWN, SCHEMAS
from heads.fit import fit
from tests.stores import SOURCE, add_dataset, add_features

HEADS = ["mean", "ridge"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """`alpha` with one property, exponentials of what a linear head can learn, learned as logarithms."""
    root = tmp_path_factory.mktemp("log") / "store"
    add_dataset(root, "alpha", range(40), ["energy"])
    add_features(root, range(40))
    layout = StoreLayout(root)
    rows = featurestore.open(root).sql("FROM targets").to_arrow_table().to_pylist()
    rows = [row | {"value": float(np.exp(row["value"] / 5))} for row in rows]
    with TableWriter(layout.targets("alpha"), SCHEMAS["targets"], "test") as writer:
        writer.retain([])
        writer.commit("positive", pa.Table.from_pylist(rows, SCHEMAS["targets"]))
    words = dict.fromkeys(("title", "provider", "material_class", "licence", "citation", "note"), "x")
    item = {"name": "energy", "unit": "eV", "description": "d", "origin": "measured", "paper_name": None}
    card = {"dataset": "alpha", **words, "properties": [item], "scales": json.dumps({"energy": "log"})}
    with TableWriter(layout.table("datasets", "alpha"), GROWN["datasets"], "test") as writer:
        writer.commit("card", pa.Table.from_pylist([card], GROWN["datasets"]))
    split_dataset(root, "alpha", schemes=("random",), seeds=(0,))
    return root


@pytest.fixture(scope="module")
def params():
    asked = {"heads": HEADS, "choose_by": "cv", "repeats": 1, "refit": True}
    return parse({"datasets": ["alpha"], "extract": {"source_models": [SOURCE]}, "fit": asked})


def test_it_is_fitted_in_logarithms_and_scored_in_both(store, params, tmp_path):
    report = fit("alpha", params, store)
    by_head = {run.head: run for run in report.runs}
    assert by_head["ridge"].label == "log refit"
    found = (
        featurestore.open(store)
        .sql(
            "SELECT part, prediction, value FROM predictions "
            "JOIN targets USING (dataset, property, entry_id) WHERE run_id = ?",
            [by_head["mean"].run_id],
        )
        .df()
    )
    train = found[found["part"] == "train"]
    geometric = np.exp(np.log(train["value"]).mean())
    assert np.allclose(train["prediction"], geometric)  # Base is the geometric mean
    scored = evaluate(params, store, tmp_path)
    (line,) = lines_of(scored)
    (chosen,) = line.scored
    pairs = chosen.predictions
    errors = np.abs(np.log10(pairs["predicted"] / pairs["actual"]))
    metrics = json.loads((tmp_path / "metrics.json").read_text())["alpha"]["energy"]["random-0"]
    assert metrics["log_mae"] == pytest.approx(errors.mean(), rel=1e-5)
    assert metrics["base_log_mae"] is not None
    assert metrics["mae"] == pytest.approx(np.abs(pairs["predicted"] - pairs["actual"]).mean(), rel=1e-5)
    assert (pairs["predicted"] > 0).all()


def test_runs_of_the_property_as_it_is_are_others(store, params):
    logs = {run.run_id for run in fit("alpha", params, store).runs}
    assert not fit("alpha", params, store).new
    with TableWriter(StoreLayout(store).table("datasets", "alpha"), GROWN["datasets"], "test") as writer:
        writer.retain([])
    plain = {run.run_id for run in fit("alpha", params, store).runs}
    assert not logs & plain
