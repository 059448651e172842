import pytest
import yaml

from core.errors import StrataError
from etl import cards
from etl.providers import PROVIDERS

NAMES = [
    "ase_elements",
    "ase_g2",
    "dielectric_constant",
    "emt_alloys",
    "expt_formation_enthalpy",
    "expt_formation_enthalpy_kingsbury",
    "expt_gap_kingsbury",
    "flla",
    "hopv",
    "jarvis_2d",
    "jarvis_3d",
    "megnet",
    "piezoelectric_tensor",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(cards.CARDS_VARIABLE, str(tmp_path))
    return tmp_path


def write(folder, name="mine", **changes):
    card = {
        "name": name,
        "title": "My data",
        "note": "Mine.",
        "provider": "jarvis",
        "source": {"file": "mine.json.zip", "url": "https://example.org/mine"},
        "id_column": "id",
        "structure": {"column": "atoms", "format": "jarvis"},
        "material_class": "3D",
        "expected_rows": 3,
        "properties": {"gap": {"column": "g", "unit": "eV", "description": "gap", "origin": "measured"}},
        "licence": "CC0-1.0",
        "citation": "me",
    } | changes
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in card.items() if value is not None}))
    return path


def test_every_card_passes_the_schema_and_names_a_known_provider():
    found = cards.list_cards()
    assert [card.name for card in found if card.provider != "folder"] == NAMES  # but for a user's own
    assert {card.provider for card in found} <= set(PROVIDERS)


# The paper's own counts (section Datasets); MP is the source.
PAPER = {
    "jarvis_3d": 46,
    "jarvis_2d": 32,
    "hopv": 24,
    "dielectric_constant": 5,
    "flla": 3,
    "piezoelectric_tensor": 2,
    "expt_formation_enthalpy": 1,
    "expt_formation_enthalpy_kingsbury": 1,
    "expt_gap_kingsbury": 1,
    "megnet": 2,
}
# Of table 4, as its rows are named.
JARVIS_2D = [
    "BgOptb",
    "Deltae",
    "KLU",
    "Magout",
    "Encut",
    "Magoszi",
    "Epsx",
    "Epsy",
    "Epsz",
    "PPF",
    "NPF",
    "Exfoli",
    "NSB",
    "PSB",
    "Spillage",
    "Pem300k",
    "Nem300k",
    "Mepsz",
    "Mepsx",
    "SLME",
    "Mepsy",
    "ETC11",
    "ETC22",
    "BgMbj",
    "ETC12",
    "ETC44",
    "MaxM",
    "MinM",
    "ETC55",
    "ETC66",
    "ETC13",
    "ETC33",
]
ONLY_3D = [
    "Ehull",
    "KAA",
    "BulkKV",
    "ShearGV",
    "MaxIrM",
    "MinIrM",
    "PMDi",
    "PMDiEl",
    "PMDiIo",
    "PMEij",
    "PMDij",
]


def targets(name):
    properties = cards.load_card(name).properties.values()
    return [item for item in properties if not item.beyond_paper]


@pytest.mark.parametrize("name", PAPER)
def test_every_target_of_the_paper_is_on_a_card_with_unit_column_and_name(name):
    found = targets(name)
    assert len(found) == PAPER[name]
    assert all(item.unit and item.column and item.paper_name for item in found)
    assert len({item.paper_name for item in found}) == len(found)


def test_there_are_115_targets_and_the_two_of_the_source():
    assert sum(len(targets(name)) for name in PAPER) == 115 + 2


def test_the_names_of_the_tables():
    assert sorted(item.paper_name for item in targets("jarvis_2d")) == sorted(JARVIS_2D)
    named = {item.paper_name: item for item in targets("jarvis_3d")}
    assert {*JARVIS_2D, *ONLY_3D} < named.keys()
    further = named.keys() - {*JARVIS_2D, *ONLY_3D}
    assert len(further) == 3
    assert all(named[name].inferred for name in further)


def test_files_are_those_of_the_index_of_jarvis_tools():
    figshare = pytest.importorskip("jarvis.db.figshare")
    index = {url: f"{file}.zip" for url, file, *_ in figshare.get_db_info().values()}
    index["https://ndownloader.figshare.com/files/28332741"] = "megnet-mp-2019-04-01.json.zip"
    found = 0
    for card in cards.list_cards():
        sources = [*card.versions.values(), *card.library]
        sources += [card.source] if card.provider in ("jarvis", "hopv") and not card.versions else []
        for source in sources:
            assert index[source.url] == source.file, card.name
            found += 1
    assert found == 1 + 1 + 1 + 3 + 3 * 2


