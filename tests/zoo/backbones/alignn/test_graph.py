"""Graphs: the invariant rule's symmetries, the published rule's edges, and the line graph."""

import math
import os
from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from core.archive import read_json
from core.params import Ingest
from core.structure import InvalidStructure, Structure
from etl import providers, raw
from etl.cards import load_card
from tests.crystals import random_rotation, random_structure
from tests.engines import CHECKPOINTS, alignn_engine, stacked
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED, Graph, GraphSettings, build, line_graph

needs_raw = pytest.mark.skipif(
    "STRATA_RAW" not in os.environ, reason="STRATA_RAW names no folder of raw files"
)

CRYSTALS = {
    "Al": lambda: bulk("Al"),
    "Fe": lambda: bulk("Fe"),
    "Mg": lambda: bulk("Mg"),
    "Si": lambda: bulk("Si", cubic=True),
    "NaCl": lambda: bulk("NaCl", "rocksalt", a=5.64),
    "GaN": lambda: bulk("GaN", "wurtzite", a=3.19),
    "CaF2": lambda: bulk("CaF2", "fluorite", a=5.46),
}


def crystal(name: str, repeat: int = 1) -> Structure:
    return Structure.from_ase(CRYSTALS[name]() * (repeat, repeat, repeat))


# --- the invariant rule ---


@pytest.fixture(scope="module")
def vectors():
    """A function from structures to their 23 vectors under the invariant rule, without compression."""
    torch.set_num_threads(1)
    engine = alignn_engine(INVARIANT, compression=False)

    def run(*structures: Structure) -> np.ndarray:
        extracted = engine(structures)
        assert not extracted.errors
        return stacked(extracted)

    return run


def rotated(s: Structure, rng: np.random.Generator) -> Structure:
    return Structure(s.lattice @ random_rotation(rng).T, s.numbers, s.frac_coords)


def translated(s: Structure, rng: np.random.Generator) -> Structure:
    return Structure(s.lattice, s.numbers, s.frac_coords + rng.uniform(-2, 2, 3))


def permuted(s: Structure, rng: np.random.Generator) -> Structure:
    order = rng.permutation(s.n_atoms)
    whole = rng.integers(-2, 3, (s.n_atoms, 3))  # any image of an atom will do
    return Structure(s.lattice, s.numbers[order], s.frac_coords[order] + whole)


