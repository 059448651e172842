import pytest
import yaml
from typer.testing import CliRunner

import featurestore
from core.errors import StrataError
from core.params import load
from etl import cards
from etl.cli import app
from etl.own_cards import add_to_params, write_card
from tests.published import crystal


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with params.yaml, and beside it a stranger's folder of CIFs and a CSV."""
    monkeypatch.delenv(cards.CARDS_VARIABLE, raising=False)
    data = tmp_path / "their data"
    data.mkdir()
    for row in range(3):
        crystal(row).to_pymatgen().to(filename=str(data / f"c{row}.cif"), fmt="cif")
    (data / "id_prop.csv").write_text("c0.cif,0.5,10\nc1.cif,na,20\nc2.cif,1.5,30\n")
    here = tmp_path / "project"
    here.mkdir()
    (here / "params.yaml").write_text("# mine\ndatasets: [ase_elements]  # all\n\nsplit:\n  seeds: [3]\n")
    monkeypatch.chdir(here)
    return here, data


def call(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_one_command_from_a_folder_to_the_store(project):
    here, data = project
    text = call(
        *("ingest", data, "--name", "mine"),
        *("--property", "band_gap", "--unit", "eV", "--property", "hardness", "--unit", "GPa"),
    )
    assert "mine: 3 entries, 3 unique structures, 0 rejects" in text
    assert "added mine to datasets in params.yaml" in text
    found = featurestore.open("store").sql("SELECT property, entry_id, value, unit FROM targets ORDER BY ALL")
    assert found.fetchall() == [
        ("band_gap", "c0", 0.5, "eV"),
        ("band_gap", "c2", 1.5, "eV"),
        ("hardness", "c0", 10.0, "GPa"),
        ("hardness", "c1", 20.0, "GPa"),
        ("hardness", "c2", 30.0, "GPa"),
    ]
    assert load().datasets == ("ase_elements", "mine")
    assert (here / "params.yaml").read_text().startswith("# mine\ndatasets: [ase_elements, mine]  # all\n")
    assert "mine" in call("datasets", "list")
    assert str(data) in call("datasets", "show", "mine").replace("\n", "")
    # and from now on by its name, as the pipeline does
    assert "mine: 3 entries" in call("ingest", "mine")
    # again, with what changed
    (data / "id_prop.csv").write_text("c0.cif,0.5,10\n")
    assert "mine: 1 entries" in call("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV")
    assert featurestore.open("store").properties("mine") == {"gap": "eV"}


def test_the_card_lies_where_the_pipeline_looks_for_it(project, monkeypatch):
    here, data = project
    assert write_card(data, "mine", ["gap", "K"], ["eV", "GPa"]).samefile(here / "etl/datasets/mine.yaml")
    monkeypatch.setenv(cards.CARDS_VARIABLE, str(here / "cards"))
    (here / "cards").mkdir()
    assert write_card(data, "other", ["gap", "K"], ["eV", "GPa"]) == here / "cards" / "other.yaml"


def test_a_path_inside_the_project_stays_relative(project):
    here, data = project
    data.rename(here / "data")
    card = yaml.safe_load(write_card(here / "data", "mine", ["gap"], ["eV"]).read_text())
    assert card["path"] == "data"


def test_columns_by_name_and_by_choice(project):
    _, data = project
    (data / "id_prop.csv").write_text("file,gap,K\nc0,1,2\n")
    card = yaml.safe_load(write_card(data, "mine", ["hardness=K", "gap"], ["GPa", "eV"]).read_text())
    assert {key: item["column"] for key, item in card["properties"].items()} == {
        "hardness": "K",
        "gap": "gap",
    }
    for wrong in ("Gap", "x=Kv"):
        with pytest.raises(StrataError, match=r"unknown column.*did you mean"):
            write_card(data, "mine", [wrong], ["eV"])


@pytest.mark.parametrize(
    ("name", "properties", "units", "words"),
    [
        ("megnet", ["gap"], ["eV"], "is there already"),
        ("../x", ["gap"], ["eV"], "not a valid name"),
        ("mine", ["gap"], [], "1 properties and 0 units"),
        ("mine", [], [], "0 properties"),
        ("mine", ["a b"], ["eV"], "not a valid name"),
        ("mine", ["a", "b=value_1"], ["eV", "eV"], "two properties read"),
        ("mine", ["a", "b", "c"], ["eV"] * 3, "unknown column 'c'"),
    ],
)
def test_what_is_refused(project, name, properties, units, words):
    here, data = project
    with pytest.raises(StrataError, match=words):
        write_card(data, name, properties, units)
    assert not (here / "etl").exists()


def test_a_folder_that_is_gone(project):
    _, data = project
    write_card(data, "mine", ["gap"], ["eV"])
    data.rename(data.with_name("elsewhere"))
    with pytest.raises(StrataError, match="does not exist; the card names it"):
        call("ingest", "mine")


@pytest.mark.parametrize(("option", "word"), [("--origin", "measurd"), ("--material-class", "4D")])
def test_options_with_other_words(project, option, word):
    _, data = project
    with pytest.raises(StrataError, match=rf"unknown .*'{word}'"):
        call("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV", option, word)


def test_params_whose_list_is_written_otherwise(project):
    here, _ = project
    (here / "params.yaml").write_text("datasets:\n  - ase_g2\n")
    with pytest.raises(StrataError, match="add mine to `datasets` by hand"):
        add_to_params("mine")
    (here / "params.yaml").write_text("datasets: []\n")
    assert add_to_params("mine")
    assert not add_to_params("mine")
    assert load().datasets == ("mine",)
