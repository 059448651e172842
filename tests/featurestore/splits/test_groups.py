import numpy as np
import pytest

from core.composition import Composition
from core.errors import StrataError
from core.structure import Structure
from featurestore.splits.groups import chemical_system, prototype, space_group

pytest.importorskip("spglib")


def crystal(a, numbers, coords):
    return Structure(np.asarray(a, float), np.array(numbers, np.uint8), np.array(coords, float))


FCC = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
SALT = crystal(5.6 * np.array(FCC), [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])
BLENDE = crystal(5.4 * np.array(FCC), [30, 16], [[0, 0, 0], [0.25, 0.25, 0.25]])
OTHER_SALT = crystal(4.2 * np.array(FCC), [8, 12], [[0.5, 0.5, 0.5], [0, 0, 0]])
CONVENTIONAL_SALT = crystal(
    5.6 * np.eye(3),
    [11] * 4 + [17] * 4,
    [
        [0, 0, 0],
        [0, 0.5, 0.5],
        [0.5, 0, 0.5],
        [0.5, 0.5, 0],
        [0.5, 0.5, 0.5],
        [0.5, 0, 0],
        [0, 0.5, 0],
        [0, 0, 0.5],
    ],
)


def test_a_chemical_system_is_its_elements():
    assert chemical_system(SALT) == chemical_system(CONVENTIONAL_SALT) == "11-17"
    assert chemical_system(BLENDE) == "16-30"


def test_space_groups():
    assert [space_group(one) for one in (SALT, CONVENTIONAL_SALT, BLENDE)] == ["225", "225", "216"]


def test_a_prototype_depends_on_neither_elements_nor_cell():
    assert prototype(SALT) == prototype(OTHER_SALT) == prototype(CONVENTIONAL_SALT) == "A1B1/225/8"
    assert prototype(BLENDE) == "A1B1/216/8"


def test_a_structure_without_symmetry_stands_by_itself():
    rng = np.random.default_rng(0)
    odd = crystal(np.diag([4, 5, 6.0]) + 0.3 * rng.random((3, 3)), [1, 6, 7], rng.random((3, 3)))
    assert space_group(odd) == "1"
    assert prototype(odd) == "A1B1C1/1/3"


def test_a_composition_has_elements_and_no_symmetry():
    salt = Composition([11, 17])
    assert chemical_system(salt) == chemical_system(SALT)
    for group_of in (space_group, prototype):
        with pytest.raises(StrataError, match=r"of ClNa .*only the composition is known.*grouped"):
            group_of(salt)
