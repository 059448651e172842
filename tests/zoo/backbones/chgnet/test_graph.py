"""Graphs of CHGNet: counts that crystallography knows, an independent neighbour search, and limits."""

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from core.structure import InvalidStructure, Structure
from tests.crystals import random_rotation, random_structure
from zoo.backbones.chgnet.graph import CrystalGraph, GraphSettings, build


def graph_of(structure: Structure, max_rows: int = 1_000_000) -> CrystalGraph:
    return build(structure, GraphSettings(), max_rows)


def test_rock_salt_has_its_four_shells_and_its_octahedra():
    graph = graph_of(Structure.from_ase(bulk("NaCl", "rocksalt", a=5.64)))
    lengths, counts = np.unique(graph.length.round(6), return_counts=True)
    np.testing.assert_allclose(lengths, 5.64 * np.sqrt([1 / 4, 2 / 4, 3 / 4, 1]), atol=1e-6)
    assert counts.tolist() == [6, 12, 8, 6]  # half of 6, 12, 8, 6 neighbours, for each of two atoms
    assert graph.short == 6
    degrees, counts = np.unique(np.degrees(graph.angle).round(), return_counts=True)
    assert degrees.tolist() == [90, 180]
    assert counts.tolist() == [48, 12]


@pytest.mark.parametrize("seed", range(4))
def test_bonds_and_angles_are_those_of_another_neighbour_search(seed):
    structure = random_structure(np.random.default_rng(seed), 6)
    graph = graph_of(structure)
    i, j, d, vectors = neighbor_list("ijdD", structure.to_ase(), 6.0)
    both = [*zip(graph.first, graph.second, graph.length.round(6), strict=True)]
    both += [(b, a, length) for a, b, length in both]
    assert sorted(both) == sorted(zip(i, j, d.round(6), strict=True))

    near = d < 3.0
    center, unit = i[near], vectors[near] / d[near, None]
    wanted = [
        (center[a], unit[a] @ unit[b])
        for a in range(len(center))
        for b in range(len(center))
        if a != b and center[a] == center[b]
    ]
    found = sorted(zip(graph.center, np.cos(graph.angle), strict=True))
    np.testing.assert_allclose(found, sorted(wanted), atol=1e-5)
    assert (np.diff(graph.bond) >= 0).all()
    assert graph.bond.max() < graph.short


def test_a_bond_as_long_as_a_cutoff_counts_in_every_orientation():
    cubic = np.eye(3) * 3.0
    for turn in [np.eye(3), *(random_rotation(np.random.default_rng(seed)) for seed in range(8))]:
        graph = graph_of(Structure(cubic @ turn, [29], [[0.1, 0.2, 0.3]]))
        assert graph.short == 3
        assert np.isclose(graph.length, 6.0).sum() == 3
        assert len(graph.angle) == 6 * 5


def test_a_crystal_without_short_bonds_has_no_angles():
    graph = graph_of(Structure.from_ase(bulk("Ar", "fcc", a=5.3)))
    assert graph.short == 0
    assert len(graph.angle) == 0
    assert len(graph.length) == (12 + 6) / 2


@pytest.mark.parametrize(
    ("structure", "code", "message"),
    [
        (Structure(np.eye(3) * 3.5, [95], [[0, 0, 0]]), "no_features", "atomic number 95.* up to 94, Pu"),
        (
            Structure(np.eye(3) * 40, [2], [[0, 0, 0]]),
            "volume_per_atom",
            "atom 0 has no neighbour within 6 Å",
        ),
        (
            Structure(np.eye(3) * 30, [1, 1, 2], [[0, 0, 0], [0.03, 0, 0], [0.5, 0.5, 0.5]]),
            "volume_per_atom",
            "atom 2 has no neighbour",
        ),
    ],
)
def test_what_the_network_cannot_take_is_rejected(structure, code, message):
    with pytest.raises(InvalidStructure, match=message) as caught:
        graph_of(structure)
    assert caught.value.code == code


def test_plutonium_is_the_last_element():
    assert graph_of(Structure(np.eye(3) * 3.5, [94], [[0, 0, 0]])).numbers.tolist() == [94]


def test_a_structure_with_too_many_rows_names_the_setting():
    structure = Structure.from_ase(bulk("NaCl", "rocksalt", a=5.64))
    assert graph_of(structure, max_rows=2 * 32 + 60).rows == 2 * 32 + 60
    with pytest.raises(
        InvalidStructure, match=r"32 bonds and 60 angles.* 124 rows.*chgnet.max_rows"
    ) as caught:
        graph_of(structure, max_rows=123)
    assert caught.value.code == "too_large"
