import re
from pathlib import Path

import pytest
import yaml

import featurestore
import strata
from core.errors import StrataError
from core.params import load
from etl.own_data import ingest
from featurestore.splits.schemes import split_dataset
from tests.etl_commands import call, run
from tests.published import crystal

GAP = {"gap": "eV"}


def splits(scheme="published"):
    query = f"SELECT fold, entry_id, part FROM splits WHERE scheme = '{scheme}' ORDER BY ALL"
    return featurestore.open("store").sql(query).fetchall()


def test_records_none_of_which_can_be_used_are_an_error_and_leave_nothing(project):
    here, data = project
    before = (here / "params.yaml").read_text()
    (data / "id_prop.csv").write_text("x0.cif,1,10\nx1.cif,2,20\n")
    with pytest.raises(StrataError, match=r"none of 2 records can be used.*2 no_structure, the first: x0: "):
        call("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV")
    assert (here / "params.yaml").read_text() == before
    assert not (here / "etl").exists()
    assert not [
        path for path in (here / "store").rglob("*") if path.is_file() and not path.name.endswith(".lock")
    ]


def test_what_was_there_before_stays_where_nothing_can_be_used(project):
    here, data = project
    words = ("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV")
    call(*words)
    card = (here / "etl/datasets/mine.yaml").read_text()
    (data / "id_prop.csv").write_text("x0.cif,1,10\n")
    with pytest.raises(StrataError, match="nothing was kept"):
        call(*words)
    with pytest.raises(StrataError, match="nothing was kept"):
        call("ingest", "mine")
    assert (here / "etl/datasets/mine.yaml").read_text() == card
    assert featurestore.open("store").sql("SELECT count(*) FROM entries").fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("path", "shown"),
    [("x.csv", "x.csv"), ("in/x.parquet", "in/x.parquet"), ("../a b", "'../a b'"), ("~/cifs", "~/cifs")],
)
def test_a_path_without_a_name_is_told_the_command(project, path, shown):
    with pytest.raises(StrataError) as caught:
        run("ingest", path)
    told = f"strata ingest {shown} --name mine --property band_gap --unit eV --origin"
    assert told in str(caught.value)


def test_options_of_ones_own_data_for_a_dataset_that_is_known(project):
    with pytest.raises(StrataError, match=r"--unit, --origin: for data of your own, with --name"):
        run("ingest", "ase_elements", "--unit", "eV", "--origin", "measured")
    with pytest.raises(StrataError, match=r"unknown dataset 'ase_elemnts'.*did you mean 'ase_elements'"):
        run("ingest", "ase_elemnts")


def test_the_origin_is_asked_for(project):
    here, data = project
    words = ("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV")
    with pytest.raises(StrataError, match=r"--origin measured.*--origin computed.*--origin estimated"):
        run(*words)
    assert not (here / "store").exists()
    run(*words, "--origin", "computed")
    assert load_card()["properties"]["gap"]["origin"] == "computed"


def load_card():
    return yaml.safe_load(Path("etl/datasets/mine.yaml").read_text(encoding="utf-8"))


def test_one_unit_for_several_properties(project):
    _, data = project
    words = ("ingest", data, "--name", "mine", "--property", "a", "--property", "b")
    call(*words, "--unit", "electron volts")
    assert featurestore.open("store").properties("mine") == {"a": "eV", "b": "eV"}
    (data / "id_prop.csv").write_text("c0.cif,1,2,3\n")
    with pytest.raises(StrataError, match=r"3 properties \(a, b, c\) and 2 units \(eV, GPa\)"):
        call(*words, "--property", "c", "--unit", "eV", "--unit", "GPa")


def test_a_unit_that_is_none(project):
    _, data = project
    with pytest.raises(StrataError, match="unit of gap 'ev' is not understood; did you mean 'eV'"):
        call("ingest", data, "--name", "mine", "--property", "gap", "--unit", "ev")
    call("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV")
    card = (project[0] / "etl/datasets/mine.yaml").read_text()
    (project[0] / "etl/datasets/mine.yaml").write_text(card.replace("unit: eV", "unit: volts of electrons"))
    with pytest.raises(StrataError, match="the card of mine, unit of gap 'volts of electrons'"):
        call("ingest", "mine")