def test_files_and_hashes_are_those_that_matminer_publishes():
    import json
    from importlib.resources import files

    pytest.importorskip("matminer")
    text = files("matminer.datasets").joinpath("dataset_metadata.json").read_text(encoding="utf-8")
    published = json.loads(text)
    for card in cards.list_cards():
        if card.provider == "matminer":
            about = published[card.name]
            assert (card.source.url, card.source.sha256) == (about["url"], about["hash"])
            assert card.expected_rows == about["num_entries"]
            columns = {item.column for item in card.properties.values()} | {card.structure.column}
            assert columns <= about["columns"].keys()


def test_versions_of_a_dataset():
    card = cards.load_card("jarvis_3d")
    assert (card.version, card.expected_rows) == ("dft_3d_2021", 55_723)
    later = cards.load_card("jarvis_3d", "dft_3d_2022")
    assert (later.source.file, later.expected_rows) == ("jdft_3d-12-12-2022.json.zip", 75_993)
    assert later.of_version("dft_3d_2021") == card
    with pytest.raises(StrataError, match=r"unknown version 'dft_3d_2023'.*did you mean"):
        cards.load_card("jarvis_3d", "dft_3d_2023")
    with pytest.raises(StrataError, match="unknown version"):
        cards.load_card("megnet", "2")


def test_jarvis_3d_keeps_the_25_columns_of_2022():
    properties = cards.load_card("jarvis_3d").properties
    assert properties["seebeck_n"].unit == "µV/K"
    assert properties["formation_energy"].paper_name == "Deltae"


def test_emt_card_says_plainly_what_its_values_are():
    assert "EMT values, made for demonstration" in cards.load_card("emt_alloys").note


def test_unknown_dataset_names_the_nearest():
    with pytest.raises(StrataError, match="did you mean 'megnet'"):
        cards.load_card("megnt")


@pytest.mark.parametrize("name", ["../megnet", "x'; DROP TABLE entries --", "a\0b", "a" * 300, ""])
def test_names_that_may_not_become_paths(name):
    with pytest.raises(StrataError, match="not a valid name"):
        cards.load_card(name)


@pytest.mark.parametrize("formula", ["value", "value * 2", "__import__(os)", "largest(value", "largest()"])
def test_a_formula_that_cannot_be_read_breaks_the_card(folder, formula):
    item = {"column": "g", "unit": "eV", "description": "d", "origin": "measured", "formula": formula}
    write(folder, properties={"gap": item})
    with pytest.raises(StrataError, match=r"mine\.yaml, properties\.gap: .*formula"):
        cards.load_card("mine")


def test_two_cards_of_one_name_that_differ(folder):
    write(folder, name="megnet")
    with pytest.raises(StrataError, match="two cards are named megnet"):
        cards.load_card("megnet")


def test_cards_in_the_current_project(tmp_path, monkeypatch):
    monkeypatch.delenv(cards.CARDS_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "etl" / "datasets"
    own.mkdir(parents=True)
    write(own)
    (own / "megnet.yaml").write_bytes(
        (cards.CARDS / "megnet.yaml").read_bytes()
    )  # as in a copy of the project
    assert cards.load_card("mine").name == "mine"
    assert cards.load_card("megnet").name == "megnet"


def test_a_card_of_ones_own(folder):
    write(folder)
    assert cards.load_card("mine").properties["gap"].unit == "eV"
    assert "mine" in {card.name for card in cards.list_cards()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": None}, "licence: Field required"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"id_column": None}, "also needs id_column"),
        ({"properties": {"gap": {"column": "g", "description": "gap", "origin": "measured"}}}, "unit"),
        ({"properties": {}}, "properties"),
        ({"material_class": "4D"}, "material_class"),
        (
            {
                "properties": {
                    key: {"column": "g", "unit": "eV", "description": "gap", "origin": "measured"}
                    for key in ("a", "b")
                }
            },
            "two properties read the column g",
        ),
        (
            {"properties": {"a b": {"column": "g", "unit": "eV", "description": "d", "origin": "measured"}}},
            "property 'a b' is not a valid name",
        ),
    ],
)
def test_broken_cards_name_the_key(folder, changes, message):
    write(folder, **changes)
    with pytest.raises(StrataError, match=message):
        cards.load_card("mine")


def test_name_and_file_must_agree(folder):
    write(folder).rename(folder / "yours.yaml")
    with pytest.raises(StrataError, match=r"yours\.yaml: the card is named 'mine'"):
        cards.load_card("yours")


def test_card_files_that_cannot_be_read(folder):
    (folder / "latin.yaml").write_bytes("name: Å".encode("latin-1"))
    with pytest.raises(StrataError, match="not UTF-8 at byte 6"):
        cards.load_card("latin")
    (folder / "torn.yaml").write_text("name: [")
    with pytest.raises(StrataError, match="not valid YAML"):
        cards.load_card("torn")


def test_a_folder_of_cards_that_does_not_exist(monkeypatch, tmp_path):
    monkeypatch.setenv(cards.CARDS_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(StrataError, match="not a folder of dataset cards"):
        cards.load_card("megnet")
