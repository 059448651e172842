"""What lies nearest to a structure, a file or an entry, as one call from Python."""

import pandas as pd
import pytest
import torch
from ase import Atoms

import featurestore
from core.errors import StrataError
from core.params import parse
from core.structure import Structure
from etl.extract import extract
from tests.two_datasets import ingested
from zoo.near import near

PARAMS = parse({"datasets": ["one", "two"], "extract": {"threads": 1, "device": "cpu", "workers": 1}})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        made = ingested(tmp_path_factory.mktemp("near"), patch)
        extract(PARAMS, made)
    return made


def salt(edge: float) -> Structure:
    return Structure([[edge, 0, 0], [0, edge, 0], [0, 0, edge]], [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_one_crystal_given_in_many_ways_has_the_same_neighbours(store, tmp_path):
    ours = salt(5.02)  # between b, of 5 Å, and c, of 6 Å
    path = tmp_path / "mine.cif"
    ours.to_pymatgen().to(filename=str(path))
    given = {
        "ours": ours,
        "ASE": Atoms(numbers=ours.numbers, scaled_positions=ours.frac_coords, cell=ours.lattice, pbc=True),
        "pymatgen": ours.to_pymatgen(),
        "path": path,
        "text": str(path),
    }
    for kind, item in given.items():
        found = near(item, 3, store)
        assert isinstance(found, pd.DataFrame)
        assert list(found.columns) == ["distance", "structure_id", "formula", "n_atoms", "entries"], kind
        assert {*found["entries"][0], *found["entries"][1]} == {"one/b", "two/y"}, kind
        assert found["distance"].is_monotonic_increasing
        assert found.attrs == {"checkpoint": "alignn_mp_eform/atom_8"}


def test_an_id_leaves_itself_out(store):
    found = near("b", 1, store)
    assert found["entries"][0] == ["two/y"]  # the same crystal, rotated
    assert found["distance"][0] == pytest.approx(0, abs=1e-3)
    (name,) = found["structure_id"]
    assert near(name, 1, store)["entries"][0] == ["one/b"]


def test_the_search_can_be_set(store):
    found = near(salt(4.0), 2, store, dataset="two", checkpoint="bond_8", metric="cosine")
    assert found["entries"][0] == ["one/a", "two/x"]
    assert found.attrs["checkpoint"] == "alignn_mp_eform/bond_8"
    assert near("a", 1, store, source_model="alignn_mp_eform").attrs["checkpoint"].endswith("/atom_8")


def test_an_open_store_stays_open(store):
    with featurestore.open(store) as opened:
        assert len(near(salt(4.0), 2, opened)) == 2
        assert opened.datasets() == ["one", "two"]
        assert len(opened.sql("FROM entries").fetchall()) == 7


@pytest.mark.parametrize(
    ("item", "options", "says"),
    [
        ("gone.cif", {}, "'gone.cif' is neither a file, nor an entry_id or structure_id"),
        (salt(5.0), {"metric": "cosin"}, "unknown metric 'cosin'; did you mean 'cosine'"),
        (salt(5.0), {"checkpoint": "atom_9"}, "unknown feature set 'atom_9'|unknown checkpoint 'atom_9'"),
        (salt(5.0), {"k": 0}, "k is 0"),
        ([salt(5.0), salt(4.0)], {}, "these are 2 structures; ask for one at a time"),
        (salt(0.1), {}, "too close|Å"),
        (7, {}, "this is a int"),
    ],
)
def test_what_cannot_be_asked_is_named(store, item, options, says):
    with pytest.raises(StrataError, match=says):
        near(item, store=store, **options)


def test_a_store_that_is_not_there(tmp_path):
    with pytest.raises(StrataError, match="there is no store at"):
        near(salt(5.0), store=tmp_path / "store")
