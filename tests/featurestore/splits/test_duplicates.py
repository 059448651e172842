import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.composition import Composition
from core.errors import StrataError
from core.structure import Structure
from featurestore import StoreLayout
from featurestore.splits.duplicates import Tolerance, crystals, find_groups, load, update
from featurestore.tables import maintenance
from featurestore.tables.schema import SCHEMAS
from tests.crystals import random_structure, varied_structures
from tests.stores import add_dataset, structure_id, write
from tests.two_datasets import ingested, settings_of


def test_every_setting_of_a_crystal_is_in_one_group():
    rng = np.random.default_rng(1)
    chosen = [item for item in varied_structures() if item.n_atoms <= 6][:18]
    named = [(f"{i:02d}", item) for i, item in enumerate(chosen)]
    further = [(f"{name}-{k}", same) for name, item in named for k, same in enumerate(settings_of(item, rng))]
    plain, _ = find_groups(named)
    groups, _ = find_groups([*named, *further])
    for name, _ in named:
        same = {group for item, group in groups.items() if item.partition("-")[0] == name}
        assert len(same) == 1, name
    # and no two crystals were thrown together by the further settings
    assert len(set(groups.values())) == len(set(plain.values()))


def test_other_crystals_are_in_other_groups():
    rng = np.random.default_rng(2)
    items = [(str(i), random_structure(rng, 4)) for i in range(8)]
    groups, _ = find_groups(items)
    assert len(set(groups.values())) == 8


def test_polymorphs_and_volumes_are_told_apart():
    from ase.build import bulk

    cells = {
        "fcc": bulk("Fe", "fcc", a=3.6),
        "bcc": bulk("Fe", "bcc", a=2.87),
        "bcc again": bulk("Fe", "bcc", a=2.9, cubic=True),
        "far": bulk("Fe", "bcc", a=3.3),
        "W": bulk("W", "bcc", a=2.87),
    }
    groups, _ = find_groups((name, Structure.from_ase(atoms)) for name, atoms in cells.items())
    assert groups["bcc"] == groups["bcc again"] == "bcc"
    assert len(set(groups.values())) == 4


def test_the_order_does_not_matter():
    rng = np.random.default_rng(3)
    items = [(str(i), item) for i, item in enumerate(varied_structures()[:12])]
    items += [(f"{name}'", next(iter(settings_of(item, rng)))) for name, item in items]
    groups, _ = find_groups(items)
    assert find_groups(items[::-1])[0] == groups


def test_cells_that_are_too_large_stand_alone():
    cell = random_structure(np.random.default_rng(4), 6)
    groups, too_large = find_groups([("a", cell), ("b", cell)], Tolerance(most_atoms=5))
    assert groups == {"a": "a", "b": "b"}
    assert too_large == 2


@pytest.fixture
def store(tmp_path, monkeypatch):
    return ingested(tmp_path, monkeypatch)


def test_groups_of_a_store(store):
    assert load(store) == {}
    report = update(store)
    assert (report.structures, report.groups, report.largest) == (6, 5, 2)
    assert report.shared == {("one", "two"): 2}
    assert "in one and two: 2" in str(report)
    groups = load(store)
    assert len(groups) == 6
    before = {path: path.stat().st_mtime_ns for path in (store / "duplicates").glob("*.parquet")}
    assert update(store) == report
    assert {path: path.stat().st_mtime_ns for path in (store / "duplicates").glob("*.parquet")} == before


def test_groups_of_some_structures_are_those_of_the_whole_store(store):
    opened = featurestore.open(store)
    asked = "SELECT structure_id FROM entries WHERE dataset = 'two' AND entry_id = 'y'"
    ((wanted,),) = opened.sql(asked).fetchall()
    found = crystals(store, [wanted])
    update(store)
    groups = load(store)
    assert found == groups  # all of one formula
    assert sum(group == found[wanted] for group in found.values()) == 2
    assert crystals(store, [wanted]) == groups


def test_structures_of_other_formulas_are_not_compared(tmp_path):
    add_dataset(tmp_path, "alpha", range(3))  # silicon
    other = Structure(4 * np.eye(3), [29, 29], [[0, 0, 0], [0.5, 0.5, 0.5]])
    row = {"structure_id": other.structure_id, "formula": other.formula, "n_atoms": 2, "volume": 64.0}
    row |= {"lattice": other.lattice.ravel().tolist(), "numbers": [29, 29]}
    row |= {"frac_coords": other.frac_coords.ravel().tolist()}
    folder = StoreLayout(tmp_path).structures("beta")
    write(folder, "structures", pa.Table.from_pylist([row], SCHEMAS["structures"]))
    assert crystals(tmp_path, [structure_id(0)]).keys() == {structure_id(i) for i in range(3)}
    assert crystals(tmp_path, [other.structure_id]) == {other.structure_id: other.structure_id}


def test_a_store_without_structures(tmp_path):
    with pytest.raises(StrataError, match="ingest a dataset first"):
        update(tmp_path / "store")


def test_a_composition_is_a_group_of_its_own():
    cell = Structure(3.6 * np.eye(3), [29], [[0, 0, 0]])
    groups, too_large = find_groups([("a", cell), ("b", Composition([29])), ("c", Composition([29, 8]))])
    assert groups == {"a": "a", "b": "b", "c": "c"}
    assert too_large == 0


def test_the_groups_are_a_table_of_the_store(store):
    update(store)
    assert maintenance.verify(store).shards == len(list(store.rglob("*.parquet")))
    asked = "SELECT operation FROM log WHERE \"table\" = 'duplicates'"
    assert featurestore.open(store).sql(asked).fetchall() == [("duplicates",)]
    (path,) = (store / "duplicates").glob("*.parquet")
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    (damage,) = maintenance.verify(store).damages
    assert damage.table == store / "duplicates"
    maintenance.repair(store, [damage])
    assert load(store) == {}
    assert maintenance.gc(store, 0)[0] == 1
    assert update(store).groups == 5
