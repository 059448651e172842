"""What a user gives: one structure or many, of any library, and files among them."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from core.errors import StrataError
from core.structure import InvalidStructure, Structure
from zoo.given import items_of, prefixes_of, read

SALT = bulk("NaCl", "rocksalt", a=5.64)
POSCAR = "Al\n1.0\n4.05 0 0\n0 4.05 0\n0 0 4.05\nAl\n1\ndirect\n0 0 0\n"
TWO_WATERS = 2 * "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


@pytest.fixture
def poscar(tmp_path) -> Path:
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR, encoding="utf-8")
    return path


@pytest.fixture
def waters(tmp_path) -> Path:
    path = tmp_path / "waters.xyz"
    path.write_text(TWO_WATERS, encoding="utf-8")
    return path


def test_one_of_each_kind_is_a_list_of_one():
    jarvis = pytest.importorskip("jarvis.core.atoms")
    ours = Structure.from_ase(SALT)
    one_of_each = [SALT, ours, ours.to_pymatgen(), ours.to_pymatgen().as_dict(), ours.to_jarvis_dict()]
    one_of_each += [jarvis.Atoms.from_dict(ours.to_jarvis_dict()), "mine.cif", Path("mine.cif")]
    for item in one_of_each:
        (only,) = items_of(item)
        assert only is item


def test_many_are_a_list_whatever_holds_them():
    several = [SALT, "mine.cif"]
    assert items_of(several) == items_of(tuple(several)) == items_of(iter(several)) == several
    assert items_of([]) == []


@pytest.mark.parametrize("other", [3, None, 1.5])
def test_what_is_no_structure_is_named(other):
    with pytest.raises(
        StrataError, match=f"and files of them can be embedded, and this is a {type(other).__name__}"
    ):
        items_of(other)


def test_structures_and_files_may_be_mixed(poscar, waters):
    found = read([SALT, poscar, str(waters), SALT], None, 20.0)
    assert [name for name, _ in found] == [0, "POSCAR", "waters-0", "waters-1", 3]
    assert [structure.formula for _, structure in found] == ["ClNa", "Al", "H2O", "H2O", "ClNa"]


def test_ids_name_structures_and_files_of_one(poscar):
    found = read([poscar, SALT], ["aluminium", "salt"], 20.0)
    assert [name for name, _ in found] == ["aluminium", "salt"]


def test_one_id_for_several_structures_is_refused(waters):
    with pytest.raises(StrataError, match=r"waters.xyz holds 2 structures, and one id was given for it: 'w'"):
        read([waters], ["w"], 20.0)


def test_what_cannot_be_used_comes_with_its_reason(tmp_path):
    broken = tmp_path / "broken.cif"
    broken.write_text("nothing", encoding="utf-8")
    slab = Atoms("Cu", cell=[4, 4, 0], pbc=[True, True, False])
    found = read([broken, slab], None, 20.0)
    assert [name for name, _ in found] == [str(broken), 1]
    assert all(isinstance(error, InvalidStructure) for _, error in found)
    assert read([broken], ["mine"], 20.0)[0][0] == "mine"


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("gone.cif", "gone.cif cannot be read"),
        ("NaCl", "NaCl: unknown kind of structure file"),
        (np.eye(3), "ndarray"),
    ],
)
def test_a_mistake_ends_it(tmp_path, monkeypatch, item, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StrataError, match=says):
        read([SALT, item], None, 20.0)


def test_files_of_one_name_have_their_folder_before_it():
    paths = [Path("a/POSCAR"), Path("b/POSCAR"), Path("b/salt.cif")]
    assert list(prefixes_of(paths).values()) == ["a/", "b/", ""]
