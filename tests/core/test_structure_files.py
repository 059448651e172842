import os

import numpy as np
import pytest

from core.errors import StrataError
from core.structure import InvalidStructure, Structure
from core.structure_files import read_structures
from tests.crystals import cif

NACL = Structure(5.64 * np.eye(3), [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])
WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"
SITES = ("Cu1 Cu 0 0 0 0.5", "Au1 Au 0 0 0 0.5", "Cu2 Cu 0.5 0.5 0.5 0.5", "Au2 Au 0.5 0.5 0.5 0.5")
DISORDERED = cif("x", 4, *SITES)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def code_of(path, **kwargs):
    with pytest.raises(InvalidStructure, match=path.name) as caught:
        read_structures(path, **kwargs)
    return caught.value.code


def test_cif(tmp_path):
    path = tmp_path / "nacl.cif"
    NACL.to_pymatgen().to(filename=str(path))
    [(name, structure)] = read_structures(path)
    assert name == "nacl"
    assert structure.structure_id == NACL.structure_id


@pytest.mark.parametrize("name", ["POSCAR", "CONTCAR_relaxed", "nacl.vasp", "nacl.poscar"])
def test_poscar(tmp_path, name):
    path = tmp_path / name
    NACL.to_pymatgen().to(filename=str(path), fmt="poscar")
    [(_, structure)] = read_structures(path)
    assert structure.structure_id == NACL.structure_id


def test_xyz_without_a_cell_is_boxed(tmp_path):
    [(name, structure)] = read_structures(write(tmp_path / "water.xyz", WATER), vacuum=10.0)
    assert (name, structure.formula) == ("water", "H2O")
    assert structure.lattice[0, 0] == pytest.approx(20 + 2 * 0.763)


def test_several_structures_in_one_file(tmp_path):
    found = read_structures(write(tmp_path / "two.xyz", WATER + WATER.replace("0.119", "0.5")))
    assert [name for name, _ in found] == ["two-0", "two-1"]
    assert found[0][1].structure_id != found[1][1].structure_id


def test_extended_xyz_keeps_its_cell(tmp_path):
    text = '2\nLattice="4 0 0 0 5 0 0 0 6" Properties=species:S:1:pos:R:3\nNa 0 0 0\nCl 2 2.5 3\n'
    [(_, structure)] = read_structures(write(tmp_path / "x.extxyz", text))
    assert structure.volume == pytest.approx(120)
    assert structure.frac_coords[1] == pytest.approx([0.5, 0.5, 0.5])


def test_partial_occupancy(tmp_path):
    assert code_of(write(tmp_path / "alloy.cif", DISORDERED)) == "disordered"


def test_deuterium_only_where_declared(tmp_path):
    text = DISORDERED.partition("Cu1")[0] + "D1 D 0 0 0 1\n"
    path = write(tmp_path / "heavy.cif", text)
    assert code_of(path) == "no_features"
    assert read_structures(path, aliases={"D": "H"})[0][1].formula == "H"
    path = write(tmp_path / "heavy.vasp", "x\n1.0\n4 0 0\n0 4 0\n0 0 4\nD\n1\ndirect\n0 0 0\n")
    assert code_of(path) == "no_features"
    assert read_structures(path, aliases={"D": "H"})[0][1].formula == "H"


def test_unknown_symbol_in_xyz(tmp_path):
    assert code_of(write(tmp_path / "heavy.xyz", "1\n\nD 0 0 0\n")) == "no_features"


@pytest.mark.parametrize("name", ["bad.cif", "bad.vasp", "bad.xyz"])
def test_nonsense_is_unreadable(tmp_path, name):
    assert code_of(write(tmp_path / name, "no structure at all\n")) in {"unreadable", "no_structure"}


def test_not_utf8_names_the_byte(tmp_path):
    path = tmp_path / "latin.cif"
    path.write_bytes("data_Å".encode("latin-1"))
    with pytest.raises(InvalidStructure, match=r"latin.cif: not UTF-8 at byte 5"):
        read_structures(path)


def test_missing_file_and_unknown_kind(tmp_path):
    with pytest.raises(StrataError, match=r"nothing\.cif cannot be read"):
        read_structures(tmp_path / "nothing.cif")
    with pytest.raises(StrataError, match=r"known are \.cif, POSCAR"):
        read_structures(write(tmp_path / "x.docx", "x"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("POSCAR", "x\n1\n1 0 0\n0 1 0\n0 0 1\n1000000000\nDirect\n0 0 0\n", "declares 1,000,000,000 atoms"),
        ("POSCAR", "x\n1\n1 0 0\n0 1 0\n0 0 1\nH O\n1 999999999\nDirect\n0 0 0\n", "1,000,000,000 atoms"),
        ("a.xyz", "1000000000\n\nH 0 0 0\n", "line 1 declares 1,000,000,000 atoms, 1 follow"),
        ("a.xyz", "1\n\nH 0 0 0\n9999999999\n\nH 0 0 0\n", "line 4 declares 9,999,999,999 atoms"),
        ("a.xyz", "1\nProperties=species:S:1:pos:R:3:f:R:999999999\nH 0 0 0\n", "999999999 columns"),
        ("a.xyz", "9" * 5000 + "\n\nH 0 0 0\n", "line 1 declares 1,000,000,000,000,000,000 atoms, 1 follow"),
        ("a.xyz", "1\nProperties=pos:R:" + "9" * 5000 + "\nH 0 0 0\n", "declares a property"),
    ],
)
def test_more_atoms_declared_than_the_file_can_hold(tmp_path, name, text, words):  # nothing is counted out
    with pytest.raises(InvalidStructure, match=words) as caught:
        read_structures(write(tmp_path / name, text))
    assert caught.value.code == "unreadable"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.cif")
    with pytest.raises(StrataError, match=r"a.cif is no regular file"):
        read_structures(tmp_path / "a.cif")
