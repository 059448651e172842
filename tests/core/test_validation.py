import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.composition import Composition
from core.params import Ingest
from core.structure import InvalidStructure, Structure
from core.validation import closest_pair, validate

CUBE = 4.0 * np.eye(3)
PAIR = [[0, 0, 0], [0.5, 0.5, 0.5]]
FLAT = [[1.0, 0, 0], [0, 1, 0], [1, 1, 0]]


def code_of(structure, **limits):
    with pytest.raises(InvalidStructure) as caught:
        validate(structure, Ingest(**limits))
    return caught.value.code


def test_a_good_structure_passes():
    validate(Structure(CUBE, [11, 17], PAIR), Ingest())


def test_left_handed_lattices_are_accepted():
    lattice = np.array([[4.0, 0.1, 0.2], [0.3, 5.0, 0.1], [0.2, 0.4, 6.0]])
    assert np.linalg.det(lattice[[1, 0, 2]]) < 0
    validate(Structure(lattice[[1, 0, 2]], [11, 17], PAIR), Ingest())


def test_empty():
    assert code_of(Structure(CUBE, [], [])) == "empty"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["lattice", "coordinate"])
def test_not_finite(bad, where):
    lattice, coords = CUBE.copy(), np.array(PAIR)
    (lattice if where == "lattice" else coords)[1, 1] = bad
    assert code_of(Structure(lattice, [11, 17], coords)) == "not_finite"


@pytest.mark.parametrize("lattice", [FLAT, np.zeros((3, 3)), np.diag([3.0, 3.0, 0.0])])
def test_flat_cells_are_named_before_anything_divides_by_their_volume(lattice):
    with np.errstate(all="raise"):
        assert code_of(Structure(lattice, [11], [[0, 0, 0]])) == "zero_volume"


@pytest.mark.parametrize(
    ("edge", "code"), [(0.5, "volume_per_atom"), (500.0, "volume_per_atom"), (150.0, None)]
)
def test_tiny_and_huge_cells(edge, code):
    structure = Structure(edge * np.eye(3), [11], [[0, 0, 0]])
    if code is None:
        validate(structure, Ingest())
    else:
        assert code_of(structure) == code


def test_a_huge_cell_is_allowed_where_the_limit_says_so():
    validate(Structure(500.0 * np.eye(3), [2], [[0, 0, 0]]), Ingest(volume_per_atom=(0.5, 2e8)))


@pytest.mark.parametrize("second", [[0, 0, 0], [1, -2, 3], [0.999, 0.001, 0]])
def test_overlapping_atoms(second):
    with pytest.raises(InvalidStructure, match="atoms 0 and 1 are") as caught:
        validate(Structure(CUBE, [11, 17], [[0, 0, 0], second]), Ingest())
    assert caught.value.code == "min_dist"


def test_an_atom_too_near_to_its_own_image():
    assert code_of(Structure(np.diag([0.2, 5.0, 5.0]), [11], [[0, 0, 0]])) == "min_dist"


def test_an_atom_too_near_to_its_own_image_in_a_skewed_cell():
    lattice = np.array([[0.2, 0, 0], [20.0, 5, 0], [3.1, 90.0, 5]])
    assert closest_pair(Structure(lattice, [11], [[0, 0, 0]]), 0.3) == (pytest.approx(0.2), 0, 0)


@pytest.mark.parametrize("number", [0, 101, 102, 104, 255])
def test_elements_without_features(number):
    with pytest.raises(InvalidStructure, match=f"atom 1 has atomic number {number}") as caught:
        validate(Structure(CUBE, [11, number], PAIR), Ingest())
    assert caught.value.code == "no_features"


def test_the_first_fault_in_order_is_named():
    assert code_of(Structure(FLAT, [0, 0], [[0, 0, np.nan], [0, 0, 0]])) == "not_finite"
    assert code_of(Structure(FLAT, [0, 0], [[0, 0, 0], [0, 0, 0]])) == "zero_volume"
    assert code_of(Structure(CUBE, [0, 0], [[0, 0, 0], [0, 0, 0]])) == "min_dist"


def brute_force(structure, reach):
    """Smallest distance over all pairs and images within `reach` cells."""
    images = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    frac, lattice = structure.frac_coords, structure.lattice
    vectors = (frac[:, None, None] - frac[None, :, None] + images[None, None]) @ lattice
    distances = np.linalg.norm(vectors, axis=-1)
    own = (images == 0).all(axis=1)
    for i in range(len(frac)):
        distances[i, i, own] = np.inf
    return distances.min()


coordinates = arrays(np.float64, (3, 3), elements=st.floats(0, 1, width=32))


@settings(max_examples=60, deadline=None)
@given(coordinates, arrays(np.float64, (3, 3), elements=st.floats(-1, 1, width=32)), st.floats(0.05, 6))
def test_closest_pair_agrees_with_trying_every_image(coords, noise, below):
    structure = Structure(3 * np.eye(3) + noise, [1, 2, 3], coords)
    expected = brute_force(structure, 3)
    found = closest_pair(structure, below)
    if expected >= below + 1e-9:
        assert found is None
    elif expected < below - 1e-9:
        assert found is not None
        assert found[0] == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(coordinates, st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(-3, 3)), max_size=4))
def test_closest_pair_is_the_same_in_every_setting_of_the_cell(coords, shears):
    plain = Structure(np.diag([3.0, 3.5, 4.0]), [1, 2, 3], coords)
    lattice = plain.lattice.copy()
    for row, other, factor in shears:
        lattice[row] += factor * lattice[(row + other) % 3]
    sheared = Structure(lattice, plain.numbers, plain.positions @ np.linalg.inv(lattice))
    here, there = closest_pair(plain, 2.0), closest_pair(sheared, 2.0)
    if here is None:
        assert there is None or there[0] == pytest.approx(2.0)
    else:
        assert there is not None
        assert there[0] == pytest.approx(here[0], abs=1e-7)


def test_closest_pair_of_several():
    coords = np.column_stack([np.linspace(0, 0.9, 6), np.zeros(6), np.zeros(6)])
    coords[5] = coords[3] + [0.01, 0, 0]
    found = closest_pair(Structure(10 * np.eye(3), [1] * 6, coords), 1.0)
    assert found == (pytest.approx(0.1), 3, 5)


def test_of_many_atoms_few_pairs_are_looked_at():  # all pairs of these would be 20 GB
    coords = np.stack(np.meshgrid(*[np.arange(37) / 37] * 3), axis=-1).reshape(-1, 3)
    coords[-1] = coords[0] - [0.001, 1, 0]
    found = closest_pair(Structure(100 * np.eye(3), [1] * len(coords), coords), 1.0)
    assert found == (pytest.approx(0.1), 0, len(coords) - 1)


def test_of_a_composition_only_the_elements_are_asked():
    validate(Composition([11, 17]), Ingest())
    assert code_of(Composition([8, 101])) == "no_features"
    assert code_of(Composition([])) == "empty"