def test_a_column_split_becomes_the_published_split(project):
    _, data = project
    (data / "id_prop.csv").write_text("file,gap,Split\nc0,1,train\nc1,2,Validation\nc2,3,test\n")
    text = call("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV")
    assert "its own split, column Split: 1 train, 1 val, 1 test; it is used where published stands" in text
    split_dataset("store", "mine", ["published"], [0])
    assert splits() == [(0, "c0", "train"), (0, "c1", "val"), (0, "c2", "test")]
    assert "its own split: column Split" in call("datasets", "show", "mine")
    assert "mine: 3 entries" in call("ingest", "mine")  # again, from the card


def test_numbers_of_folds_are_tested_in_turn(project):
    _, data = project
    (data / "id_prop.csv").write_text("file,gap,split\nc0,1,0\nc1,2,1\nc2,3,2\n")
    assert "column split: 3 folds" in call(
        "ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV"
    )
    split_dataset("store", "mine", ["published"], [0])
    assert [(fold, entry) for fold, entry, part in splits() if part == "test"] == [
        (0, "c0"),
        (1, "c1"),
        (2, "c2"),
    ]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (
            ("train", "training set", "test"),
            r"record 1 \(c1\), column 'split': 'training set' is no part",
        ),
        (("0", "1", "0"), "2 folds; each is tested once"),
        (("0", "test", "train"), "0, test, train stand in one column"),
        (("train", "train", ""), "no row of the part test"),
        (("-1", "0", "1"), "'-1' is no part of a split"),
    ],
)
def test_a_split_that_is_none(project, cells, words):
    _, data = project
    rows = "".join(f"c{i},{i},{cell}\n" for i, cell in enumerate(cells))
    (data / "id_prop.csv").write_text(f"file,gap,split\n{rows}")
    with pytest.raises(StrataError, match=words):
        call("ingest", data, "--name", "mine", "--property", "gap", "--unit", "eV")
    assert load().datasets == ("ase_elements",)


def test_a_frame_in_memory_of_every_librarys_structures(project):
    pd = pytest.importorskip("pandas")
    jarvis = pytest.importorskip("jarvis.core.atoms").Atoms
    kinds = [
        crystal(0).to_pymatgen(),
        crystal(1).to_ase(),
        jarvis.from_dict(crystal(2).to_jarvis_dict()),
        crystal(3),
        None,
    ]
    frame = pd.DataFrame(
        {"s": kinds, "gap": [1, 2.5, ">5", "na", 3], "unused": [object()] * 5}, index=list("abcde")
    )
    added = strata.ingest(frame, "mine", GAP, origin="computed")
    assert "mine: 4 entries, 4 unique structures, 1 rejects" in str(added)
    assert added.is_listed_now
    store = featurestore.open("store")
    found = store.sql("SELECT entry_id, structure_id FROM entries ORDER BY position").fetchall()
    assert found == [(name, crystal(i).structure_id) for i, name in enumerate("abcd")]
    assert store.sql("SELECT value FROM targets ORDER BY entry_id").fetchall() == [(1.0,), (2.5,)]
    assert "mine: 4 entries" in call("ingest", "mine")  # as the pipeline does, from the file beside the card


def test_a_frame_of_formulas(project):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {"formula": ["TiO2", "NaCl", "no!"], "E_g": [3.2, 8.5, 1.0], "split": ["train", "test", None]}
    )
    added = ingest(frame, "mine", {"gap=E_g": "eV"}, origin="measured")
    assert (added.report.entries, added.report.own_split) == (2, "1 train, 1 test; val is drawn from train")
    entries = featurestore.open("store").sql("SELECT entry_id FROM entries ORDER BY ALL").fetchall()
    assert entries == [("mine-0",), ("mine-1",)]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"formula": [], "gap": []}, "the frame has no rows"),
        ({"a": [1]}, r"unknown column 'gap' in the frame.*known: a"),
        ({"gap": [1]}, "no column of the frame has structures"),
        ({"formula": ["no!"], "gap": [1]}, "none of 1 records can be used"),
    ],
)
def test_a_frame_that_cannot_be_used_leaves_nothing(project, columns, words):
    pd = pytest.importorskip("pandas")
    with pytest.raises(StrataError, match=words):
        ingest(pd.DataFrame(columns), "mine", GAP, origin="measured")
    assert not list((project[0] / "etl").rglob("*.*"))
    with pytest.raises(StrataError, match="properties are a mapping, such as"):
        ingest("x.csv", "mine", ["gap"], origin="measured")
    with pytest.raises(StrataError, match="this is a int"):
        ingest(3, "mine", GAP, origin="measured")
    with pytest.raises(StrataError, match=re.escape("unknown origin 'guessed'")):
        ingest("x.csv", "mine", GAP, origin="guessed")
