import pyarrow.parquet as pq
import pytest
import yaml

import featurestore
from core.composition import Composition
from core.errors import StrataError
from core.params import load, parse
from etl import cards
from etl.drift import drift
from etl.extract import extract
from etl.own_cards import add_to_params, own_card, save_card
from evaluation.report.dataset_facts import data_report
from featurestore import StoreLayout
from featurestore.splits.schemes import split_dataset
from featurestore.tables.log import snapshot
from tests.etl_commands import call


def write_card(data, name, properties, units, **more):
    return save_card(own_card(data, name, properties, units, origin="measured", **more))


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
        ("mine", ["gap"], [], "1 properties .gap. and 0 units .none.: give --unit once for all"),
        ("mine", [], [], "no property is named"),
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
    (here / "params.yaml").write_text("datasets:\n  - ase_g2  # mine, too\n")
    with pytest.raises(StrataError, match="add mine to `datasets` by hand"):
        add_to_params("mine")
    for before in ("datasets:\n  - ase_g2\nfit: {}\n", "datasets:      # all\n\n- ase_g2\n- ase_elements\n"):
        (here / "params.yaml").write_text(before)  # the second as DVC writes it
        assert add_to_params("mine")
        assert load().datasets[-1] == "mine"
    assert (here / "params.yaml").read_text() == "datasets: [ase_g2, ase_elements, mine]  # all\n"
    (here / "params.yaml").write_text("datasets: []\n")
    assert add_to_params("mine")
    assert not add_to_params("mine")
    assert load().datasets == ("mine",)


def test_one_command_from_formulas_to_the_store(project):
    here, data = project
    table = data / "compositions.csv"
    table.write_text(
        "formula,gap\nTiO2,3.2\nTi2O4,3.0\nFe0.5Ni0.5,0\nFe2O3-x,1\nZz2O,1\n,2\nNa0.12345Cl0.87655O0.5,1\nFmO,1\nEsO,na\n"
        "MdO,1\n"
    )
    text = call("ingest", table, "--name", "mine", "--property", "band_gap=gap", "--unit", "eV")
    assert "mine: 5 entries, 4 unique structures, 5 rejects" in text
    assert "of 4 of the structures only the composition is known" in text
    card = yaml.safe_load((here / "etl" / "datasets" / "mine.yaml").read_text())
    assert card["composition_column"] == "formula"
    assert "composition by column formula" in call("datasets", "show", "mine")
    store = featurestore.open("store")
    rejects = dict(store.sql("SELECT id, code FROM rejects").fetchall())
    assert rejects == {
        "compositions-3": "unreadable",
        "compositions-4": "no_features",
        "compositions-5": "no_structure",
        "compositions-6": "too_large",
        "compositions-9": "no_features",
    }
    found = store.sql(
        "SELECT formula, n_atoms, volume, has_positions, len(frac_coords), list_sum(lattice) FROM structures"
    ).fetchall()
    assert sorted(row[0] for row in found) == ["EsO", "FeNi", "FmO", "O2Ti"]
    assert {row[2:] for row in found} == {(0.0, False, 0, 0.0)}
    ids = [name for (name,) in store.sql("SELECT structure_id FROM structures").fetchall()]
    back = store.structures(ids)
    assert all(isinstance(item, Composition) for item in back)
    assert [item.structure_id for item in back] == ids


def test_formulas_beside_crystals_through_a_network_and_without_one(project):
    _, data = project
    (data / "compositions.csv").write_text("formula,gap\nTiO2,3.2\nFe2O3,2.0\nNaCl,8.5\nGaAs,1.4\nZnS,3.6\n")
    (data / "id_prop.csv").write_text("file,gap\nc0,1\nc1,2\n")
    call("ingest", data / "compositions.csv", "--name", "formulas", "--property", "gap", "--unit", "eV")
    call("ingest", data, "--name", "crystals", "--property", "gap", "--unit", "eV")
    params = parse(
        {
            "datasets": ["formulas", "crystals"],
            "extract": {"source_models": ["alignn_mp_eform", "magpie"], "device": "cpu", "workers": 0},
        }
    )
    network, plain = extract(params, "store")
    assert (network.extracted, network.rejected) == (2, {"no_structure": 5})
    assert (plain.extracted, plain.rejected) == (7, {})
    again = extract(params, "store")
    assert [report.extracted for report in again] == [0, 0]
    store = featurestore.open("store")
    assert len(store.matrix("formulas", "gap", "magpie/all").y) == 5
    assert len(store.matrix("crystals", "gap", "alignn_mp_eform/last+magpie/all").y) == 2
    [(reason,)] = store.sql("SELECT DISTINCT replace(message, formula, '…') FROM rejects JOIN structures "
                            "ON id = structure_id").fetchall()  # fmt: skip
    assert reason == "only the composition … is known; alignn needs atomic positions"
    assert drift("store", sample=7, source_model="magpie").agrees
    split_dataset("store", "formulas", ["grouped"], [0])
    with pytest.raises(StrataError, match="only the composition is known"):
        split_dataset("store", "formulas", ["grouped_prototype"], [0])


def test_the_same_folder_is_still_a_folder(project):
    _, data = project
    (data / "id_prop.csv").write_text("formula,gap\nc0,1\nc1,2\n")
    assert "composition_column" not in yaml.safe_load(write_card(data, "mine", ["gap"], ["eV"]).read_text())


