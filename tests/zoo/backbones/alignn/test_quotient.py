"""Symmetry classes: against colour refinement by the book, and against the network without them."""

from collections import Counter

import numpy as np
import pytest
import torch
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from core.structure import Structure
from tests.crystals import random_structure
from tests.engines import CHECKPOINTS, alignn_engine, relative, stacked
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED, Graph, LineGraph, build, line_graph
from zoo.backbones.alignn.quotient import COSINE_TOLERANCE, LENGTH_TOLERANCE, Quotient, compress, uncompressed

CRYSTALS = [
    bulk("Al"),
    bulk("Mg"),
    bulk("Si", cubic=True),
    bulk("NaCl", "rocksalt", a=5.64),
    bulk("CsCl", "cesiumchloride", a=4.12, cubic=True),
    bulk("GaN", "wurtzite", a=3.19),
    bulk("CaF2", "fluorite", a=5.46),
]


def drawn(seed: int, kind: str) -> Structure:
    """A structure of a kind: without symmetry, a crystal, a supercell, or one slightly out of place."""
    rng = np.random.default_rng(seed)
    if kind == "random":
        return random_structure(rng, int(rng.integers(1, 5)))
    atoms = CRYSTALS[rng.integers(len(CRYSTALS))]
    if kind != "crystal":
        atoms = atoms * tuple(int(x) for x in rng.permutation([1, 1, 2]))
    if kind == "broken":
        atoms.positions += rng.normal(0, 10 ** rng.uniform(-6, -2), atoms.positions.shape)
    return Structure.from_ase(atoms)


def quotient_of(structure: Structure, rule=INVARIANT) -> tuple[Graph, LineGraph, Quotient]:
    graph = build(structure, rule)
    line = line_graph(graph, rule)
    return graph, line, compress(graph, line)


# --- against refinement by the book ---


def linked(values, tolerance: float) -> list[int]:
    """Label numbers: the same label where a chain of steps of at most `tolerance` joins them."""
    order = sorted(range(len(values)), key=lambda k: values[k])
    labels, label = {}, 0
    for before, k in zip([None, *order], order, strict=False):
        label += before is not None and values[k] - values[before] > tolerance
        labels[k] = label
    return [labels[k] for k in range(len(values))]


def numbered(signatures) -> list[int]:
    seen: dict = {}
    return [seen.setdefault(signature, len(seen)) for signature in signatures]


def refined(graph: Graph, line: LineGraph) -> tuple[list[int], list[int], list[tuple]]:
    """Classes of atoms, bonds and angles: split by what is around a row until nothing splits."""
    bonds, atoms = range(len(graph.src)), range(len(graph.numbers))
    angle_label = linked(line.cosine.tolist(), COSINE_TOLERANCE)
    angles_of = {e: [] for e in bonds}
    for e, f, label in zip(line.src.tolist(), line.dst.tolist(), angle_label, strict=True):
        angles_of[f].append((e, label))
    bonds_of = {i: [e for e in bonds if graph.dst[e] == i] for i in atoms}
    atom, bond = numbered(graph.numbers.tolist()), linked(graph.length.tolist(), LENGTH_TOLERANCE)
    while True:
        around = [frozenset(Counter((bond[e], label) for e, label in angles_of[f]).items()) for f in bonds]
        new_bond = numbered((bond[e], atom[graph.src[e]], atom[graph.dst[e]], around[e]) for e in bonds)
        new_atom = numbered(
            (atom[i], frozenset(Counter(new_bond[e] for e in bonds_of[i]).items())) for i in atoms
        )
        if (max(new_atom), max(new_bond)) == (max(atom), max(bond)):
            break
        atom, bond = new_atom, new_bond
    angles = [
        (bond[e], bond[f], label)
        for e, f, label in zip(line.src.tolist(), line.dst.tolist(), angle_label, strict=True)
    ]
    return atom, bond, angles


@pytest.mark.parametrize("kind", ["random", "crystal", "supercell"])
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_classes_are_those_of_colour_refinement(kind, seed):
    graph, line, quotient = quotient_of(drawn(seed, kind))
    atom, bond, angle = refined(graph, line)
    for classes, sizes in (
        (atom, quotient.atom_size),
        (bond, quotient.bond_size),
        (angle, quotient.angle_size),
    ):
        assert sorted(Counter(classes).values()) == sorted(sizes)
    element = Counter()
    for number, size in zip(quotient.numbers, quotient.atom_size, strict=True):
        element[int(number)] += int(size)
    assert element == Counter(graph.numbers.tolist())


# --- what every quotient must fulfil ---


@pytest.mark.parametrize("rule", [INVARIANT, PUBLISHED], ids=["invariant", "published"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["random", "crystal", "supercell", "broken"]))
def test_the_partition_is_equitable_and_sizes_sum_to_rows(rule, seed, kind):
    graph, line, q = quotient_of(drawn(seed, kind), rule)
    assert (q.atom_size.sum(), q.bond_size.sum(), q.angle_size.sum()) == (
        len(graph.numbers),
        len(graph.src),
        len(line.src),
    )
    for weight in (q.bond_weight, q.angle_weight):
        np.testing.assert_array_equal(weight, np.round(weight))
        assert (weight >= 1).all()
    np.testing.assert_array_equal(q.bond_size, q.bond_weight * q.atom_size[q.bond_dst])
    np.testing.assert_array_equal(q.angle_size, q.angle_weight * q.bond_size[q.angle_dst])
    assert (np.diff(q.bond_dst) >= 0).all()
    assert (np.diff(q.angle_dst) >= 0).all()
    # Every atom, and every bond, keeps its number of neighbours.
    degree = np.bincount(q.bond_dst, weights=q.bond_weight, minlength=len(q.numbers))
    assert weighted(degree, q.atom_size) == Counter(
        np.bincount(graph.dst, minlength=len(graph.numbers)).tolist()
    )
    meeting = np.bincount(q.angle_dst, weights=q.angle_weight, minlength=len(q.length))
    assert weighted(meeting, q.bond_size) == Counter(np.bincount(line.dst, minlength=len(graph.src)).tolist())
    # Representatives stand for their class: the sum over rows is the weighted sum over classes.
    assert abs((q.length * q.bond_size).sum() - graph.length.sum()) <= LENGTH_TOLERANCE * len(graph.src)
    assert abs((q.cosine * q.angle_size).sum() - line.cosine.sum()) <= COSINE_TOLERANCE * len(line.src)


