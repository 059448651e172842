import pytest
import yaml

from etl import cards
from etl.errors import StrataError
from etl.providers import PROVIDERS

NAMES = [
    "ase_elements",
    "ase_g2",
    "dielectric_constant",
    "emt_alloys",
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
    assert [card.name for card in found] == NAMES
    assert {card.provider for card in found} <= set(PROVIDERS)


def test_jarvis_3d_declares_its_25_columns():
    properties = cards.load_card("jarvis_3d").properties
    assert len({item.column for item in properties.values()}) == 25
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
