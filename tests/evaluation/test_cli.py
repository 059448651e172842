"""The commands evaluate, report, experiment and datasets report as a user types them."""

import json
import re

import pytest
from typer.testing import CliRunner

from core.errors import StrataError
from evaluation.cli import app
from featurestore.splits.duplicates import update
from tests.evaluation.conftest import targets_of
from tests.two_datasets import ingested

runner = CliRunner()


@pytest.fixture
def here(small, monkeypatch):
    """Work in the folder of the small store."""
    monkeypatch.chdir(small.root)
    return small


def call(*args: str):
    """Run one command; errors meant for people come through as they are."""
    return runner.invoke(app, list(args), catch_exceptions=False, env={"COLUMNS": "200"})


def test_evaluate_prints_a_row_for_each_chosen_head(here):
    done = call("evaluate")
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines() if "ase_elements" in line]
    assert ["bulk_modulus" in rows[0], "volume" in rows[1], len(rows)] == [True, True, 2]
    assert {"ridge", "4", "70", "0.0571", "Å³/atom"} <= set(rows[1])
    assert (here.root / "metrics.json").exists()
    assert (here.root / "plots/scores.csv").exists()


def test_a_listed_dataset_without_values_is_said_and_left_out(here, monkeypatch):
    names = ", ".join([*here.params.datasets, "gone"])
    text = (here.root / "params.yaml").read_text()
    listed = re.sub(r"^datasets:(.*\n(- .*\n)*)", f"datasets: [{names}]\n", text, flags=re.MULTILINE)
    (here.root / "params.yaml").write_text(listed)
    said = "gone has no entries in the store and is left out"
    evaluated = call("evaluate")
    assert said in evaluated.stdout
    assert "volume" in evaluated.stdout
    assert said in call("report").output


def test_evaluate_says_what_is_left_out_and_what_was_seen(here, monkeypatch):
    plain = call("evaluate").stdout
    for word in ("composition", "rows left out", "label seen by"):
        assert word not in plain
    here.add_forest("volume", 3.0)
    here.add_run("fewer", "volume", "ridge", targets_of("volume") + 5.0, val_mae=5.0, lacks=[59], n_test=9)
    monkeypatch.setattr("evaluation.seen.has_seen", lambda _card, _dataset, prop: prop == "volume")
    done = call("evaluate").stdout
    for word in ("composition MAE", "rows left out", "label seen by"):
        assert word in done
    (row,) = [line.split() for line in done.splitlines() if " volume " in line]
    assert {"ridge", "alignn_mp_eform/atom_bond_angle_last", "4", "3", "1", "alignn_mp_eform"} <= set(row)
    assert "ase_elements/volume, random: 1 of 10 test rows are left out" in done


def test_audit_prints_tables_and_writes_a_csv(leaky, monkeypatch):
    monkeypatch.chdir(leaky.root)
    call("evaluate")
    done = call("audit", "ase_elements", "--property", "volume", "-o", "out/audit.csv")
    assert done.exit_code == 0
    (row,) = [line for line in done.stdout.splitlines() if " not affected" in line]
    cells = [cell.strip() for cell in row.split("│")]
    assert cells[4:7] == ["8", "MAE", "6.375"]  # errors 2 and 4, …, 10
    assert "get them with: strata ingest megnet" in done.stdout
    assert "out/audit.csv: 10 test entries" in done.stdout
    assert len((leaky.root / "out/audit.csv").read_text().splitlines()) == 11
    with pytest.raises(StrataError, match="lies inside the store"):
        call("audit", "ase_elements", "-o", "store/audit.csv")
    with pytest.raises(StrataError, match="cannot write out: Is a directory"):
        call("audit", "ase_elements", "-o", "out")


def test_report_writes_page_and_picture(here):
    call("evaluate")
    done = call("report", "--picture", "docs/result.svg", "--plot", "ase_elements/volume")
    assert done.exit_code == 0
    assert "report/index.html: 2 scored properties" in done.stdout
    assert (here.root / "report/index.html").read_text().startswith("<!doctype html>")
    assert "Å³/atom" in (here.root / "docs/result.svg").read_text()


def test_report_refuses_a_plot_that_is_no_target(here):
    call("evaluate")
    with pytest.raises(StrataError, match="'volume' is not DATASET/PROPERTY"):
        call("report", "--picture", "x.svg", "--plot", "volume")


def test_datasets_report_prints_facts_and_json(tmp_path, monkeypatch):
    store = ingested(tmp_path, monkeypatch)
    monkeypatch.chdir(store.parent)
    (tmp_path / "params.yaml").write_text("datasets: [one, two]\n")
    update(store)
    assert "1 the same structure, 2 the same crystal" in call("datasets", "report", "one").output
    said = json.loads(call("datasets", "report", "--json").output)
    assert [item["name"] for item in said] == ["one", "two"]
