"""The commands predict, explain and zoo as a user types them."""

import json
import re
import shutil

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from ase.build import bulk
from typer.testing import CliRunner

import strata
from core.errors import StrataError
from evaluation.evaluate import evaluate
from featurestore import StoreLayout, TableWriter
from featurestore.splits.schemes import split_dataset
from featurestore.tables.schema import GROWN
from heads.fit import fit
from tests.models import ELEMENTS, FOLDED, MODULUS, REAL
from tests.stores import EXTRACTION, add_dataset, add_features, small_store, structure_id
from zoo import load as loading
from zoo.show import DOMAIN

app = strata.command()
runner = CliRunner()
ALPHA = ("--dataset", "alpha", "--property", "energy")


def call(*args: str):
    """Run one command; errors meant for people come through as they are."""
    return runner.invoke(app, list(map(str, args)), catch_exceptions=False, env={"COLUMNS": "200"})


@pytest.fixture
def project(tmp_path, monkeypatch, folded, stand_in):
    """A folder with params.yaml and the store of made-up vectors; the work goes on in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(FOLDED.model_dump(mode="json")), encoding="utf-8")
    (tmp_path / "store").symlink_to(folded)
    return tmp_path


def test_predict_prints_values_with_intervals_domain_and_neighbours(project, files):
    done = call("predict", *files, *ALPHA)
    assert done.exit_code == 0
    header, *rows = [line for line in done.stdout.splitlines() if "┃" in line or "│" in line]
    for title in ("file", "structure", "formula", "prediction (eV)", "domain", "error there", "nearest"):
        assert title in header
    assert re.search(r"\d+(\.\d+)?% interval", header)
    assert [row.split("│")[3].strip() for row in rows] == ["ClNa", "Al", "H2O"]
    assert "outside: no Na Cl in training" in rows[0]
    assert DOMAIN in done.stdout
    assert re.search(
        r"ridge \(refit\) on synthetic/atom_bond_angle_last, \d+ training rows, model \w{12}", done.stdout
    )
    assert "fitted on split random-0-0; over the test parts of 2 repetitions MAE" in done.stdout
    assert done.stderr == ""


def test_rejects_are_named_and_end_with_one(project, files):
    (project / "close.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.01\n", encoding="utf-8")
    done = call("predict", files[0], "close.xyz", "gone.cif", *ALPHA)
    assert done.exit_code == 1
    assert "ClNa" in done.stdout
    assert "close.xyz: min_dist" in done.stderr
    assert "gone.cif cannot be read" in done.stderr
    assert "2 rejected" in done.stderr


def test_where_all_are_rejected_no_table_is_shown(project):
    done = call("predict", "gone.cif", *ALPHA)
    assert done.exit_code == 1
    assert "MAE" not in done.stdout
    assert "gone.cif cannot be read" in done.stderr


@pytest.mark.parametrize("ending", ["csv", "json", "parquet", "xlsx"])
def test_a_table_is_written_in_the_kind_of_its_name(project, files, ending):
    output = project / f"found.{ending}"
    done = call("predict", *files, "gone.cif", *ALPHA, "-o", output)
    assert done.exit_code == 1
    assert f"{output}: 4 rows" in done.stdout
    read = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet, "xlsx": pd.read_excel}[
        ending
    ]
    found = read(output)
    assert found["structure"].tolist() == ["salt", "POSCAR", "water", "gone"]
    assert found["value"].notna().tolist() == [True, True, True, False]
    assert found["low"].notna().tolist() == [True, True, True, False]
    assert "cannot be read" in found["error"][3]
    assert (found["low"][:3] < found["value"][:3]).all()


def test_folders_patterns_and_a_model_by_name(project, files):
    folder = call("predict", ".", "--model", "alpha/energy")
    named = call("predict", "*.cif", "*.xyz", "POSCAR", *ALPHA)
    for done in (folder, named):
        assert done.exit_code == 0
        assert all(formula in done.stdout for formula in ("ClNa", "H2O"))


def test_a_level_that_the_rows_do_not_reach_is_said(project, files):
    done = call("predict", files[0], *ALPHA, "--level", "0.999")
    rows = 36
    reached = 100 * (1 - 2 / (rows + 1))
    assert f"{rows} rows are too few for intervals of 99.9%: these hold {reached:.3g}%" in done.stdout
    assert f"{reached:.3g}% interval" in done.stdout
    assert "too few" not in call("predict", files[0], *ALPHA, "--level", "0.5").stdout
    with pytest.raises(StrataError, match="lies between 0 and 1"):
        call("predict", files[0], *ALPHA, "--level", "1.5")


def test_what_a_dataset_warns_of_is_repeated(project, files, folded):
    (project / "store").unlink()
    root = shutil.copytree(folded, project / "store")
    words = dict.fromkeys(("title", "provider", "material_class", "licence", "citation", "note"), "x")
    item = {"name": "energy", "unit": "eV", "description": "d", "origin": "computed", "paper_name": None}
    card = {"dataset": "alpha", **words, "caution": "made-up values", "properties": [item]}
    with TableWriter(StoreLayout(root).table("datasets", "alpha"), GROWN["datasets"], "test") as writer:
        writer.commit("card", pa.Table.from_pylist([card], GROWN["datasets"]))
    assert "alpha: made-up values" in call("predict", files[0], *ALPHA).stdout


def test_more_structures_than_fit_are_counted(project, tmp_path):
    many = "".join(f"1\n\nHe {i} 0 0\n" for i in range(45))
    (tmp_path / "many.xyz").write_text(many, encoding="utf-8")
    done = call("predict", "many.xyz", *ALPHA, "-o", "many.csv")
    assert "40 of 45 structures are shown; all of them with -o FILE" in done.stdout
    assert len(pd.read_csv(tmp_path / "many.csv")) == 45


def test_a_table_of_another_kind_is_refused_before_the_model_is_loaded(project, files, monkeypatch):
    monkeypatch.setattr(loading, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(StrataError, match=r"unknown kind of table '\.txt'"):
        call("predict", files[0], *ALPHA, "-o", "found.txt")
    with pytest.raises(StrataError, match=r"unknown kind of table '\.txt'"):
        call("explain", files[0], *ALPHA, "-o", "found.txt")


def test_a_model_must_be_named(project, files):
    with pytest.raises(StrataError, match="name the model: --model DATASET/PROPERTY"):
        call("predict", files[0])
    with pytest.raises(StrataError, match="did you mean 'energy'"):
        call("predict", files[0], "--dataset", "alpha", "--property", "enegy")


def test_one_row_makes_no_interval(tmp_path, monkeypatch, stand_in, files):
    """Three entries: one to learn from, one to validate, one to test."""
    monkeypatch.chdir(tmp_path)
    params = FOLDED.model_copy(
        update={"fit": FOLDED.fit.model_copy(update={"choose_by": "validation", "refit": False})}
    )
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")), encoding="utf-8")
    root = tmp_path / "store"
    add_dataset(root, "alpha", range(9), ["energy"])
    add_features(root, range(9))
    split_dataset(root, "alpha", schemes=("random",), seeds=(0,))
    fit("alpha", params, root)
    evaluate(params, root, tmp_path)
    done = call("predict", files[0], *ALPHA, "-o", "found.json")
    assert done.exit_code == 0
    assert "rows are too few for intervals of 90%: there are none" in done.stdout
    assert "none" in done.stdout
    (row,) = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert (row["low"], row["high"], row["level"]) == (None, None, 0.0)
    assert row["value"] is not None


def test_explain_says_which_atoms_and_writes_them(tmp_path, monkeypatch, elements):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(REAL.model_dump(mode="json")), encoding="utf-8")
    (tmp_path / "store").symlink_to(elements)
    alloy = bulk("Cu", cubic=True)
    alloy.symbols[0] = "Al"
    alloy.write(tmp_path / "alloy.vasp", format="vasp")
    done = call("explain", "alloy.vasp", "--model", f"{ELEMENTS}/{MODULUS}", "-o", "atoms.csv")
    assert done.exit_code == 0
    assert "The model predicts" in done.stdout
    assert "Cu (3 atoms)" in done.stdout
    assert "atoms.csv: 4 atoms" in done.stdout
    table = pd.read_csv(tmp_path / "atoms.csv")
    assert table.columns.tolist() == ["index", "element", "share"]
    assert sorted(table["element"]) == ["Al", "Cu", "Cu", "Cu"]
    with pytest.raises(StrataError, match="cannot be read"):
        call("explain", "gone.cif", "--dataset", ELEMENTS, "--property", MODULUS)


def test_zoo_list_shows_every_card():
    done = call("zoo", "list")
    assert done.exit_code == 0
    assert "alignn_mp_eform" in done.stdout
    assert "eV/atom" in done.stdout


def test_near_finds_kept_structures(tmp_path):
    store = str(small_store(tmp_path / "store", splits=False))
    told = call("near", "beta-3", "--k", "2", "--checkpoint", "angle_4", "--store", store)
    assert "Nearest to beta-3 by synthetic/angle_4" in told.output
    assert told.output.count(structure_id(0)[:40]) == 2
    assert EXTRACTION not in told.output


def test_zoo_show_has_what_identifies_a_model():
    done = call("zoo", "show", "alignn_mp_eform")
    card = yaml.safe_load(done.stdout)
    assert card["backbone"] == "alignn"
    assert len(card["weights_sha256"]) == 64


def test_zoo_verify_reads_the_weights():
    assert re.fullmatch(r"alignn_mp_eform: [0-9a-f]{64}\n", call("zoo", "verify", "alignn_mp_eform").stdout)


def test_a_source_model_without_weights_says_so():
    assert call("zoo", "verify", "magpie").output == "magpie: has no weights\n"
    listed = call("zoo", "list").output
    [line] = [line for line in listed.splitlines() if line.startswith("│ magpie")]
    assert "│ nothing" in line
    assert "│ none" in line