def other_cell(s: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal in a skewed cell: lattice vectors added to one another."""
    change = np.eye(3)
    for _ in range(2):
        a, b = rng.permutation(3)[:2]
        change[a] += rng.choice([-1, 1]) * change[b]
    return Structure(change @ s.lattice, s.numbers, s.frac_coords @ np.linalg.inv(change))


def niggli(s: Structure, rng: np.random.Generator) -> Structure:
    reduced = other_cell(s, rng).to_pymatgen().get_reduced_structure("niggli")
    return Structure.from_pymatgen(reduced)


def supercell(s: Structure, rng: np.random.Generator) -> Structure:
    repeat = rng.permutation([1, 1, 2])
    shifts = np.array(list(product(*map(range, repeat))))
    sites = (s.frac_coords[:, None] + shifts).reshape(-1, 3) / repeat
    return Structure(s.lattice * repeat[:, None], np.repeat(s.numbers, len(shifts)), sites)


def perturbed(s: Structure, rng: np.random.Generator) -> Structure:
    moves = rng.uniform(-1e-9, 1e-9, (s.n_atoms, 3))
    return Structure(s.lattice, s.numbers, s.frac_coords + moves @ np.linalg.inv(s.lattice))


def left_handed(s: Structure, rng: np.random.Generator) -> Structure:
    swap = [1, 0, 2]
    return Structure(s.lattice[swap], s.numbers, s.frac_coords[:, swap])


CHANGES = [rotated, translated, permuted, other_cell, niggli, supercell, perturbed, left_handed]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["random", *CRYSTALS]))
def test_another_setting_of_a_crystal_has_the_same_vectors(vectors, change, seed, kind):
    rng = np.random.default_rng(seed)
    structure = random_structure(rng, int(rng.integers(1, 4))) if kind == "random" else crystal(kind)
    before, after = vectors(structure, change(structure, rng))
    worst = np.abs(after - before).max(axis=1) / np.abs(before).max(axis=1)
    assert {c.name: w for c, w in zip(CHECKPOINTS, worst, strict=True) if not w <= 1e-4} == {}


def test_a_structure_that_differs_has_other_vectors(vectors):
    """The comparison can fail: 0.1 Å are seen in every vector but those that know elements only."""
    rng = np.random.default_rng(0)
    structure = Structure(
        random_structure(rng, 3).lattice, [1, 26, 83], [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5]]
    )
    moved = structure.frac_coords + rng.normal(0, 0.1, (3, 3)) @ np.linalg.inv(structure.lattice)
    before, after = vectors(structure, Structure(structure.lattice, structure.numbers, moved))
    worst = np.abs(after - before).max(axis=1) / np.abs(before).max(axis=1)
    assert [c.name for c, w in zip(CHECKPOINTS, worst, strict=True) if w <= 1e-4] == ["atom_0"]


def bonds_one_by_one(structure: Structure, rule: GraphSettings, reach: int) -> Counter:
    """Directed bonds (src, dst, vector) of the invariant rule, by its definition, image by image."""
    positions, n = structure.positions, structure.n_atoms
    chosen = set()
    for i in range(n):
        around = []
        for j in range(n):
            for image in product(range(-reach, reach + 1), repeat=3):
                if (i, image) != (j, (0, 0, 0)):
                    vector = positions[j] + np.array(image) @ structure.lattice - positions[i]
                    around.append((math.dist(vector, (0, 0, 0)), j, image))
        around.sort()
        shell = around[rule.max_neighbours - 1][0] + rule.shell_tolerance
        for distance, j, image in around:
            if distance <= shell and (rule.max_bond is None or distance <= rule.max_bond):
                chosen |= {(i, j, image), (j, i, tuple(-x for x in image))}
    return Counter(
        (i, j, *np.round(positions[j] + np.array(image) @ structure.lattice - positions[i], 6) + 0.0)
        for i, j, image in chosen
    )


def directed(graph: Graph) -> Counter:
    return Counter(
        (int(i), int(j), *np.round(v, 6) + 0.0)
        for i, j, v in zip(graph.src, graph.dst, graph.vector, strict=True)
    )


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_whole_shells_and_each_bond_once(seed):
    structure = random_structure(np.random.default_rng(seed), 1 + seed % 3)
    graph = build(structure, INVARIANT)
    found = directed(graph)
    assert found == bonds_one_by_one(structure, INVARIANT, reach=4)
    assert max(found.values()) == 1
    assert all(found[j, i, *(-np.array(v) + 0.0)] == 1 for i, j, *v in found), "stored in both directions"


@pytest.mark.parametrize(("name", "neighbours"), [("Al", 12), ("Fe", 14), ("NaCl", 18), ("Si", 16)])
@pytest.mark.parametrize("repeat", [1, 2])
def test_shells_of_known_crystals(name, neighbours, repeat):
    graph = build(crystal(name, repeat), INVARIANT)
    assert set(np.bincount(graph.dst)) == {neighbours}


def test_bonds_per_atom_of_rock_salt_depend_on_the_cell_under_the_published_rule_only():
    """The defect that rules invariance out: bonds to own images count twice, and larger cells have none."""

    def per_atom(repeat, rule):
        structure = crystal("NaCl", repeat)
        return len(build(structure, rule).src) / structure.n_atoms

    assert per_atom(1, PUBLISHED) == 30
    assert 13 < per_atom(3, PUBLISHED) < 18.01, "16 or so: rounding says which of the second shell are kept"
    assert [per_atom(repeat, INVARIANT) for repeat in (1, 2, 3)] == [18, 18, 18]


def test_lengths_and_order():
    graph = build(random_structure(np.random.default_rng(3), 4), INVARIANT)
    np.testing.assert_allclose(graph.length, np.linalg.norm(graph.vector, axis=1), rtol=1e-14)
    assert (np.diff(graph.dst) >= 0).all()
    assert graph.length.max() <= INVARIANT.max_bond


def test_bond_as_long_as_allowed_is_kept_in_any_orientation():
    """Exactly 8 Å, the largest allowed: rounding must not decide."""
    rng = np.random.default_rng(0)
    cube = Structure(np.eye(3) * 8.0, [2], [[0, 0, 0]])
    assert {len(build(rotated(cube, rng), INVARIANT).src) for _ in range(10)} == {6}


def test_isolated_atom_has_no_bonds_and_is_extracted(vectors):
    helium = Structure(np.eye(3) * 20.0, [2], [[0.5, 0.5, 0.5]])
    graph = build(helium, INVARIANT)
    assert len(graph.src) == len(line_graph(graph, INVARIANT).src) == 0
    (found,) = vectors(helium)
    for checkpoint, vector in zip(CHECKPOINTS, found, strict=True):
        assert vector.any() == (checkpoint.kind == "atom"), checkpoint.name
    beside, alone = vectors(crystal("Al"), helium)
    np.testing.assert_allclose(alone, found, atol=1e-5)
    assert beside.any(axis=1).all()


@pytest.mark.parametrize("edges", [(500, 4, 4), (500, 500, 500)])
def test_long_cells_are_finite(vectors, edges):
    """Atoms that are close together, in a cell 500 Å long."""
    rng = np.random.default_rng(0)
    sites = np.array([[x, y, 0] for x in range(4) for y in range(4)]) * 2.3 + rng.uniform(0, 0.2, (16, 3))
    sites = sites[::5] if edges[1] == 4 else sites
    structure = Structure(np.diag(edges), [14] * len(sites), sites / edges)
    graph = build(structure, INVARIANT)
    assert np.isfinite(graph.vector).all()
    assert len(graph.src) > 0
    assert np.isfinite(vectors(structure)).all()


def test_atom_without_enough_neighbours_anywhere_is_a_reject():
    with pytest.raises(InvalidStructure, match="fewer than 12 neighbours within 1000 Å") as caught:
        build(Structure(np.eye(3) * 900.0, [2], [[0, 0, 0]]), INVARIANT)
    assert caught.value.code == "volume_per_atom"


# --- the line graph ---


@pytest.mark.parametrize("rule", [INVARIANT, PUBLISHED], ids=["invariant", "published"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_line_graph_against_a_double_loop(rule, seed):
    rng = np.random.default_rng(seed)
    structure = random_structure(rng, 1 + seed % 2)
    graph = build(structure, rule)
    expected = Counter()
    for e, (i, j, v) in enumerate(zip(graph.src, graph.dst, graph.vector, strict=True)):
        for f, (k, m, w) in enumerate(zip(graph.src, graph.dst, graph.vector, strict=True)):
            if j == k and (e != f or rule.self_image == "once"):
                cosine = np.dot(-v, w) / (math.dist(v, (0, 0, 0)) * math.dist(w, (0, 0, 0)))
                expected[e, f, round(float(cosine), 9) + 0.0] += 1
            assert 0 <= m < structure.n_atoms
            assert 0 <= i < structure.n_atoms
    line = line_graph(graph, rule)
    found = Counter(
        (int(e), int(f), round(float(c), 9) + 0.0)
        for e, f, c in zip(line.src, line.dst, line.cosine, strict=True)
    )
    assert {key[:2] for key in found} == {key[:2] for key in expected}
    assert sum(found.values()) == sum(expected.values()) <= graph.most_angles
    in_order = sorted(expected)
    np.testing.assert_allclose([k[2] for k in sorted(found)], [k[2] for k in in_order], atol=1e-8)
    assert (np.diff(line.dst) >= 0).all()
    assert np.abs(line.cosine).max() <= 1.0


def test_tetrahedron():
    graph = build(crystal("Si"), GraphSettings(max_neighbours=4, max_bond=8.0))
    line = line_graph(graph)
    assert set(np.bincount(graph.dst)) == {4}
    assert Counter(np.round(line.cosine, 6)) == {1.0: 32, -0.333333: 96}


# --- alignn's edges ---


def structures_of(name: str) -> Iterator[tuple[str, Structure]]:
    card = raw.version_at_hand(load_card(name))
    for record in providers.get(card.provider).records(card, raw.find(card).path, Ingest()):
        if record.structure is not None:
            yield record.entry_id, record.structure


def chosen_from_megnet(count: int) -> list[tuple[str, Structure]]:
    found = read_json(raw.find(load_card("megnet")).path)
    chosen = np.random.default_rng(0).choice(len(found), count, replace=False)
    return [(found[i]["id"], Structure.from_jarvis(found[i]["atoms"])) for i in chosen]


def rows(src: np.ndarray, dst: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Edges as sorted integer rows: two sets are equal if and only if every bit is."""
    table = np.column_stack([src, dst, np.ascontiguousarray(vector, np.float32).view(np.int32)])
    return table[np.lexsort(table.T)]


def differing(structures) -> list[str]:
    """Ids of the structures whose published graph is not alignn's."""
    graphs = pytest.importorskip("alignn.graphs", reason="needs the extra `dgl`")
    from jarvis.core.atoms import Atoms

    wrong = []
    for name, structure in structures:
        atoms = Atoms.from_dict(structure.to_jarvis_dict())
        edges, _ = graphs.nearest_neighbor_edges(atoms=atoms, cutoff=8.0, max_neighbors=12, use_canonize=True)
        u, v, r, _ = graphs.build_undirected_edgedata(atoms, edges)
        graph = build(structure, PUBLISHED)
        ours, theirs = rows(graph.src, graph.dst, graph.vector), rows(u.numpy(), v.numpy(), r.numpy())
        if not np.array_equal(ours, theirs):
            wrong.append(name)
    return wrong


@needs_raw
def test_published_edges_are_alignns():
    assert differing(chosen_from_megnet(60)) == []


@pytest.mark.slow
@needs_raw
@pytest.mark.parametrize("name", ["megnet", "jarvis_3d", "dielectric_constant", "piezoelectric_tensor"])
def test_all_published_edges_are_alignns(name):
    chosen = chosen_from_megnet(1000) if name == "megnet" else list(structures_of(name))
    assert differing(chosen) == []
