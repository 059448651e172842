"""Experiments are found, and each is one module."""

from pathlib import Path

import pytest
import yaml

from core.errors import StrataError
from core.params import load, parse
from evaluation import experiments as package
from evaluation.experiments import check, experiments, find, run
from featurestore.tables.log import snapshot
from tests.stores import add_dataset, flip

ROOT = Path(__file__).parents[3]


def test_every_experiment_has_a_section_a_module_and_a_page():
    section = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["experiments"]
    assert list(section) == list(experiments())  # in their order
    for name in experiments():
        assert (Path(package.__file__).parent / f"{name}.py").is_file()
        assert (ROOT / "docs" / "experiments" / f"{name.replace('_', '-')}.md").is_file()


@pytest.mark.parametrize("path", ["params.yaml", "bench/transfer-real.yaml"])
def test_settings_in_the_repository_are_valid(path):
    check(load(ROOT / path), path)


def test_an_unknown_experiment_names_the_nearest():
    with pytest.raises(StrataError, match=r"unknown experiment 'tranfer'.*did you mean 'transfer'"):
        find("tranfer")
    with pytest.raises(
        StrataError, match=r"unknown experiment 'tranfer' in p.yaml, experiments; did you mean 'transfer'"
    ):
        check(parse({"experiments": {"tranfer": {}}}), "p.yaml")


def test_an_unknown_setting_names_the_nearest_and_a_bad_one_its_value():
    with pytest.raises(
        StrataError, match=r"'seed' in params.yaml, experiments.transfer; did you mean 'seeds'"
    ):
        check(parse({"experiments": {"transfer": {"seed": 0}}}))
    with pytest.raises(
        StrataError, match=r"'epoch' in params.yaml, experiments.transfer, training; did you mean 'epochs'"
    ):
        check(parse({"experiments": {"transfer": {"training": {"epoch": 1}}}}))
    with pytest.raises(StrataError, match=r"params.yaml, experiments.size_effect, bins: .* got 1"):
        run("transfer", parse({"experiments": {"size_effect": {"bins": 1}}}))


ADDED = """
import pandas as pd
from core.params import Section
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.figures import Figure
from evaluation.experiments.results import Result
from evaluation.report.drawings import Chart, Mark, Series

class Settings(Section):
    factor: int = 2

def run(asked, params, store_root, out):
    row = {"dataset": "ase_elements", "property": "volume", "weight_sum": 21 * asked.factor}
    return Result("weighing", {"table": pd.DataFrame([row])})

def figures(result):
    chart = Chart("sums", "x (count)", "y (count)", (Series("a", (Mark(1, 42, "a tip"),)),))
    yield Figure("weighing-sums", "All sums", chart, ("ase_elements", "volume"))

EXPERIMENT = Experiment(
    name="weighing", title="Weighing", question="What do rows weigh?", paper="no paper", settings=Settings,
    run=run, tables={"table": Shown(("property", "dataset", "weight_sum"))}, figures=figures,
    words=lambda result: ["They weigh something."], headline=lambda row: f"weighs {row['weight_sum']}",
)
"""


def test_a_module_is_all_that_an_experiment_takes(small, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from evaluation.cli import app

    def strata(*words: str) -> str:
        done = CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "200"})
        assert done.exit_code == 0
        return done.output

    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "weighing.py").write_text(ADDED, encoding="utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.chdir(small.root)
    settings = "datasets: [ase_elements]\nexperiments: {weighing: {factor: 3}}\n"
    Path("params.yaml").write_text(settings, encoding="utf-8")
    assert "What do rows weigh?" in strata("experiment", "--list")
    said = strata("experiment", "weighing")
    assert all(part in said for part in ("What do rows weigh?", "Weight sum", "63"))
    assert Path("results/weighing/table.csv").read_text() == (
        "dataset,property,weight_sum\nase_elements,volume,63\n"
    )
    strata("evaluate")
    strata("report")
    page = Path("report/index.html").read_text(encoding="utf-8")
    for part in ("What do rows weigh?", "They weigh something.", "Weight sum", "All sums", "weighs 63"):
        assert part in page
    assert page.index('id="x-weighing"') < page.index('id="f-weighing-sums"')


def test_the_experiment_in_the_document_runs(synthetic, ask, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    (tmp_path / "kinship.py").write_text(text.partition("```python\n")[2].partition("```")[0])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    section = {"targets": {"alpha": ["energy"]}, "splits": ["random"], "heads": ["ridge"], "seeds": [0]}
    result = run("kinship", ask(kinship=section), synthetic, tmp_path / "results")
    assert result.tables["table"]["property"].tolist() == ["energy"]
    assert result.settings["feature_sets"]
    with pytest.raises(
        StrataError, match=r"'split' in params.yaml, experiments.kinship; did you mean 'splits'"
    ):
        run("kinship", ask(kinship={"split": ["random"]}), synthetic, tmp_path / "results")


def test_what_is_fitted_to_is_checked_first(tmp_path):
    add_dataset(tmp_path, "alpha", range(20))
    flip(snapshot(tmp_path / "entries" / "alpha").paths[0], 100)
    with pytest.raises(StrataError, match=r"entries/alpha.*damaged since it was committed"):
        run("transfer", parse({"datasets": ["alpha"], "experiments": {"transfer": {}}}), tmp_path, tmp_path)
