import pytest

from core.errors import StrataError
from etl.cards import load_card
from etl.join import joined
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
