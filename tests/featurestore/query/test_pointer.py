import json

import pytest

import featurestore
from core.errors import StrataError
from featurestore.query import pointer
from featurestore.query.views import read_tables
from featurestore.splits.schemes import split_dataset
from featurestore.tables import maintenance
from featurestore.tables.layout import StoreLayout
from featurestore.tables.writer import TableWriter


@pytest.fixture
def pointed(store_root, tmp_path):
    """A store, and a pointer to it as it stands."""
    return store_root, written(store_root, tmp_path / "store.json")


def written(root, out):
    tables, _ = read_tables(StoreLayout(root))
    pointer.write(root, {table.snapshot.folder: table.snapshot for table in tables}, out)
    return out


COUNT = "SELECT count(*) FROM splits"


def test_it_opens_the_store_as_it_was(pointed, tmp_path):
    root, path = pointed
    before = featurestore.open(root).sql(COUNT).fetchall()
    assert written(root, tmp_path / "again.json").read_bytes() == path.read_bytes()
    split_dataset(root, "alpha", ["random"], [0, 1, 2])
    maintenance.compact(root)
    assert featurestore.open(root).sql(COUNT).fetchall() != before
    then = featurestore.open(root, str(path))
    assert then.sql(COUNT).fetchall() == before
    assert then.version == json.loads(path.read_text())["version"]
    assert written(root, tmp_path / "now.json").read_bytes() != path.read_bytes()


def test_what_gc_took_is_said(pointed):
    root, path = pointed
    maintenance.compact(root)
    maintenance.gc(root, older_than=0)
    with pytest.raises(StrataError, match=r"can no longer be opened at .*store\.json: `strata store gc`"):
        featurestore.open(root, str(path))


def test_another_history_is_not_taken_for_it(pointed):
    root, path = pointed
    facts = json.loads(path.read_text())
    facts["tables"]["entries/alpha"]["sha256"] = "0" * 64
    path.write_text(json.dumps(facts))
    with pytest.raises(StrataError, match=r"entries/alpha of .* is not, at entry 1, what it was"):
        featurestore.open(root, str(path))
    facts["tables"]["entries/alpha"]["version"] = 9
    path.write_text(json.dumps(facts))
    with pytest.raises(StrataError, match="names entry 9 of"):
        featurestore.open(root, str(path))


def test_a_table_that_is_not_there_is_named(pointed):
    root, path = pointed
    facts = json.loads(path.read_text())
    facts["tables"]["entries/gamma"] = facts["tables"]["entries/alpha"]
    path.write_text(json.dumps(facts))
    with pytest.raises(StrataError, match="names the table entries/gamma, which"):
        featurestore.open(root, str(path))


def test_a_table_that_came_later_is_left_out(pointed):
    root, path = pointed
    layout = StoreLayout(root)
    schema = maintenance.schema_of("entries", layout.entries("alpha"))
    with TableWriter(layout.entries("late"), schema, "test") as writer:
        writer.commit("k", schema.empty_table())
    assert "late" not in featurestore.open(root, str(path)).datasets()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"pointer": 2, "tables": {}}', '{"pointer": 1, "tables": {"../x": {}}}', "[" * 10**5],
)
def test_a_file_that_is_no_pointer_is_refused(store_root, tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StrataError, match=r"a\.json is no pointer to a store"):
        featurestore.open(store_root, str(tmp_path / "a.json"))
    with pytest.raises(StrataError, match=r"b\.json cannot be read"):
        featurestore.open(store_root, str(tmp_path / "b.json"))


def test_its_name_says_that_it_is_json(store_root, tmp_path):
    with pytest.raises(StrataError, match=r"ends in \.json"):
        written(store_root, tmp_path / "pointer")
