"""Rows before pooling: their mean is the pooled vector, and they belong to the atoms that they are of."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StrataError
from core.params import Extract
from core.structure import InvalidStructure, Structure
from tests.atomwise import atomwise_source
from tests.crystals import random_structure, varied_structures
from tests.engines import alignn_engine
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED
from zoo.backbones.check import check_backbone
from zoo.backbones.engine import Engine
from zoo.backbones.rows import Rows
from zoo.extraction import make_engine
from zoo.hub import backbone_of, load_source

WATER = Structure.from_ase(molecule("H2O"), vacuum=20.0)
STRUCTURES = {
    "one atom and its own images": Structure.from_ase(bulk("Cu")),
    "many atoms of one class": Structure.from_ase(bulk("Al", cubic=True) * (2, 1, 1)),
    "two classes": Structure.from_ase(bulk("NaCl", "rocksalt", a=5.64, cubic=True)),
    "a molecule": WATER,
    "perovskite": varied_structures()[19],
    "no symmetry": random_structure(np.random.default_rng(4), 6),
    "few atoms, no symmetry": random_structure(np.random.default_rng(5), 2),
}


def chgnet() -> Engine:
    if find_spec("chgnet") is None:
        pytest.skip("the package chgnet, whose wheel carries the weights, is not installed")
    source = load_source("chgnet")
    return Engine(backbone_of(source.card), source.state, Extract(device="cpu", threads=1))


def layer_norm() -> Engine:
    source = atomwise_source("random")
    return Engine(backbone_of(source.card), source.state, Extract(device="cpu", threads=1))


NETWORKS = {
    "alignn": lambda: alignn_engine(INVARIANT),
    "alignn, published rules": lambda: alignn_engine(PUBLISHED),
    "alignn, not compressed": lambda: alignn_engine(INVARIANT, compression=False),
    "alignn, layer norm": layer_norm,
    "chgnet": chgnet,
}


@pytest.fixture(scope="module", params=NETWORKS)
def engine(request) -> Engine:
    torch.set_num_threads(1)
    return NETWORKS[request.param]()


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-6))


@pytest.mark.parametrize("name", STRUCTURES)
def test_their_mean_is_the_pooled_vector_at_every_checkpoint(engine, name):
    structure = STRUCTURES[name]
    pooled = engine([structure])
    assert not pooled.errors
    found = engine.rows(structure)
    assert list(found) == [checkpoint.name for checkpoint in engine.backbone.checkpoints]
    worst = {at: off(rows.mean(), pooled.vectors[at][0]) for at, rows in found.items()}
    assert {at: w for at, w in worst.items() if w > 5e-5} == {}
    counts = {"atom": structure.n_atoms, "bond": pooled.counts["n_bonds"], "angle": pooled.counts["n_angles"]}
    for at, rows in found.items():
        kind = at.partition("_")[0]
        assert rows.vectors.dtype == np.float32
        assert rows.atoms.shape == (counts[kind], {"atom": 1, "bond": 2, "angle": 3}[kind])


def test_a_permutation_of_atoms_permutes_the_rows(engine):
    structure = STRUCTURES["no symmetry"]
    order = np.random.default_rng(0).permutation(structure.n_atoms)
    shuffled = Structure(structure.lattice, structure.numbers[order], structure.frac_coords[order])
    first, second = engine.rows(structure), engine.rows(shuffled)
    for at, rows in first.items():
        sums, counts = rows.per_atom(structure.n_atoms)
        sums_after, counts_after = second[at].per_atom(structure.n_atoms)
        np.testing.assert_allclose(counts_after, counts[order], rtol=1e-12)
        assert off(sums_after, sums[order]) < 1e-5, at
        if at.startswith("atom"):
            assert off(second[at].vectors, rows.vectors[order]) < 1e-5
    assert off(first["atom_1"].vectors[::-1], first["atom_1"].vectors) > 1e-2, "the comparison can fail"


def test_atoms_of_one_element_and_surrounding_have_the_same_rows(engine):
    salt = STRUCTURES["two classes"]
    rows = engine.rows(salt, ["atom_4"])["atom_4"].vectors
    sodium = salt.numbers == 11
    assert off(rows[sodium], np.broadcast_to(rows[sodium][0], rows[sodium].shape)) < 1e-4
    assert off(rows[~sodium][0], rows[sodium][0]) > 1e-2


@pytest.mark.parametrize("engine", ["alignn", "chgnet"], indirect=True)  # their bonds end in the box
def test_bonds_and_angles_belong_to_the_atoms_that_they_join(engine):
    """Depth 0 knows a bond by its length alone and an angle by its cosine: so do the ends that are told."""
    found = engine.rows(WATER, ["bond_0", "angle_0"])
    bonds, angles = found["bond_0"], found["angle_0"]
    oxygen = int(np.flatnonzero(WATER.numbers == 8)[0])
    kinds = {}
    for vector, ends in zip(bonds.vectors, bonds.atoms, strict=True):
        kinds.setdefault(tuple(np.sort(WATER.numbers[ends])), []).append(vector)
    assert off(np.array(kinds[1, 8]), np.array(kinds[1, 8])[:1]) < 1e-4, "both O–H bonds have one length"
    assert off(kinds[1, 8][0], kinds[1, 1][0]) > 1e-2, "H–H is longer"
    corner = angles.vectors[(angles.atoms[:, 2] == oxygen) & (angles.atoms[:, 0] != angles.atoms[:, 1])]
    assert len(corner) == 2, "H–O–H in both orders"
    assert off(corner[1], corner[0]) < 1e-4
    others = angles.vectors[(angles.atoms[:, 2] != oxygen) & (angles.atoms[:, 0] != angles.atoms[:, 1])]
    assert all(off(row, corner[0]) > 1e-2 for row in others)


def test_rows_of_few_checkpoints_are_those_of_all(engine):
    structure = STRUCTURES["few atoms, no symmetry"]
    some, everything = engine.rows(structure, ["bond_3", "atom_0"]), engine.rows(structure)
    assert list(some) == ["bond_3", "atom_0"]
    for at, rows in some.items():
        np.testing.assert_array_equal(rows.vectors, everything[at].vectors)
        np.testing.assert_array_equal(rows.atoms, everything[at].atoms)


def test_without_angles_there_are_no_rows_of_angles():
    engine = chgnet()
    argon = Structure.from_ase(bulk("Ar", "fcc", a=5.3))
    rows = engine.rows(argon, ["angle_3"])["angle_3"]
    assert (rows.vectors.shape, rows.atoms.shape) == ((0, 64), (0, 3))
    np.testing.assert_array_equal(rows.mean(), engine([argon]).vectors["angle_3"][0])


def test_the_reference_backend_gives_vectors_that_are_the_means_of_our_rows():
    pytest.importorskip("dgl", reason="the reference backend needs the extra `dgl`")
    check_backbone(alignn_engine(INVARIANT, backend="dgl"), list(STRUCTURES.values())[2:3])


def test_a_composition_has_no_rows():
    pytest.importorskip("matminer", reason="magpie needs the extra `data`")
    with pytest.raises(StrataError, match="rows are not offered by magpie: it says nothing of single atoms"):
        make_engine("magpie", Extract()).rows(WATER)


def test_what_cannot_be_taken_and_what_is_not_there_is_named():
    engine = alignn_engine(INVARIANT, max_angles=10)
    with pytest.raises(InvalidStructure, match="allowed are 10 angles"):
        engine.rows(WATER)
    with pytest.raises(
        StrataError, match=r"unknown checkpoint .atom_9. in backbone alignn; did you mean .atom_"
    ):
        engine.rows(WATER, ["atom_9"])


def test_rows_that_do_not_fit_into_memory_are_an_error_of_the_structure(monkeypatch):
    engine = alignn_engine(INVARIANT)

    def full(prepared, checkpoints):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.runner, "rows", full)
    with pytest.raises(InvalidStructure, match="angles does not fit into the memory of cpu") as caught:
        engine.rows(WATER)
    assert caught.value.code == "too_large"

    def broken(prepared, checkpoints):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(engine.runner, "rows", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        engine.rows(WATER)


@given(st.integers(0, 30), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_parts_of_atoms_add_up_to_all_rows(m, k, n_atoms, seed):
    rng = np.random.default_rng(seed)
    rows = Rows(rng.normal(size=(m, 3)).astype(np.float32), rng.integers(0, n_atoms, (m, k)))
    sums, counts = rows.per_atom(n_atoms)
    np.testing.assert_allclose(sums.sum(axis=0), rows.mean() * m, atol=1e-9)
    assert counts.sum() == pytest.approx(m)
    by_hand = np.zeros((n_atoms, 3))
    for vector, atoms in zip(rows.vectors, rows.atoms, strict=True):
        for atom in atoms:
            by_hand[atom] += vector / k
    np.testing.assert_allclose(sums, by_hand, atol=1e-6)
