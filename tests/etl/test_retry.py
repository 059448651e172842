"""Rejects as too large are tried again when the limit is raised, and no others."""

import numpy as np
import pytest

import featurestore
from etl.extract import extract
from etl.parts import Part
from etl.plan import plan
from featurestore.tables import maintenance
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from tests.crystals import random_structure
from tests.engines import SOURCE
from tests.etl.test_extract import GIANT, STRUCTURES, add, params, run

LARGER = random_structure(np.random.default_rng(98), 60)


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A store with four structures, two of them too large."""
    root = tmp_path_factory.mktemp("large")
    add(root, "first", [*STRUCTURES[:2], GIANT, LARGER])
    report = run(params("first"), root)
    assert (report.extracted, report.rejected, report.tried_again) == (2, {"too_large": 2}, 0)
    return root


@pytest.fixture
def store(before, tmp_path):
    import shutil

    return shutil.copytree(before, tmp_path / "store")


def size_of(root, structure):
    query = "SELECT message FROM rejects WHERE id = ?"
    ((message,),) = featurestore.open(root).sql(query, [structure.structure_id]).fetchall()
    return int(message.split(" angles, allowed")[0].split()[-1].replace(",", ""))


def test_exactly_those_that_fit_now_are_tried_again(store):
    enough = size_of(store, GIANT)
    assert enough < size_of(store, LARGER)
    vectors = featurestore.open(store).all_vectors("last")
    (planned,) = plan(params("first", max_angles=enough), store)
    assert planned.missing == 1
    report = run(params("first", max_angles=enough), store)
    assert (report.extracted, report.rejected, report.tried_again) == (1, {"too_large": 1}, 1)
    assert "1 that were too large for an earlier limit were tried again" in str(report)
    opened = featurestore.open(store)
    assert opened.sql("SELECT id FROM rejects").fetchall() == [(LARGER.structure_id,)]
    ids, now = opened.all_vectors("last")
    place = {name: row for row, name in enumerate(ids.to_pylist())}
    assert set(place) == {s.structure_id for s in (*STRUCTURES[:2], GIANT)}
    kept = now[[place[name] for name in vectors[0].to_pylist()]]
    assert np.array_equal(kept, vectors[1])  # bit for bit
    assert not maintenance.verify(store).damages
    version = snapshot(StoreLayout(store).features(SOURCE)).version
    again = run(params("first", max_angles=enough), store)
    assert (again.extracted, again.tried_again) == (0, 0)
    assert snapshot(StoreLayout(store).features(SOURCE)).version == version


def test_a_limit_that_is_not_raised_enough_changes_nothing(store):
    version = snapshot(StoreLayout(store).features(SOURCE)).version
    report = run(params("first", max_angles=size_of(store, GIANT) - 1), store)
    assert (report.extracted, report.tried_again, report.rejected) == (0, 0, {"too_large": 2})
    assert snapshot(StoreLayout(store).features(SOURCE)).version == version


def test_of_joined_shards_and_by_parts(store):
    maintenance.compact(store)
    assert len(snapshot(StoreLayout(store).features(SOURCE)).shards) == 1
    asked = params("first", max_angles=10**7)
    reports = [extract(asked, store, part=Part.parse(f"{i}/2"))[0] for i in (1, 2)]
    assert sum(report.tried_again for report in reports) == 2
    assert sum(report.extracted for report in reports) == 2
    opened = featurestore.open(store)
    assert opened.sql("SELECT count(*), count(DISTINCT structure_id) FROM features").fetchall() == [(4, 4)]
    assert opened.sql("SELECT count(*) FROM rejects").fetchall() == [(0,)]
    assert not maintenance.verify(store).damages
