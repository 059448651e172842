"""Compositions: formulas in, one id for each ratio of elements, and no crystal's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.composition import MOST_ATOMS, Composition, restored, with_positions
from core.structure import NUMBERS, InvalidStructure, Structure


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("Fe2O3", "Fe2O3"),
        ("Ti2O4", "O2Ti"),
        ("Ca(OH)2", "CaH2O2"),
        ("CuSO4(H2O)5", "CuH10O9S"),
        ("CH3OH", "CH4O"),
        ("Fe0.5Ni0.5", "FeNi"),
        ("Ag0.5Ge1Pb1.75S4", "Ag2Ge4Pb7S16"),
        ("(La0.7Sr0.3)3MnO3", "La21Mn10O30Sr9"),
        ("Hg0.7Cd0.3Te", "Cd3Hg7Te10"),
        ("NaCl0", "Na"),
        (" Na Cl ", "ClNa"),
        ("D2O", "H2O"),
        ("Fe0.333Ni0.667", "Fe333Ni667"),
    ],
)
def test_formulas(text, formula):
    found = Composition.from_formula(text)
    assert found.formula == formula
    assert found.n_atoms == len(found.numbers)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "unreadable"),
        ("na", "unreadable"),
        ("fe2o3", "unreadable"),
        ("Fe2+", "unreadable"),
        ("(Fe", "unreadable"),
        ("Fe-2O", "unreadable"),
        ("Fe2O3-x", "unreadable"),
        ("CuSO4·5H2O", "unreadable"),
        ("12", "unreadable"),
        ("Fe0", "unreadable"),
        ("FeO0.00003", "unreadable"),
        ("Fe1e999O", "unreadable"),
        (None, "unreadable"),
        (3.5, "unreadable"),
        ({"Fe": 2}, "unreadable"),
        ("Zz2O", "no_features"),
        ("X2O", "no_features"),
        ("Fe0.3331Ni0.6668O1.9", "too_large"),
        ("Fe10001O", "too_large"),
        ("Fe1e300O", "too_large"),
    ],
)
def test_what_is_no_formula_says_why(text, code):
    with pytest.raises(InvalidStructure) as caught:
        Composition.from_formula(text)
    assert caught.value.code == code
    assert repr(text) in str(caught.value) or code == "no_features"


def test_aliases_are_those_of_structures():
    assert Composition.from_formula("X2O", {"X": "H"}).formula == "H2O"


@given(
    st.dictionaries(st.sampled_from(list(NUMBERS)), st.integers(1, 9), min_size=1, max_size=5), st.randoms()
)
def test_only_the_ratio_counts(amounts, random):
    numbers = [NUMBERS[symbol] for symbol, count in amounts.items() for _ in range(count)]
    one = Composition(numbers)
    many = numbers * 3
    random.shuffle(many)
    other = Composition(many)
    assert one.structure_id == other.structure_id
    assert np.array_equal(one.numbers, other.numbers)
    assert min(numbers) == one.numbers[0]
    again = Composition.from_formula("".join(f"{symbol}{count}" for symbol, count in amounts.items()))
    assert again.structure_id == one.structure_id


def test_another_ratio_and_a_crystal_have_other_ids():
    crystal = Structure(np.eye(3) * 4, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])
    ids = {Composition([11, 17]).structure_id, Composition([11, 11, 17]).structure_id, crystal.structure_id}
    assert len(ids) == 3
    assert all(len(name) == 64 for name in ids)


def test_the_largest_that_is_taken():
    assert Composition([1] * (MOST_ATOMS - 1) + [8]).n_atoms == MOST_ATOMS
    assert Composition.from_formula(f"H{MOST_ATOMS - 1}O").n_atoms == MOST_ATOMS


def test_rows_of_the_store_come_back_as_what_they_were():
    salt = Composition([17, 11])
    back = restored(np.zeros(9), salt.numbers, [])
    assert isinstance(back, Composition)
    assert back.structure_id == salt.structure_id
    crystal = Structure(np.eye(3) * 4, [17, 11], [[0, 0, 0], [0.5, 0.5, 0.5]])
    again = restored(crystal.lattice.ravel(), crystal.numbers, crystal.frac_coords.ravel())
    assert isinstance(again, Structure)
    assert again.structure_id == crystal.structure_id


def test_who_needs_positions_says_so():
    crystal = Structure(np.eye(3) * 4, [11], [[0, 0, 0]])
    assert with_positions(crystal, "mine") is crystal
    with pytest.raises(InvalidStructure, match="only the composition ClNa is known; mine needs") as caught:
        with_positions(Composition([11, 17]), "mine")
    assert caught.value.code == "no_structure"


def test_the_numbers_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        Composition([11, 17]).numbers[0] = 3
