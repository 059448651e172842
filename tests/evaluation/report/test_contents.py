"""What the page reads from the store."""

import json

import pytest

from core.errors import StrataError
from evaluation.evaluate import evaluate
from evaluation.report.contents import gather
from evaluation.report.tested import read_parity
from featurestore import Reject, TableWriter
from featurestore.tables.schema import ENTRIES


@pytest.fixture
def page(small):
    evaluate(small.params, small.store, small.root)
    return gather(small.params, small.store, small.root / "plots/parity.csv", small.root / "params.yaml")


def test_dataset_counts_and_targets(page):
    (dataset,) = page.datasets
    assert (dataset.card.name, dataset.entries, dataset.structures) == ("ase_elements", 60, 60)
    found = {target.chosen.name: target for target in page.targets}
    assert set(found) == {"bulk modulus", "volume"}
    volume = found["volume"]
    assert (volume.chosen.head, volume.chosen.mae, volume.base.mae) == ("ridge", 4.0, 70.0)
    assert volume.ratio == pytest.approx(4 / 70)
    assert volume.description == dataset.card.properties["volume"].description
    assert volume.bar("x").note == "ridge"


def test_runs_that_were_not_looked_at_have_no_test_score(page):
    assert len(page.runs) == 6
    scored = {run.run_id for run in page.runs if run.mae is not None}
    assert scored == {"bulk_modulus-ridge", "bulk_modulus-mean", "volume-ridge", "volume-mean"}
    assert {run.label for run in page.runs if run.head == "lightgbm"} == {"demo"}


def test_points_carry_the_formula(page):
    points = page.parity["ase_elements", "volume", "random-0"]
    assert len(points) == 10
    assert points[-1].name == "e59 (Al)"
    assert points[-1].predicted - points[-1].actual == 4.0


def test_checkpoints_that_heads_read_are_marked(page):
    used = [checkpoint.name for checkpoint in page.checkpoints if checkpoint.is_used]
    assert used == ["atom_8", "bond_8", "angle_4"]
    assert len(page.checkpoints) > len(used)


def test_provenance(page):
    tables = {table.name: table for table in page.tables}
    assert (tables["entries/ase_elements"].rows, tables["entries/ase_elements"].version) == (60, 1)
    assert len(tables["runs/ase_elements"].shards) == 6
    assert page.versions == {"numpy": "2.0"}
    assert page.params_text == "datasets: [ase_elements]\n"
    assert page.splits == ["random-0"]


def test_rejects_are_on_the_page(small):
    with TableWriter(small.layout.entries("ase_elements"), ENTRIES, "test") as writer:
        writer.commit("more", ENTRIES.empty_table(), [Reject("bad", "min_dist", "two atoms at one place")])
    evaluate(small.params, small.store, small.root)
    page = gather(small.params, small.store, small.root / "plots/parity.csv", small.root / "params.yaml")
    assert [(r.table, r.dataset, r.id, r.code) for r in page.rejects] == [
        ("entries", "ase_elements", "bad", "min_dist")
    ]


def test_what_the_datasets_hold(page):
    (facts,) = page.facts
    assert (facts.name, facts.entries, facts.structures) == ("ase_elements", 60, 60)
    by_name = {item.name: item for item in facts.properties}
    assert by_name["volume"].unit == "Å³/atom"
    assert (by_name["volume"].values, by_name["volume"].missing) == (60, 0)


def test_without_base_there_is_no_ratio_and_no_bar(small):
    (small.layout.runs("ase_elements").parent / "current.json").write_text(json.dumps(["volume-ridge"]))
    evaluate(small.params, small.store, small.root)
    page = gather(small.params, small.store, small.root / "plots/parity.csv", small.root / "params.yaml")
    (target,) = page.targets
    assert target.ratio is None
    assert target.bar("x") is None


def test_missing_scores_and_missing_plots_name_the_command(small, tmp_path):
    with pytest.raises(StrataError, match=r"no scores of the current runs of ase_elements.*strata evaluate"):
        gather(small.params, small.store, small.root / "plots/parity.csv", small.root / "params.yaml")
    with pytest.raises(StrataError, match=r"parity\.csv is missing.*strata evaluate"):
        read_parity(tmp_path / "parity.csv", {})
