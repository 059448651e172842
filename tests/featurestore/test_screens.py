"""Screenings kept by name: each is whole, replaced whole, and no other one's business."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from featurestore import StoreLayout
from featurestore.screens import keep
from featurestore.tables import maintenance
from featurestore.tables.log import snapshot
from featurestore.tables.schema import SCREENS
from tests.stores import small_store, structure_id

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def root(tmp_path):
    return small_store(tmp_path / "store", splits=False)


def rows(name, values, made_at=NOW):
    facts = {"screen": name, "model": "alpha/energy", "model_sha256": "ab", "unit": "eV"}
    facts |= {"domain": "inside", "percentile": 1.0, "made_at": made_at}
    own = [{"rank": i, "structure_id": structure_id(i), "value": value} for i, value in enumerate(values, 1)]
    return pa.Table.from_pylist([facts | row for row in own], SCREENS)


def kept(root):
    query = "SELECT screen, list(value ORDER BY rank) FROM screens GROUP BY screen ORDER BY screen"
    return dict(featurestore.open(root).sql(query).fetchall())


def test_a_store_without_any_has_an_empty_view(root):
    assert kept(root) == {}


def test_one_of_the_same_name_is_replaced_whole_and_others_stay(root):
    layout = StoreLayout(root)
    keep(layout, "first", rows("first", [3.0, 2.0, 1.0]))
    keep(layout, "first-other", rows("first-other", [5.0]))
    later = NOW + timedelta(seconds=1)
    keep(layout, "first", rows("first", [7.0], later))
    assert kept(root) == {"first": [7.0], "first-other": [5.0]}
    assert featurestore.open(root, at=featurestore.open(root).version - 1).sql(
        "SELECT count(*) FROM screens WHERE screen = 'first'"
    ).fetchall() == [(3,)]


def test_what_was_kept_survives_the_care_of_the_store(root):
    layout = StoreLayout(root)
    for name in ("one", "two", "three"):
        keep(layout, name, rows(name, [1.0, 2.0]))
    before = kept(root)
    found = maintenance.verify(root)
    assert not found.damages
    assert not found.strays
    maintenance.compact(root)
    assert kept(root) == before
    keep(layout, "two", rows("two", [9.0]))
    assert kept(root) == before | {"two": [9.0]}
    live = layout.screens / snapshot(layout.screens).shards[0].path
    live.write_bytes(live.read_bytes()[:-9])
    (damage,) = maintenance.verify(root).damages
    assert damage.table == layout.screens


def test_the_same_twice_changes_nothing(root):
    for name, values in (("one", [1.0, 2.0]), ("two", [1.0])):
        keep(StoreLayout(root), name, rows(name, values))
    version = featurestore.open(root).version
    keep(StoreLayout(root), "one", rows("one", [1.0, 2.0]))
    assert featurestore.open(root).version == version
    assert kept(root) == {"one": [1.0, 2.0], "two": [1.0]}


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x'; DROP TABLE screens --", "."])
def test_a_name_that_is_none_is_refused(root, name):
    with pytest.raises(StrataError, match=r"screening .* is not a valid name"):
        keep(StoreLayout(root), name, rows("x", [1.0]))
    assert kept(root) == {}


def test_rows_of_other_columns_are_refused(root):
    with pytest.raises(StrataError, match="is expected"):
        keep(StoreLayout(root), "x", rows("x", [1.0]).drop_columns(["rank"]))
    assert kept(root) == {}
