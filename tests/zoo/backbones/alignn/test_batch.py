"""Batches: structures side by side, nothing padded, nothing mixed up."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.structure import Structure
from tests.crystals import random_structure
from zoo.backbones.alignn.batch import by_angles, collate
from zoo.backbones.alignn.graph import INVARIANT, build, line_graph
from zoo.backbones.alignn.quotient import Quotient, compress, uncompressed


def quotient(seed: int, compressed: bool = False) -> Quotient:
    graph = build(random_structure(np.random.default_rng(seed), 1 + seed % 3), INVARIANT)
    line = line_graph(graph, INVARIANT)
    return compress(graph, line) if compressed else uncompressed(graph, line)


@pytest.fixture(scope="module")
def quotients() -> list[Quotient]:
    return [quotient(seed, seed % 2 == 0) for seed in range(4)]


def sized(*angles: int) -> list[Quotient]:
    """Quotients of which only the number of angles matters."""
    empty = np.zeros(0)
    return [Quotient(*(np.zeros(n) if f == "cosine" else empty for f in Quotient._fields)) for n in angles]


def test_rows_of_each_structure_are_its_own(quotients):
    batch = collate(quotients)
    atoms = np.cumsum([0, *(len(q.numbers) for q in quotients)])
    bonds = np.cumsum([0, *(len(q.length) for q in quotients)])
    angles = np.cumsum([0, *(len(q.cosine) for q in quotients)])
    for k, q in enumerate(quotients):
        of_atoms, of_bonds, of_angles = (slice(x[k], x[k + 1]) for x in (atoms, bonds, angles))
        np.testing.assert_array_equal(batch.numbers[of_atoms], q.numbers)
        np.testing.assert_allclose(batch.length[of_bonds], q.length, rtol=1e-6)
        np.testing.assert_allclose(batch.cosine[batch.angle_cosine[of_angles]], q.cosine, atol=1e-6)
        np.testing.assert_array_equal(batch.bonds.src[of_bonds] - atoms[k], q.bond_src)
        np.testing.assert_array_equal(batch.bonds.dst[of_bonds] - atoms[k], q.bond_dst)
        np.testing.assert_array_equal(batch.angles.src[of_angles] - bonds[k], q.angle_src)
        np.testing.assert_array_equal(batch.angles.dst[of_angles] - bonds[k], q.angle_dst)
        np.testing.assert_array_equal(batch.bonds.weight[of_bonds], q.bond_weight)
        np.testing.assert_allclose(
            batch.pools["bond"].weight[of_bonds], q.bond_size / q.bond_size.sum(), rtol=1e-6
        )
    assert (len(batch.numbers), len(batch.length), len(batch.angle_cosine)) == (
        atoms[-1],
        bonds[-1],
        angles[-1],
    )


def test_segments_start_where_targets_change(quotients):
    batch = collate(quotients)
    for rows, nodes in ((batch.bonds, len(batch.numbers)), (batch.angles, len(batch.length))):
        assert len(rows.start) == nodes
        counts = torch.bincount(rows.dst, minlength=nodes)
        torch.testing.assert_close(rows.start, counts.cumsum(0) - counts)


def test_weights_are_left_out_where_all_are_one():
    batch = collate([quotient(1), quotient(2)])
    assert batch.bonds.weight is None
    assert batch.angles.weight is None


def test_structure_without_bonds_between_others():
    helium = build(Structure(np.eye(3) * 20, [2], [[0, 0, 0]]), INVARIANT)
    alone = uncompressed(helium, line_graph(helium, INVARIANT))
    batch = collate([quotient(1), alone, quotient(2)])
    assert batch.pools["bond"].start[1] == batch.pools["bond"].start[2]
    assert batch.pools["angle"].start[1] == batch.pools["angle"].start[2]
    assert torch.isfinite(batch.pools["bond"].weight).all()
    only = collate([alone])
    assert len(only.length) == len(only.angle_cosine) == 0


def test_pool_weights_sum_to_one(quotients):
    batch = collate(quotients)
    for pool in batch.pools.values():
        ends = [*pool.start.tolist()[1:], len(pool.weight)]
        for start, end in zip(pool.start.tolist(), ends, strict=True):
            assert float(pool.weight[start:end].sum()) == pytest.approx(1, abs=1e-5)


@given(angles=st.lists(st.integers(0, 120), max_size=30), limit=st.integers(1, 200))
def test_batches_hold_each_structure_once_and_keep_to_the_limit(angles, limit):
    batches = list(by_angles(sized(*angles), limit))
    assert sorted(k for batch in batches for k in batch) == list(range(len(angles)))
    for batch in batches:
        assert len(batch) == 1 or sum(angles[k] for k in batch) <= limit
    in_order = [angles[k] for batch in batches for k in batch]
    assert in_order == sorted(angles)


def test_a_giant_goes_alone():
    assert list(by_angles(sized(500, 10, 20, 700), 100)) == [[1, 2], [0], [3]]
