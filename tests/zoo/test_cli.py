"""The commands predict and zoo as a user types them."""

import re

import pyarrow as pa
import yaml
from typer.testing import CliRunner

from core.params import Params
from etl.ingest import ingest
from featurestore import StoreLayout, TableWriter
from featurestore.tables.schema import GROWN
from tests.stores import EXTRACTION, add_dataset, small_store, structure_id
from zoo import predict as module
from zoo.cli import app
from zoo.predict import ChosenModel, Prediction

runner = CliRunner()


def call(*args: str):
    """Run one command; errors meant for people come through as they are."""
    return runner.invoke(app, list(args), catch_exceptions=False, env={"COLUMNS": "200"})


def test_predict_prints_unit_head_and_error_and_names_what_failed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("datasets: [ase_elements]\n")
    ingest("ase_elements", Params(), tmp_path / "store")  # what its card says is kept there
    words = dict.fromkeys(("title", "provider", "material_class", "licence", "citation", "note"), "x")
    card = {"dataset": "emt_alloys", **words, "caution": "EMT demonstration values", "properties": []}
    layout = StoreLayout(tmp_path / "store")
    add_dataset(layout.root, "emt_alloys", range(2))
    with TableWriter(layout.table("datasets", "emt_alloys"), GROWN["datasets"], "test") as writer:
        writer.commit("card", pa.Table.from_pylist([card], GROWN["datasets"]))
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
        folder=tmp_path,
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
