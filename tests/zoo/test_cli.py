"""The commands evaluate, report and predict as a user types them."""

import pytest
from typer.testing import CliRunner

from core.errors import StrataError
from zoo import predict as module
from zoo.cli import app
from zoo.predict import ChosenModel, Prediction

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


def test_report_writes_page_and_picture(here):
    call("evaluate")
    done = call("report", "--picture", "docs/result.svg", "--plot", "ase_elements/volume")
    assert done.exit_code == 0
    assert "report/index.html: 2 scored targets" in done.stdout
    assert (here.root / "report/index.html").read_text().startswith("<!doctype html>")
    assert "Å³/atom" in (here.root / "docs/result.svg").read_text()


def test_report_refuses_a_plot_that_is_no_target(here):
    call("evaluate")
    with pytest.raises(StrataError, match="'volume' is not DATASET/PROPERTY"):
        call("report", "--picture", "x.svg", "--plot", "volume")


def test_predict_prints_unit_head_and_error_and_names_what_failed(here, monkeypatch):
    model = ChosenModel(
        run_id="r",
        dataset="emt_alloys",
        property="volume",
        unit="Å³/atom",
        head="nn17",
        label="demo",
        feature_set="atom_8",
        source_model="alignn_mp_eform",
        extraction_id="e",
        folder=here.root,
        test_mae=1.25,
        base_test_mae=5.0,
    )
    found = [Prediction("a.cif", "a", "Al", 16.5), Prediction("b.cif", "b", "", None, "min_dist: too close")]
    monkeypatch.setattr(module, "predict", lambda *_: (model, found))
    done = call("predict", "a.cif", "b.cif", "--dataset", "emt_alloys", "--property", "volume")
    assert done.exit_code == 1
    assert "prediction (Å³/atom)" in done.stdout
    assert "16.5" in done.stdout
    assert (
        "head nn17 (demo) on atom_8 of alignn_mp_eform; MAE on its test part 1.25 Å³/atom; Base 5"
        in done.stdout
    )
    assert "EMT demonstration values" in done.stdout
    assert "b.cif: min_dist: too close" in done.stderr
    monkeypatch.setattr(module, "predict", lambda *_: (model, found[:1]))
    assert call("predict", "a.cif", "--dataset", "ase_elements", "--property", "volume").exit_code == 0


def test_predict_for_an_unknown_dataset_names_the_nearest(here):
    call("evaluate")
    with pytest.raises(StrataError, match=r"unknown dataset 'ase_element'.*did you mean 'ase_elements'"):
        call("predict", "a.cif", "--dataset", "ase_element", "--property", "volume")


def test_zoo_list_shows_every_card():
    done = call("zoo", "list")
    assert done.exit_code == 0
    assert "alignn_mp_eform" in done.stdout
    assert "eV/atom" in done.stdout