def weighted(values: np.ndarray, sizes: np.ndarray) -> Counter:
    found: Counter = Counter()
    for value, size in zip(values, sizes, strict=True):
        found[int(value)] += int(size)
    return found


@pytest.mark.parametrize(
    ("atoms", "classes"),
    [
        (bulk("Al"), (1, 1, 5)),  # angles of 0°, 60°, 90°, 120° and 180°
        (bulk("Al") * (2, 2, 2), (1, 1, 5)),
        (bulk("Po", "sc", a=3.35), (1, 2, None)),  # 6 neighbours, and the 12 of the second shell
        (bulk("Si", cubic=True), (1, 2, None)),
        (bulk("Mg"), (1, 2, None)),  # c/a is not ideal: 6 neighbours in the layer, 6 beside it
        (bulk("NaCl", "rocksalt", a=5.64), (2, 4, None)),
        (bulk("CaF2", "fluorite", a=5.46), (2, None, None)),
    ],
    ids=lambda x: x.get_chemical_formula() if hasattr(x, "get_chemical_formula") else "",
)
def test_classes_of_known_crystals(atoms, classes):
    _, _, q = quotient_of(Structure.from_ase(atoms))
    found = len(q.numbers), len(q.length), len(q.cosine)
    assert [(f, c) for f, c in zip(found, classes, strict=True) if c is not None and f != c] == []


def test_isolated_atoms():
    helium = Structure(np.eye(3) * 30.0, [2, 2, 10], [[0, 0, 0], [0.4, 0.4, 0.4], [0.8, 0.8, 0.8]])
    _, _, q = quotient_of(helium)
    assert (len(q.numbers), len(q.length), len(q.cosine)) == (2, 0, 0)
    assert sorted(q.atom_size) == [1, 2]


def test_without_symmetry_nothing_is_joined():
    graph, line, q = quotient_of(random_structure(np.random.default_rng(5), 3))
    assert len(q.numbers) == 3
    plain = uncompressed(graph, line)
    np.testing.assert_allclose(
        np.sort(q.length), np.sort(plain.length)[:: len(plain.length) // len(q.length)]
    )


@pytest.mark.parametrize(("split", "classes"), [(0.9e-4, 1), (1.1e-4, 2)])
def test_tolerance_of_lengths(split, classes):
    """A tetragonal distortion moves the in-plane and the other bonds of a simple cubic cell apart."""
    lattice = np.diag([3.35, 3.35, 3.35 + split])
    rule = INVARIANT.model_copy(update={"max_neighbours": 4, "shell_tolerance": 1e-2})
    _, _, q = quotient_of(Structure(lattice, [84], [[0, 0, 0]]), rule)
    assert len(q.length) == classes


def test_chain_of_close_lengths_is_not_one_class():
    """Lengths a little less than the tolerance apart, over a range much wider than it."""
    n = 40
    z = np.cumsum(2.0 + 0.8e-4 * np.arange(n))
    sites = np.column_stack([np.zeros(n), np.zeros(n), z]) / [40.0, 40.0, z[-1] + 40]
    structure = Structure(np.diag([40.0, 40.0, z[-1] + 40]), [14] * n, sites)
    rule = INVARIANT.model_copy(update={"max_neighbours": 1, "max_bond": 3.0})
    graph, _, q = quotient_of(structure, rule)
    spread = graph.length.max() - graph.length.min()
    assert spread > 10 * LENGTH_TOLERANCE
    assert len(np.unique(q.length)) >= spread / LENGTH_TOLERANCE / 2


# --- against the network without classes ---


@pytest.fixture(scope="module")
def engines():
    torch.set_num_threads(1)
    return [alignn_engine(compression=c) for c in (True, False)]


@pytest.mark.parametrize(
    ("kind", "bound"), [("random", 5e-5), ("crystal", 5e-5), ("supercell", 5e-5), ("broken", 5e-4)]
)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_vectors_and_prediction_are_those_of_the_plain_path(engines, kind, bound, seed):
    structure = drawn(seed, kind)
    short, plain = (engine([structure]) for engine in engines)
    worst = relative(stacked(short), stacked(plain))[0]
    assert {c.name: w for c, w in zip(CHECKPOINTS, worst, strict=True) if not w <= bound} == {}
    np.testing.assert_allclose(short.prediction, plain.prediction, atol=bound)
    for name in ("n_bonds", "n_angles"):
        np.testing.assert_array_equal(short.counts[name], plain.counts[name])
    for name in ("n_distinct_atoms", "n_distinct_bonds", "n_distinct_angles"):
        assert short.counts[name][0] <= plain.counts[name][0]
