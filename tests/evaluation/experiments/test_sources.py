"""Experiments on a store of several source models: composition beside Base, common rows, labels seen."""

import pytest

from core.params import Params, parse
from evaluation.experiments import run
from evaluation.report.experiment_blocks import blocks
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Reject
from featurestore.tables.writer import TableWriter
from tests.stores import add_composition, describe, features, small_store, structure_id

REJECTED = range(3, 40, 6)  # of the second network, in the dataset alpha


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The synthetic store with a second network that rejects some structures, and with compositions."""
    root = small_store(tmp_path_factory.mktemp("sources") / "store", splits=False)
    numbers = [number for number in range(50) if number not in REJECTED]
    table = features(numbers, "f" * 16, seed=9)
    table = table.set_column(2, table.schema.field(2), [["noise"] * len(numbers)])
    describe(root, "f" * 16, "noise", is_default=False)
    rejects = [Reject(structure_id(number), "isolated", "an atom without neighbours") for number in REJECTED]
    with TableWriter(StoreLayout(root).features("noise"), table.schema, "extract") as writer:
        writer.commit("noise", table, rejects, {"extraction_id": "f" * 16, "source_model": "noise"})
    add_composition(root, range(50))
    return root


def params(**experiments) -> Params:
    return parse(
        {
            "datasets": ["alpha"],
            "extract": {"source_models": ["synthetic"]},
            "heads": {"forest": {"n_estimators": 20}, "ridge": {"alphas": [1.0]}},
            "evaluate": {"bootstrap": 20},
            "experiments": experiments,
        }
    )


TRANSFER = {"targets": {"alpha": ["energy", "gap"]}, "heads": ["ridge"], "seeds": [0]}


def test_composition_has_its_columns_everywhere(root, tmp_path):
    asked = params(transfer=TRANSFER)
    result = run("transfer", asked, root, tmp_path)
    table = result.tables["table"]
    # the made-up compositions hold the target, the made-up vectors hold it spread over a thousand numbers
    assert (table["composition"] < table["base"]).all()
    percent = 100 * (table["transfer"] / table["composition"] - 1)
    assert table["composition_change"].tolist() == pytest.approx(percent.tolist())
    assert set(result.tables["scores"]["role"]) == {"chosen", "composition", "base"}
    assert set(result.tables["validation"]["method"]) == {"base", "composition", "ridge"}
    found = result.metrics["random"]
    assert found["with_composition"] == 2
    assert 0 <= found["below_composition"] <= 2
    tests = run("significance", asked, root, tmp_path)
    assert set(tests.tables["table"]["against"]) == {"base", "composition"}
    size = run("size_effect", asked, root, tmp_path)
    assert set(size.tables["points"]["against"]) == {"base", "composition"}
    titles = {title for block in blocks(tmp_path) for grid in block.grids for title, _ in grid.columns}
    assert {"Composition MAE", "% against composition (negative is better)"} <= titles
    (said,) = next(block for block in blocks(tmp_path) if block.experiment.name == "transfer").words
    assert f"below the forest by composition for {found['below_composition']} of 2" in said


def test_every_network_stands_on_the_rows_that_all_have(root, tmp_path):
    section = {"targets": {"alpha": ["energy"]}, "heads": ["ridge"], "seeds": [0, 1]}
    asked = params(source_models=section | {"source_models": ["noise", "synthetic"]})
    result = run("source_models", asked, root, tmp_path)
    scores = result.tables["scores"]
    assert scores.groupby("seed")["n_test"].nunique().tolist() == [1, 1]
    whole = scores[scores["role"] == "composition"]
    assert (whole["n_train"] + whole["n_val"] + 4 == 40).all()  # of its own, the forest has every row
    assert any(
        note.startswith("alpha/energy, random: ") and "rows are left out" in note for note in result.notes
    )
    table = result.tables["table"].set_index("source")
    assert table["composition"].nunique() == 1
    assert {"synthetic", "noise"} == set(table.index)


def test_composition_stands_beside_each_kind_of_features(root, tmp_path):
    section = {"targets": {"alpha": ["energy"]}, "heads": ["ridge"], "seeds": [0]}
    table = run("checkpoints", params(checkpoints=section), root, tmp_path).tables["table"]
    assert "composition" not in set(table["kind"])
    assert table["composition"].notna().all()
    assert table["composition"].nunique() == 1


def test_targets_that_were_seen_are_marked_and_count_in_no_aggregate(root, tmp_path, monkeypatch):
    plain = run("transfer", params(transfer=TRANSFER), root, tmp_path)
    assert "seen" not in plain.tables["table"]
    monkeypatch.setattr("evaluation.seen.list_models", lambda: ["synthetic"])
    monkeypatch.setattr("evaluation.seen.load_card", lambda name: name)
    monkeypatch.setattr("evaluation.seen.has_seen", lambda _card, _dataset, prop: prop == "gap")
    result = run("transfer", params(transfer=TRANSFER), root, tmp_path)
    table = result.tables["table"].set_index("property")
    assert table["seen"].to_dict() == {"energy": None, "gap": "synthetic"}
    assert plain.metrics["random"]["targets"] == 2
    assert result.metrics["random"]["targets"] == 1
    assert set(result.metrics["random"]["mae"]["alpha"]) == {"energy"}
    note = "1 target is left out of what is said over all: synthetic was trained on the labels of alpha/gap."
    assert note in result.notes
    for name in ("significance", "size_effect"):
        of_all = run(name, params(transfer=TRANSFER), root, tmp_path)
        assert note in of_all.notes
    assert set(of_all.tables["points"]["property"]) == {"energy"}
    (block,) = [block for block in blocks(tmp_path) if block.experiment.name == "transfer"]
    assert "Label seen by" in [title for title, _ in block.grids[0].columns]
