"""Blocks change nothing, and bfloat16 changes the vectors by its own rounding alone."""

import pytest
import torch

from tests.crystals import varied_structures
from zoo.backbones.alignn import convolution
from zoo.backbones.alignn.batch import Batch, blocks, collate
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import build, line_graph
from zoo.backbones.alignn.inference import Network
from zoo.backbones.alignn.quotient import compress, uncompressed
from zoo.hub import SourceModel, load_source


@pytest.fixture(scope="module")
def source() -> SourceModel:
    torch.set_num_threads(1)
    return load_source("alignn_mp_eform")


def network(source: SourceModel, precision: torch.dtype = torch.float32) -> Network:
    return Network(
        source.state, torch.from_numpy(atom_features()), source.card.architecture, precision=precision
    )


@pytest.fixture(scope="module")
def batch(source) -> Batch:
    """Small cells, every other one not compressed."""
    rule = source.card.graph
    small = sorted(varied_structures()[:20], key=lambda structure: structure.n_atoms)[:4]
    graphs = [build(structure, rule) for structure in small]
    made = [(compress, uncompressed)[k % 2](graph, line_graph(graph, rule)) for k, graph in enumerate(graphs)]
    return collate(made)


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_blocks_hold_every_edge_once_and_a_node_has_its_edges_in_one(batch, size):
    for rows in (batch.bonds, batch.angles):
        found = blocks(rows, size)
        nodes, count = len(rows.start), len(rows.src)
        assert [(b.first, b.begin) for b in found] == [(0, 0), *((b.last, b.end) for b in found[:-1])]
        assert (found[-1].last, found[-1].end) == (nodes, count)
        for block in found:
            targets = rows.dst[block.begin : block.end]
            assert ((targets >= block.first) & (targets < block.last)).all()


@pytest.mark.parametrize("size", [50, 10**6])
def test_the_size_of_blocks_changes_nothing_but_rounding(monkeypatch, source, batch, size):
    expected = network(source)(batch)
    monkeypatch.setattr(convolution, "BLOCK", size)
    found = network(source)(batch)
    torch.testing.assert_close(found.vectors, expected.vectors, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.prediction, expected.prediction, atol=1e-5, rtol=1e-5)


def test_bfloat16_gives_float32_to_its_own_rounding(source, batch):
    exact, rounded = network(source)(batch), network(source, torch.bfloat16)(batch)
    assert rounded.vectors.dtype == rounded.prediction.dtype == torch.float32
    far = (rounded.vectors - exact.vectors).norm(dim=(0, 2)) / exact.vectors.norm(dim=(0, 2))
    names = [checkpoint.name for checkpoint in source.card.architecture.checkpoints]
    of = dict(zip(names, far.tolist(), strict=True))
    assert of["atom_0"] == of["bond_0"] == of["angle_0"] == 0  # no convolution yet
    assert all(1e-5 < value < 1e-2 for name, value in of.items() if not name.endswith("_0"))
    assert (rounded.prediction - exact.prediction).abs().max() < 0.02  # eV/atom


def test_bfloat16_gives_the_same_bytes_twice(source, batch):
    made = network(source, torch.bfloat16)
    assert torch.equal(made(batch).vectors, made(batch).vectors)
