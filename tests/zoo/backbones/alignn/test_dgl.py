"""Our forward pass against alignn's own through DGL: the parity that the whole store rests on."""

import numpy as np
import pytest

from core.params import Extract
from core.structure import Structure
from featurestore.tables.schema import CHECKPOINTS
from tests.crystals import varied_structures
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED, GraphSettings, build
from zoo.backbones.engine import Engine, Extracted
from zoo.hub import SourceModel, load_source

pytest.importorskip("dgl", reason="the reference backend needs the extra `dgl`")


def with_graph(graph: GraphSettings) -> SourceModel:
    source = load_source("alignn_mp_eform")
    return SourceModel(source.card.model_copy(update={"graph": graph}), source.state)


def relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest difference over largest value, a structure and checkpoint (n, 23)."""
    return np.abs(a - b).max(axis=2) / np.maximum(np.abs(b).max(axis=2), 1e-12)


RULES = {
    "published": PUBLISHED,
    "invariant": INVARIANT,
    "between": GraphSettings(shell_tolerance=1e-4, self_image="alignn", max_bond=None),
}


@pytest.fixture(scope="module", params=RULES)
def reference(request) -> tuple[SourceModel, Extracted]:
    source = with_graph(RULES[request.param])
    return source, Engine(source, Extract(backend="dgl", threads=1))(varied_structures())


@pytest.mark.parametrize("compression", [True, False])
def test_all_23_vectors_and_the_prediction_equal_the_reference(reference, compression):
    source, reference = reference
    structures = varied_structures()
    assert len(structures) >= 30
    ours = Engine(source, Extract(compression=compression, threads=1))(structures)
    assert ours.vectors.shape == (len(structures), 23, 256) == reference.vectors.shape
    worst = relative(ours.vectors, reference.vectors).max(axis=0)
    assert {c.name: w for c, w in zip(CHECKPOINTS, worst, strict=True) if w > 1e-4} == {}
    np.testing.assert_allclose(ours.prediction, reference.prediction, atol=2e-5, rtol=1e-5)
    np.testing.assert_array_equal(ours.counts[:, :2], reference.counts[:, :2])


def test_published_edges_are_those_of_alignn_bit_for_bit():
    from alignn.graphs import build_undirected_edgedata, nearest_neighbor_edges
    from jarvis.core.atoms import Atoms

    for structure in varied_structures():
        atoms = Atoms.from_dict(structure.to_jarvis_dict())
        edges, _ = nearest_neighbor_edges(atoms=atoms, cutoff=8.0, max_neighbors=12, use_canonize=True)
        u, v, r, _ = build_undirected_edgedata(atoms, edges)
        graph = build(structure, PUBLISHED)
        theirs = np.column_stack([u.numpy(), v.numpy(), r.numpy().view(np.int32)])
        ours = np.column_stack([graph.src, graph.dst, graph.vector.astype(np.float32).view(np.int32)])
        assert sorted(map(tuple, theirs)) == sorted(map(tuple, ours)), structure.formula


def test_a_network_that_differs_is_told_apart():
    """The comparison can fail: another weight gives other vectors."""
    source = with_graph(INVARIANT)
    state = {
        **source.state,
        "gcn_layers.3.src_update.bias": source.state["gcn_layers.3.src_update.bias"] + 0.1,
    }
    structures = [Structure(np.eye(3) * 4.0, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])]
    a = Engine(source, Extract())(structures)
    b = Engine(SourceModel(source.card, state), Extract())(structures)
    changed = relative(a.vectors, b.vectors)[0] > 1e-4
    assert [c.name for c, yes in zip(CHECKPOINTS, changed, strict=True) if yes] == ["atom_8"]
