"""`strata screen`: what is left out first, then the ranking, on the screen and in files."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import featurestore
import strata
from core.errors import StrataError
from core.params import parse
from etl import plan
from evaluation.evaluate import evaluate
from featurestore.tables.log import Reject
from heads.fit import fit
from tests.stores import OTHER, SOURCE, add_dataset, add_other_features, small_store, structure_id
from zoo.model import Model

FIT = {
    "heads": ["ridge"],
    "properties": {"alpha": ["energy"]},
    "feature_sets": [f"{OTHER}/all"],
    "committee": None,
    "composition": None,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose model of alpha/energy reads the second source model, which lacks some of beta."""
    folder = tmp_path_factory.mktemp("command")
    root = small_store(folder / "store")
    add_other_features(root, range(45), [Reject(structure_id(45), "too_large", "")])
    add_dataset(root, "gamma", range(60, 62))
    params = {"datasets": ["alpha"], "extract": {"source_models": [SOURCE, OTHER]}, "fit": FIT}
    (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    fit("alpha", parse(params), root)
    evaluate(parse(params), root, folder)
    return folder


@pytest.fixture(autouse=True)
def there(made, monkeypatch):
    """The source models of the tests have no cards, so that nothing of them can be compared or measured."""
    monkeypatch.chdir(made)
    monkeypatch.setattr(Model, "check_sources", lambda self: None)
    monkeypatch.setattr(
        plan, "seconds_to_extract", lambda params, folder, names, over: dict.fromkeys(names, 75)
    )


def call(*words):
    result = CliRunner().invoke(
        strata.command(), ["screen", "--model", "alpha/energy", *words], env={"COLUMNS": "250"}
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_what_is_missing_comes_first_with_the_command_and_the_time(made):
    told = call("--over", "alpha", "--over", "beta").stderr
    assert "4 of 50 structures have no vectors by other" in told
    assert "strata extract other, about 75 s here" in told
    assert "1 of 50 structures cannot be read by other" in told
    assert "5 are left out, 45 are screened" in told
    assert call("--over", "alpha").stderr == ""


def test_the_table_names_value_unit_interval_chance_and_domain(made):
    shown = call("--over", "beta", "--minimum", "0", "--maximum", "9", "--top", "3").stdout
    for word in ("value (eV)", "interval", "chance", "domain", "nearest", "in training", "%"):
        assert word in shown
    assert "3 of 15 ranked, by chance" in shown
    assert "chance" not in call("--over", "beta").stdout
    assert "lowest first" in call("--over", "beta", "--lowest").stdout


@pytest.mark.parametrize("ending", ["csv", "parquet", "json", "xlsx"])
def test_files_have_the_rows_that_are_shown(made, tmp_path, ending):
    path = tmp_path / f"best.{ending}"
    told = call("--over", "beta", "--minimum", "0", "--top", "4", "-o", str(path)).stdout
    assert f"{path}: 4 rows" in told
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json, "xlsx": pd.read_excel}
    frame = read[ending](path)
    assert frame["rank"].tolist() == [1, 2, 3, 4]
    assert {"entries", "structure_id", "formula", "chance", "value", "low", "high", "domain"} <= {
        *frame.columns
    }


def test_it_is_kept_under_a_name(made):
    told = call("--over", "beta", "--save", "mine", "--top", "1").stdout
    assert "mine: 15 rows of the view screens" in told
    with featurestore.open("store") as store:
        assert store.sql("SELECT count(*) FROM screens WHERE screen = 'mine'").fetchall() == [(15,)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--over", "megent"), "unknown dataset 'megent'"),
        (("--over", "beta", "--minimum", "2", "--maximum", "1"), "exchange them"),
        (("--over", "beta", "--where", "formula ="), "--where 'formula ='"),
        (("--over", "beta", "--where", "entry_id IN (SELECT * FROM read_text('params.yaml'))"), "--where"),
        (("--over", "gamma"), "none of the 2 structures of gamma"),
        (("--over", "beta", "-o", "best.txt"), "unknown kind of table '.txt'"),
        (("--over", "beta", "--save", "a/b"), "not a valid name"),
        (("--over", "beta", "--top", "0"), "top is 0"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(made, words, message):
    before = {path for path in made.rglob("*") if path.is_file()}
    with pytest.raises(StrataError, match=message):
        call(*words)
    assert {path for path in made.rglob("*") if path.is_file()} == before


def test_a_window_that_nothing_can_reach_says_so(made):
    far = call("--over", "beta", "--minimum", "1e9").stdout
    assert "no chance is above 0" in far
    assert "no chance is above 0" not in call("--over", "beta", "--minimum", "0").stdout
    assert "on other/" in far  # what the model reads


def test_an_empty_answer_is_an_empty_table(made, tmp_path):
    told = call("--over", "beta", "--where", "n_atoms > 99", "-o", str(tmp_path / "none.csv"))
    assert "0 of 0 ranked" in told.stdout
    assert "none.csv: 0 rows" in told.stdout
    assert pd.read_csv(tmp_path / "none.csv").empty
