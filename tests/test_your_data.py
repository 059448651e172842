"""A stranger's folder of CIFs and a CSV, by the three commands of the README."""

import re

import pytest
import yaml
from typer.testing import CliRunner

import strata
from core.params import Params
from etl import cards
from tests.conftest import ROOT
from tests.crystals import random_structure


def commands():
    """The three lines, as the README has them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own data")[1]
    return re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1].splitlines()


def stages(dataset):
    """What `dvc repro` calls for one dataset, in the order of the flow."""
    flow = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    names = {"${item.dataset}": dataset, "${item.source_model}": Params().extract.default}
    lines = [stage["cmd"] for stage in flow.values() if "foreach" not in stage]  # of `columns` there is none
    for word, name in names.items():
        lines = [line.replace(word, name) for line in lines]
    return lines


def run(line):
    result = CliRunner().invoke(strata.command(), line.split()[1:], env={"COLUMNS": "150"})
    assert result.exit_code == 0, f"{line}: {result.output} {result.exception!r}"
    return result.output


def test_three_commands(tmp_path, monkeypatch):
    np = pytest.importorskip("numpy")
    pytest.importorskip("torch")
    monkeypatch.delenv(cards.CARDS_VARIABLE, raising=False)
    folder = tmp_path / "cifs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for name in [f"c{i}" for i in range(12)] + ["new"]:
        structure = random_structure(rng, 2)
        structure.to_pymatgen().to(filename=str(folder / f"{name}.cif"), fmt="cif")
        if name != "new":
            rows.append(f"{name},{structure.volume / 10:.3f}\n")
    (folder / "id_prop.csv").write_text("".join(rows))
    monkeypatch.chdir(tmp_path)
    params = Params().model_dump(mode="json")
    params["datasets"] = []
    params["extract"]["workers"] = 0
    params["fit"]["heads"] = ["mean", "ridge"]
    params["finetune"]["properties"] = {}
    text = yaml.safe_dump(params, sort_keys=False)
    (tmp_path / "params.yaml").write_text(text)

    ingest, flow, predict = commands()
    assert flow == "dvc repro"
    assert "12 entries, 12 unique structures, 0 rejects" in run(ingest.replace("~/cifs", str(folder)))
    for line in stages("mine")[1:]:
        run(line)
    answer = run(predict.replace("new.cif", str(folder / "new.cif")))
    assert re.search(r"new\s+│\s+[A-Z]\w*\s+│\s+-?[\d.e+-]+", answer), answer
    assert "prediction (eV)" in answer
