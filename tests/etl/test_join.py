import pytest

from core.composition import Composition
from core.errors import StrataError
from core.structure import InvalidStructure
from etl.cards import load_card
from etl.join import joined, or_composition
from etl.providers import Record
from tests.published import crystal, zipped

CARD = load_card("expt_gap_kingsbury")


def library(path, keys, first=0):
    records = [{"id": key, "atoms": crystal(first + i).to_jarvis_dict()} for i, key in enumerate(keys)]
    return zipped(path, records)


def join(tmp_path, keys, one=("mp-1", "mp-2"), two=("mp-2", "mp-3")):
    paths = [library(tmp_path / "a.json.zip", one), library(tmp_path / "b.json.zip", two, first=5)]
    records = [Record(str(i), None, {"likely_mpid": key}) for i, key in enumerate(keys)]
    return list(joined(records, CARD, paths))


def test_the_first_library_that_knows_an_id_is_taken(tmp_path):
    found = join(tmp_path, ["mp-3", "mp-1", "mp-2", "mp-1"])
    expected = [crystal(6), crystal(0), crystal(1), crystal(0)]
    assert [record.structure.structure_id for record in found] == [item.structure_id for item in expected]
    assert [record.entry_id for record in found] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("key", [None, "mp-9", "", float("nan"), 3])
def test_unknown_ids_are_told(tmp_path, key):
    [record] = join(tmp_path, [key])
    assert record.structure is None
    assert record.error.code == "no_structure"
    assert "a.json.zip, b.json.zip" in str(record.error)


def test_a_structure_that_cannot_be_read(tmp_path):
    path = zipped(tmp_path / "a.json.zip", [{"id": "mp-1", "atoms": {}}])
    other = library(tmp_path / "b.json.zip", ["mp-2"])
    [record] = joined([Record("0", None, {"likely_mpid": "mp-1"})], CARD, [path, other])
    assert record.error.code == "unreadable"


def test_a_library_of_another_form(tmp_path):
    path = zipped(tmp_path / "a.json.zip", [{"id": "mp-1"}])
    with pytest.raises(StrataError, match=r"a\.json\.zip, record 0: expected .* 'id' and 'atoms'"):
        list(joined([Record("0", None, {"likely_mpid": "mp-1"})], CARD, [path, path]))


FORMULAS = CARD.model_copy(update={"composition_column": "formula", "null_tokens": ("na",)})
ABSENT = InvalidStructure("no_structure", "unknown id")


def test_a_composition_stands_in_for_a_structure_that_is_not_found():
    records = [
        Record("with", crystal(0), {"formula": "SiO"}),
        Record("without", None, {"formula": "Si2O2"}, ABSENT),
        Record("never asked", None, {"formula": "Fe0.5Ni0.5"}),
    ]
    found = {record.entry_id: record for record in or_composition(records, FORMULAS, "here")}
    assert found["with"] is records[0]
    assert isinstance(found["without"].structure, Composition)
    assert [found[name].structure.formula for name in ("without", "never asked")] == ["OSi", "FeNi"]
    assert all(record.error is None for record in found.values())


@pytest.mark.parametrize("formula", [None, "na"])
def test_without_a_formula_the_reason_stays(formula):
    record = Record("0", None, {"formula": formula}, ABSENT)
    assert list(or_composition([record], FORMULAS, "here")) == [record]


@pytest.mark.parametrize(
    ("formula", "code"), [("Fe2O3-x", "unreadable"), ("Zz2O", "no_features"), (3.0, "unreadable")]
)
def test_a_formula_that_cannot_be_read_is_the_reason(formula, code):
    [record] = or_composition([Record("0", None, {"formula": formula}, ABSENT)], FORMULAS, "here")
    assert record.structure is None
    assert record.error.code == code


def test_a_structure_that_cannot_be_used_is_not_replaced():
    record = Record("0", None, {"formula": "SiO"}, InvalidStructure("disordered", "half of it"))
    assert list(or_composition([record], FORMULAS, "here")) == [record]


def test_aliases_of_the_card_hold_for_formulas():
    aliased = FORMULAS.structure.model_copy(update={"aliases": {"X": "H"}})
    card = FORMULAS.model_copy(update={"structure": aliased})
    [record] = or_composition([Record("0", None, {"formula": "X2O"})], card, "here")
    assert record.structure.formula == "H2O"


def test_a_column_that_no_record_has():
    with pytest.raises(StrataError, match=r"unknown column 'formula'.*did you mean 'formulas'"):
        list(or_composition([Record("0", None, {"formulas": "SiO"})], FORMULAS, "here"))