def test_limits_are_left_out_with_a_count_and_a_reason(project):
    _, data = project
    (data / "id_prop.csv").write_text("c0.cif,>5,10\nc1.cif,na,20\nc2.cif,1.5,<= 0.1\n")
    text = call(
        *("ingest", data, "--name", "mine"),
        *("--property", "gap", "--unit", "eV", "--property", "hardness", "--unit", "GPa"),
    )
    assert "gap: 1 values are limits, not values; left out, the first >5 of c0" in text
    assert "hardness: 1 values are limits, not values; left out, the first <= 0.1 of c2" in text
    found = featurestore.open("store").sql("SELECT property, entry_id, value FROM targets ORDER BY ALL")
    assert found.fetchall() == [("gap", "c2", 1.5), ("hardness", "c0", 10.0), ("hardness", "c1", 20.0)]
    (facts,) = data_report("store", ["mine"])
    assert sorted((item.name, item.missing, item.left_out) for item in facts.properties) == [
        ("gap", 1, 1),
        ("hardness", 0, 1),
    ]
    assert "gap: 1 values left out as limits or as not positive" in facts.notes


def test_a_word_that_is_no_limit_is_an_error_still(project):
    _, data = project
    (data / "id_prop.csv").write_text("c0.cif,1,10\nc1.cif,>x,20\n")
    with pytest.raises(StrataError, match=r"record 1 .*'>x' is neither a number nor a null token"):
        call("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV")


def test_a_property_on_a_logarithmic_scale(project):
    _, data = project
    (data / "id_prop.csv").write_text("c0.cif,0.5,0\nc1.cif,2,-20\nc2.cif,1.5,30\n")
    words = (
        "--property",
        "gap",
        "--unit",
        "eV",
        "--property",
        "hardness",
        "--unit",
        "GPa",
        "--log",
        "hardness",
    )
    text = call("ingest", data, "--name", "mine", *words)
    assert "hardness: 2 values are not positive, and it is learned as their logarithm" in text
    assert "learned as a logarithm: hardness" in text
    store = featurestore.open("store")
    known = store.facts("mine").properties
    assert (known["gap"].transform, known["hardness"].transform) == (None, "log")
    asked = store.sql("SELECT property, transform FROM properties ORDER BY property").fetchall()
    assert asked == [("gap", None), ("hardness", "log")]
    assert store.sql("SELECT count(*) FROM targets WHERE property = 'hardness'").fetchall() == [(1,)]
    assert "learned as its logarithm" in call("datasets", "show", "mine")
    with pytest.raises(StrataError, match=r"unknown property 'hardnes'.*did you mean 'hardness'"):
        write_card(data, "mine", ["hardness"], ["GPa"], logs=["hardnes"])


def test_a_dataset_without_logarithms_keeps_the_bytes_of_its_card(project):
    _, data = project
    call("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV")
    (path,) = snapshot(StoreLayout(here := project[0] / "store").table("datasets", "mine")).paths
    assert "scales" not in pq.read_schema(path).names
    call("ingest", data, "--name", "other", "--property", "gap", "--unit", "eV", "--log", "gap")
    scales = {
        name: featurestore.open(here).facts(name).properties["gap"].transform for name in ("mine", "other")
    }
    assert scales == {"mine": None, "other": "log"}


def test_a_property_of_classes(project):
    here, data = project
    (data / "id_prop.csv").write_text("file,kind,gap\nc0,metal,0\nc1,na,1\nc2,insulator,>5\n")
    words = ("--property", "kind", "--unit", "class", "--property", "gap", "--unit", "eV")
    text = call("ingest", data, "--name", "mine", *words)
    assert "kind: classes insulator, metal" in text
    card = yaml.safe_load((here / "etl/datasets/mine.yaml").read_text())
    assert card["properties"]["kind"]["classes"] == ["insulator", "metal"]
    store = featurestore.open("store")
    found = store.sql(
        "SELECT entry_id, value, unit FROM targets WHERE property = 'kind' ORDER BY ALL"
    ).fetchall()
    assert found == [("c0", 1.0, "class"), ("c2", 0.0, "class")]
    assert store.facts("mine").properties["kind"].classes == ("insulator", "metal")
    query = "SELECT property, classes FROM properties ORDER BY property"
    assert store.sql(query).fetchall() == [("gap", None), ("kind", ["insulator", "metal"])]
    (facts,) = data_report("store", ["mine"])
    assert "kind: 1 insulator, 1 metal" in facts.notes
    # a label that the card does not know ends it, naming the record
    (data / "id_prop.csv").write_text("file,kind,gap\nc0,metal,0\nc1,metall,1\n")
    with pytest.raises(StrataError, match=r"record 1 \(c1\).*'metall' is none of the card's classes \(ins"):
        call("ingest", "mine")


def test_a_class_has_two_labels_at_least(project):
    _, data = project
    (data / "id_prop.csv").write_text("file,kind\nc0,metal\nc1,metal\n")
    with pytest.raises(StrataError, match=r"column 'kind': 1 different labels; a class has 2 to 100"):
        write_card(data, "mine", ["kind"], ["class"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": "class"}, "classes are listed where the unit is class"),
        ({"unit": "eV", "classes": ["a", "b"]}, "classes are listed where the unit is class"),
        ({"unit": "class", "classes": ["a", "a"]}, "two or more different labels"),
        ({"unit": "class", "classes": ["a", "b"], "transform": "log"}, "neither formula nor transform"),
    ],
)
def test_cards_that_say_classes_in_part(changes, words):
    facts = {"column": "x", "description": "d", "origin": "measured", **changes}
    with pytest.raises(ValueError, match=words):
        cards.Property.model_validate(facts)
