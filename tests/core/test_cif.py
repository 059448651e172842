"""The short way through plain CIFs gives what pymatgen's whole reading gives, and takes no others."""

import warnings

import numpy as np
import pytest
from pymatgen.core import Lattice
from pymatgen.core import Structure as PymatgenStructure
from pymatgen.io.cif import CifParser, CifWriter

from core.cif import plain_structure
from core.structure import Structure
from core.structure_files import read_structures


def parsed(text: str) -> tuple[Structure | None, Structure]:
    """Read a text in the short way and in the long one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        short = plain_structure(CifParser.from_str(text))
        whole = CifParser.from_str(text).parse_structures(primitive=False, on_error="raise")
    return short, Structure.from_pymatgen(whole[0])


def random_cell(seed: int) -> PymatgenStructure:
    """Return a skewed cell of a few atoms."""
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*rng.uniform(4, 9, 3), *rng.uniform(70, 110, 3))
    species = rng.choice(["Na", "Cl", "O", "Fe", "La"], 6).tolist()
    return PymatgenStructure(lattice, species, rng.random((6, 3)))


@pytest.mark.parametrize("seed", range(8))
def test_plain_cells_come_out_the_same(seed):
    short, whole = parsed(str(CifWriter(random_cell(seed))))
    assert short is not None
    assert short.structure_id == whole.structure_id
    np.testing.assert_allclose(short.lattice, whole.lattice)


def test_thirds_are_rounded_as_pymatgen_rounds_them():
    text = str(CifWriter(random_cell(0)))
    line = next(
        line for line in text.splitlines() if line.split()[:1] and line.split()[-1] == "1" and "." in line
    )
    words = line.split()
    changed = text.replace(line, line.replace(words[3], "0.33330000").replace(words[4], "0.66670000"))
    short, whole = parsed(changed)
    assert short is not None
    assert short.structure_id == whole.structure_id
    assert np.isclose(short.frac_coords, 1 / 3, atol=1e-9).any()


def test_a_file_is_read_by_it(tmp_path):
    cell = random_cell(3)
    path = tmp_path / "cell.cif"
    path.write_text(str(CifWriter(cell)), encoding="utf-8")
    ((name, found),) = read_structures(path)
    assert name == "cell"
    assert found.n_atoms == 6
    assert abs(found.volume - cell.volume) < 1e-3


def rock_salt() -> str:
    """Return a CIF with symmetry."""
    cell = PymatgenStructure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]
    )
    return str(CifWriter(cell, symprec=0.01))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: rock_salt(),
        lambda text: text.replace("  1\n", "  0.5\n"),
        lambda text: text + text.replace("data_", "data_other_"),
        lambda text: text.replace("  1  'x, y, z'", "  1  'x, y, z'\n  2  '-x, -y, -z'"),
        lambda text: text.replace("_atom_site_type_symbol", "_atom_site_something"),
        lambda text: text.replace("  1  'x, y, z'", "  1  '-x, y, z'"),
    ],
    ids=["symmetry", "half atoms", "two blocks", "inversion", "labels alone", "another setting"],
)
def test_other_cifs_are_left_to_pymatgen(change):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert plain_structure(CifParser.from_str(change(str(CifWriter(random_cell(1)))))) is None


def test_oxidation_states_and_sites_that_may_be_one_are_left_to_pymatgen():
    cell = random_cell(2)
    cell.add_oxidation_state_by_guess()
    twice = random_cell(2)
    twice.append(twice[0].specie, twice[0].frac_coords + 1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in (cell, twice):
            assert plain_structure(CifParser.from_str(str(CifWriter(one)))) is None
