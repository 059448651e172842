"""Atom features by atomic number."""

import numpy as np
import pytest

from core.structure import NUMBERS
from zoo.backbones.alignn.elements import atom_features, collisions


def numbers(*symbols: str) -> tuple[int, ...]:
    return tuple(NUMBERS[symbol] for symbol in symbols)


def test_table_has_a_row_an_element():
    table = atom_features()
    assert table.shape == (101, 92)
    assert table.dtype == np.float32
    assert not table[0].any()
    assert table[1:].any(axis=1).all()
    assert set(np.unique(table)) == {0.0, 1.0}


def test_rows_are_those_of_jarvis_tools():
    specie = pytest.importorskip("jarvis.core.specie")
    for symbol in ("H", "O", "Fe", "La", "U"):
        expected = specie.get_node_attributes(symbol, "cgcnn")
        np.testing.assert_array_equal(atom_features()[NUMBERS[symbol]], expected)


@pytest.mark.parametrize("pair", [("La", "Ce"), ("Sm", "Gd"), ("Ho", "Er"), ("Th", "Np"), ("Am", "Cm")])
def test_known_pairs_share_a_row(pair):
    assert collisions(numbers(*pair, "O", "Fe")) == [numbers(*pair)]


def test_elements_without_a_row_of_their_own_share_one():
    assert list(collisions(range(97, 101))[0]) == [97, 98, 99, 100]


def test_an_element_named_twice_does_not_collide():
    assert collisions([8, 8, 26, 26]) == []


def test_most_elements_are_told_apart():
    assert collisions(range(1, 57)) == []
