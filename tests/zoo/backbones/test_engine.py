"""The engine: batches cut by angles, limits, memory that runs out, and results in order."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from core.errors import StrataError
from core.params import Extract
from core.structure import InvalidStructure, Structure
from tests.crystals import random_structure, varied_structures
from tests.engines import CHECKPOINTS, SOURCE, alignn_engine, relative, stacked
from zoo.backbones.base import Output
from zoo.backbones.engine import Engine, out_of_memory, pick_device
from zoo.extraction import make_engine
from zoo.hub import load_source

COUNTS = ("n_bonds", "n_angles", "n_distinct_atoms", "n_distinct_bonds", "n_distinct_angles")


class Small:
    """A runner on a machine with memory for so many angles; keeps a record of what it was asked."""

    def __init__(self, inner, angles: int, error: Exception) -> None:
        self.inner, self.angles, self.error = inner, angles, error
        self.asked: list[list[int]] = []

    def run(self, prepared, checkpoints) -> Output:
        self.asked.append([len(p.quotient.cosine) for p in prepared])
        if sum(self.asked[-1]) > self.angles:
            raise self.error
        return self.inner.run(prepared, checkpoints)


def limited(angles: int, error: Exception | None = None, **settings) -> tuple[Engine, Small]:
    made = alignn_engine(**settings)
    small = Small(made.runner, angles, error or torch.OutOfMemoryError("CUDA out of memory"))
    made.runner = small
    return made, small


@pytest.fixture(scope="module")
def structures() -> list[Structure]:
    torch.set_num_threads(1)
    return [random_structure(np.random.default_rng(seed), 1 + seed % 4) for seed in range(9)]


def jittered(repeat: tuple[int, int, int]) -> Structure:
    """Aluminium without any symmetry left: every atom, bond and angle is a class of its own."""
    atoms = bulk("Al", cubic=True) * repeat
    atoms.positions += np.random.default_rng(0).normal(0, 0.02, atoms.positions.shape)
    return Structure.from_ase(atoms)


def test_results_keep_the_order_of_the_structures(structures):
    forward, backward = alignn_engine()(structures), alignn_engine()(structures[::-1])
    np.testing.assert_allclose(stacked(forward), stacked(backward)[::-1], atol=1e-5)
    np.testing.assert_allclose(forward.prediction, backward.prediction[::-1], atol=1e-5)
    assert list(forward.counts) == list(COUNTS)
    for name in COUNTS:
        np.testing.assert_array_equal(forward.counts[name], backward.counts[name][::-1])
    assert list(forward.vectors) == [c.name for c in CHECKPOINTS]
    assert all(forward.vectors[c.name].shape == (9, c.width) for c in CHECKPOINTS)


@pytest.mark.parametrize("angles", [1, 2000, 10**6])
def test_the_size_of_a_batch_changes_nothing_but_rounding(structures, angles):
    found, expected = alignn_engine(angles_per_batch=angles)(structures), alignn_engine()(structures)
    np.testing.assert_allclose(stacked(found), stacked(expected), atol=1e-5)


def test_no_structures():
    found = alignn_engine()([])
    assert (stacked(found).shape, found.errors) == ((0, 23, 256), {})


def test_chosen_checkpoints(structures):
    some = alignn_engine()(structures[:2], ["bond_8", "atom_0"])
    everything = alignn_engine()(structures[:2])
    np.testing.assert_allclose(stacked(some), stacked(everything)[:, [17, 0]], atol=1e-6)


def test_out_of_memory_halves_the_batch(structures):
    """Row 45: what fits in the end has the vectors that it would have had."""
    expected = alignn_engine()(structures)
    sizes = expected.counts["n_distinct_angles"]
    made, backend = limited(int(sizes.max()), angles_per_batch=10**6)
    found = made(structures)
    assert len(backend.asked[0]) == 9
    assert max(map(len, backend.asked[1:])) < 9
    assert len(backend.asked) <= 2 * 9 - 1, "halving is bounded"
    assert found.errors == {}
    np.testing.assert_allclose(stacked(found), stacked(expected), atol=1e-5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 TB"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_does_not_fit_alone_is_a_reject_and_the_others_go_on(structures, error):
    """Row 45: a batch of one cannot be halved."""
    expected = alignn_engine()(structures)
    giant = int(expected.counts["n_distinct_angles"].argmax())
    made, _ = limited(int(expected.counts["n_distinct_angles"][giant]) - 1, error, angles_per_batch=10**6)
    found = made(structures)
    assert list(found.errors) == [giant]
    assert found.errors[giant].code == "too_large"
    assert f"{expected.counts['n_angles'][giant]:,} angles does not fit into the memory of cpu" in str(
        found.errors[giant]
    )
    assert np.isnan(stacked(found)[giant]).all()
    others = [i for i in range(9) if i != giant]
    np.testing.assert_allclose(stacked(found)[others], stacked(expected)[others], atol=1e-5)


def test_another_error_is_not_taken_for_memory(structures):
    made, _ = limited(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        made(structures[:1])
    assert not out_of_memory(RuntimeError("shapes"))


def test_huge_cells_run_alone_and_beyond_the_limit_are_rejects():
    """Row 12: 444 and 1000 atoms, with a low angle budget."""
    cells = [Structure.from_ase(bulk("Cu")), jittered((3, 1, 37)), jittered((5, 5, 10)), jittered((1, 1, 1))]
    assert [c.n_atoms for c in cells] == [1, 444, 1000, 4]
    made, backend = limited(10**9, angles_per_batch=1_000, max_angles=100_000)
    found = made(cells, ["atom_8"])
    assert list(found.errors) == [2]
    assert found.errors[2].code == "too_large"
    assert "1000 atoms make 12,000 bonds and 144,000 angles" in str(found.errors[2])
    assert backend.asked[-1] == [found.counts["n_angles"][1]] == [444 * 144]
    assert np.isfinite(found.vectors["atom_8"][[0, 1, 3]]).all()


def test_symmetry_makes_a_huge_cell_small():
    found = alignn_engine(angles_per_batch=1_000)([Structure.from_ase(bulk("Al", cubic=True) * (3, 1, 37))])
    assert [found.counts[name].tolist() for name in COUNTS] == [[444 * 12], [444 * 144], [1], [1], [5]]


def test_prepare_returns_the_reject_in_place():
    made = alignn_engine(max_angles=143)
    first, second = made.prepare(
        [Structure.from_ase(bulk("Al")), Structure(np.eye(3) * 20, [2], [[0, 0, 0]])]
    )
    assert isinstance(first, InvalidStructure)
    assert isinstance(second, InvalidStructure) == (
        load_source("alignn_mp_eform").card.graph.max_bond is None
    )


def test_left_handed_lattice_has_the_same_vectors():
    """Row 19, with the graph settings of the embedded source model."""
    swap = [1, 0, 2]
    right = varied_structures()[20:24]
    left = [Structure(s.lattice[swap], s.numbers, s.frac_coords[:, swap]) for s in right]
    a, b = stacked(alignn_engine()(right)), stacked(alignn_engine()(left))
    assert relative(b, a).max() < 1e-4


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(StrataError, match=r"extract\.device is cuda:3, but torch sees 0 GPUs"):
        make_engine(SOURCE, Extract(device="cuda:3"))


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cdua", ""])
def test_an_unknown_device_names_the_nearest(name):
    with pytest.raises(StrataError, match=r"unknown device .*known: auto, cpu, cuda"):
        pick_device(name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_vectors(structures):
    found = stacked(alignn_engine(device="cuda")(structures))
    assert relative(found, stacked(alignn_engine()(structures))).max() < 1e-4
