import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.structure import (
    REJECT_CODES,
    SYMBOLS,
    InvalidStructure,
    Structure,
    box_molecule,
    cell_volume,
    numbers_of,
)

NACL = Structure(5.64 * np.eye(3), [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])
TRICLINIC = [[4.1, 0.2, -0.3], [1.3, 3.9, 0.4], [-0.7, 0.9, 5.2]]


@st.composite
def structures(draw):
    count = draw(st.integers(1, 6))
    steps = draw(arrays(np.int64, (count, 3), elements=st.integers(0, 9_999)))
    numbers = draw(arrays(np.uint8, count, elements=st.integers(1, 94)))
    return Structure(TRICLINIC, numbers, steps / 10_000)


@given(structures(), st.randoms(use_true_random=False))
def test_structure_id_ignores_atom_order_and_lattice_translations(structure, random):
    order = list(range(structure.n_atoms))
    random.shuffle(order)
    shifts = np.array([[random.randint(-3, 3) for _ in range(3)] for _ in order])
    moved = Structure(structure.lattice, structure.numbers[order], structure.frac_coords[order] + shifts)
    assert moved.structure_id == structure.structure_id


@given(structures(), st.integers(0, 5), st.integers(0, 2))
def test_structure_id_sees_a_moved_atom_and_another_element(structure, atom, axis):
    atom %= structure.n_atoms
    coords = structure.frac_coords.copy()
    coords[atom, axis] += 1e-4 / 2
    assert Structure(structure.lattice, structure.numbers, coords).structure_id != structure.structure_id
    numbers = structure.numbers.copy()
    numbers[atom] += 1
    assert Structure(structure.lattice, numbers, structure.frac_coords).structure_id != structure.structure_id


def test_structure_id_is_the_same_on_every_machine():
    assert NACL.structure_id == "3559abc0a5ff892aa6d4e8267967f9746bd85a630586d3df1bf16f9538a1c855"
    assert len(NACL.structure_id) == 64


def test_structure_id_of_negative_zero_and_nearly_one():
    moved = Structure(NACL.lattice - 0.0, [11, 17], [[-0.0, 0.9999999, -1e-20], [0.5, 0.5, 0.5]])
    assert moved.structure_id == NACL.structure_id


def test_arrays_are_private_and_read_only():
    lattice, coords = 5.0 * np.eye(3), np.zeros((1, 3))
    structure = Structure(lattice, [1], coords)
    lattice[0, 0] = 7.0
    assert structure.lattice[0, 0] == 5.0
    assert coords.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        structure.frac_coords[0, 0] = 1.0


@pytest.mark.parametrize(
    ("lattice", "numbers", "coords"),
    [
        (np.eye(2), [1], [[0, 0, 0]]),
        (np.eye(3), [1, 2], [[0, 0, 0]]),
        (np.eye(3), [1], [0, 0, 0]),
        (np.eye(3), ["C"], [[0, 0, 0]]),
        (np.eye(3), [300], [[0, 0, 0]]),
        (np.eye(3), [1], [["a", 0, 0]]),
    ],
)
def test_wrong_shapes_are_unreadable(lattice, numbers, coords):
    with pytest.raises(InvalidStructure) as caught:
        Structure(lattice, numbers, coords)
    assert caught.value.code == "unreadable"


def test_volume_is_positive_for_either_handedness():
    left = Structure(np.array(TRICLINIC)[[1, 0, 2]], [6], [[0, 0, 0]])
    right = Structure(TRICLINIC, [6], [[0, 0, 0]])
    assert left.volume == pytest.approx(right.volume)
    assert right.volume > 0
    assert np.sign(np.linalg.det(left.lattice)) != np.sign(np.linalg.det(right.lattice))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_flat_cells_have_no_volume_whatever_their_size(scale):
    flat = scale * np.array([[1.0, 0.1, 0.3], [0.2, 1.0, 0.7], [1.2, 1.1, 1.0]])
    assert cell_volume(flat) == 0.0
    assert cell_volume(np.zeros((3, 3))) == 0.0


@pytest.mark.parametrize(
    ("numbers", "formula"),
    [([13, 28, 28, 28], "AlNi3"), ([6, 1, 6, 8], "C2HO"), ([17, 1], "ClH"), ([11] * 12, "Na12")],
)
def test_formula_in_hill_order(numbers, formula):
    assert Structure(np.eye(3), numbers, np.zeros((len(numbers), 3))).formula == formula


def test_symbols_agree_with_ase():
    from ase.data import chemical_symbols

    assert list(SYMBOLS) == chemical_symbols


@pytest.mark.parametrize("symbol", ["D", "T", "Xx", "X", ""])
def test_unknown_symbols_have_no_features(symbol):
    with pytest.raises(InvalidStructure, match=repr(symbol)) as caught:
        numbers_of(["Si", symbol])
    assert caught.value.code == "no_features"


def test_deuterium_is_hydrogen_only_where_declared():
    record = {"lattice_mat": TRICLINIC, "coords": [[0, 0, 0]], "elements": ["D"]}
    assert Structure.from_jarvis(record, aliases={"D": "H"}).numbers.tolist() == [1]
    with pytest.raises(InvalidStructure):
        Structure.from_jarvis(record)


