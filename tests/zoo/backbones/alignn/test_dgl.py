"""Our forward pass against alignn's own through DGL: the parity that the whole store rests on."""

import numpy as np
import pytest

from core.structure import Structure
from tests.crystals import varied_structures
from tests.engines import CHECKPOINTS, SOURCE, alignn_engine, relative, stacked
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED, GraphSettings, build
from zoo.backbones.engine import Extracted
from zoo.hub import load_source

pytest.importorskip("dgl", reason="the reference backend needs the extra `dgl`")


RULES = {
    "published": PUBLISHED,
    "invariant": INVARIANT,
    "between": GraphSettings(shell_tolerance=1e-4, self_image="alignn", max_bond=None),
}


@pytest.fixture(scope="module", params=RULES)
def reference(request) -> tuple[GraphSettings, Extracted]:
    graph = RULES[request.param]
    return graph, alignn_engine(graph, backend="dgl")(varied_structures())


@pytest.mark.parametrize("compression", [True, False])
def test_all_23_vectors_and_the_prediction_equal_the_reference(reference, compression):
    graph, reference = reference
    structures = varied_structures()
    assert len(structures) >= 30
    ours = alignn_engine(graph, compression=compression)(structures)
    assert stacked(ours).shape == (len(structures), 23, 256) == stacked(reference).shape
    worst = relative(stacked(ours), stacked(reference)).max(axis=0)
    assert {c.name: w for c, w in zip(CHECKPOINTS, worst, strict=True) if w > 1e-4} == {}
    np.testing.assert_allclose(ours.prediction, reference.prediction, atol=2e-5, rtol=1e-5)
    for name in ("n_bonds", "n_angles"):
        np.testing.assert_array_equal(ours.counts[name], reference.counts[name])


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
    state = dict(load_source(SOURCE).state)
    state["gcn_layers.3.src_update.bias"] = state["gcn_layers.3.src_update.bias"] + 0.1
    structures = [Structure(np.eye(3) * 4.0, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])]
    a = alignn_engine(INVARIANT)(structures)
    b = alignn_engine(INVARIANT, state)(structures)
    changed = relative(stacked(a), stacked(b))[0] > 1e-4
    assert [c.name for c, yes in zip(CHECKPOINTS, changed, strict=True) if yes] == ["atom_8"]