def test_jarvis_round_trip_keeps_the_floats():
    structure = Structure(TRICLINIC, [26, 8], [[0.1, -0.2, 1.3], [0.123456789012345, 0.5, 0.75]])
    record = structure.to_jarvis_dict()
    back = Structure.from_jarvis(record)
    assert np.array_equal(back.lattice, structure.lattice)
    assert np.array_equal(back.frac_coords, structure.frac_coords)
    from jarvis.core.atoms import Atoms

    atoms = Atoms.from_dict(record)
    assert atoms.volume == pytest.approx(structure.volume)
    assert record["angles"] == pytest.approx(atoms.lattice.angles)


def test_cartesian_jarvis_record():
    structure = Structure(TRICLINIC, [26, 8], [[0.1, 0.2, 0.3], [0.6, 0.5, 0.75]])
    record = structure.to_jarvis_dict() | {"coords": structure.positions.tolist(), "cartesian": True}
    assert Structure.from_jarvis(record).frac_coords == pytest.approx(structure.frac_coords)
    with pytest.raises(InvalidStructure) as caught:
        Structure.from_jarvis(record | {"lattice_mat": np.ones((3, 3)).tolist()})
    assert caught.value.code == "zero_volume"


def test_jarvis_record_without_a_key():
    with pytest.raises(InvalidStructure, match="coords") as caught:
        Structure.from_jarvis({"lattice_mat": TRICLINIC, "elements": ["H"]})
    assert caught.value.code == "unreadable"


def test_pymatgen_round_trip_keeps_the_floats():
    structure = Structure(TRICLINIC, [26, 8], [[0.1, -0.2, 1.3], [0.123456789012345, 0.5, 0.75]])
    theirs = structure.to_pymatgen()
    for source in (theirs, theirs.as_dict()):
        back = Structure.from_pymatgen(source)
        assert np.array_equal(back.lattice, structure.lattice)
        assert np.array_equal(back.frac_coords, structure.frac_coords)
        assert back.numbers.tolist() == [26, 8]


def test_pymatgen_oxidation_states_are_dropped():
    theirs = NACL.to_pymatgen()
    theirs.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    assert Structure.from_pymatgen(theirs).structure_id == NACL.structure_id


@pytest.mark.parametrize("species", [{"Cu": 0.5, "Au": 0.5}, {"Cu": 0.9}])
def test_partial_occupancy_is_disordered(species):
    from pymatgen.core import Structure as PymatgenStructure

    theirs = PymatgenStructure(4 * np.eye(3), ["Na", species], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(InvalidStructure, match=r"site 1.*Cu") as caught:
        Structure.from_pymatgen(theirs)
    assert caught.value.code == "disordered"


def test_pymatgen_molecule_has_no_cell():
    from pymatgen.core import Molecule

    with pytest.raises(InvalidStructure) as caught:
        Structure.from_pymatgen(Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.74]]))
    assert caught.value.code == "no_cell"


@pytest.mark.parametrize("record", [{"lattice": {}, "sites": []}, {"sites": 3, "lattice": {"matrix": 1}}, {}])
def test_not_a_pymatgen_record(record):
    with pytest.raises(InvalidStructure) as caught:
        Structure.from_pymatgen(record)
    assert caught.value.code == "unreadable"


def test_ase_round_trip():
    structure = Structure(TRICLINIC, [26, 8], [[0.1, -0.2, 1.3], [0.6, 0.5, 0.75]])
    back = Structure.from_ase(structure.to_ase())
    assert back.frac_coords == pytest.approx(structure.frac_coords)
    assert back.structure_id == structure.structure_id


def test_ase_molecule_needs_a_declared_box():
    from ase.build import molecule

    water = molecule("H2O")
    with pytest.raises(InvalidStructure) as caught:
        Structure.from_ase(water)
    assert caught.value.code == "no_cell"
    assert Structure.from_ase(water, vacuum=20.0).volume > 40.0**3
    water.cell = [[5, 0, 0], [0, 5, 0], [0, 0, 0]]
    with pytest.raises(InvalidStructure, match="2 of 3"):
        Structure.from_ase(water, vacuum=20.0)


@given(arrays(np.float64, (4, 3), elements=st.floats(-50, 50)), st.floats(1, 30))
def test_box_leaves_the_vacuum_on_every_side_and_keeps_distances(points, vacuum):
    boxed = box_molecule([1, 6, 7, 8], points, vacuum)
    edge = boxed.lattice[0, 0]
    assert np.array_equal(boxed.lattice, edge * np.eye(3))
    inside = boxed.positions
    assert inside.min() >= vacuum - 1e-9
    assert inside.max() <= edge - vacuum + 1e-9
    assert (inside.min(axis=0) + inside.max(axis=0)) / 2 == pytest.approx(np.full(3, edge / 2))
    assert inside - inside[0] == pytest.approx(points - points[0], abs=1e-9)


@pytest.mark.parametrize(("points", "code"), [([], "empty"), ([[0, 0, np.nan]], "not_finite")])
def test_box_refuses(points, code):
    with pytest.raises(InvalidStructure) as caught:
        box_molecule([1] * len(points), points, 20.0)
    assert caught.value.code == code


def test_invalid_structure_survives_pickling_between_processes():
    error = pickle.loads(pickle.dumps(InvalidStructure("min_dist", "too close")))
    assert (error.code, str(error)) == ("min_dist", "too close")
    assert error.code in REJECT_CODES


def test_empty_structure_can_be_built_and_named():
    assert Structure(np.eye(3), [], []).n_atoms == 0
