"""The layer-norm network: against its equations written plainly, and against alignn's own class."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import StrataError
from core.params import Extract
from core.structure import Structure
from tests.atomwise import ATOMWISE, atomwise_source, random_state
from tests.crystals import random_structure, varied_structures
from zoo.backbones.alignn.architecture import Architecture
from zoo.backbones.alignn.backbone import ALIGNN
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import PUBLISHED, GraphSettings, build, line_graph
from zoo.backbones.alignn.inference import check_state
from zoo.backbones.check import check_backbone
from zoo.backbones.engine import Engine, Extracted
from zoo.hub import SourceModel, backbone_of

NAMES = [checkpoint.name for checkpoint in ATOMWISE.checkpoints]


def structures() -> list[Structure]:
    return varied_structures() + [random_structure(np.random.default_rng(seed)) for seed in range(16, 20)]


def extracted(source: SourceModel, **settings) -> Extracted:
    backbone = backbone_of(source.card, {"alignn": settings})
    return Engine(backbone, source.state, Extract(device="cpu", threads=1))(structures())


@pytest.fixture(scope="module", params=["random", "real"])
def source(request) -> SourceModel:
    return atomwise_source(request.param)


@pytest.fixture(scope="module")
def ours(source) -> Extracted:
    return extracted(source)


def worst(found: Extracted, expected: Extracted) -> dict[str, float]:
    """Largest difference over largest value of a structure, by checkpoint."""
    return {
        name: float((np.abs(found.vectors[name] - v).max(axis=1) / np.abs(v).max(axis=1)).max())
        for name, v in expected.vectors.items()
    }


# --- the equations of Choudhary & DeCost 2021 with layer norm, one row per bond, in float64 ---


def plain(source: SourceModel, structure: Structure) -> tuple[float, dict[str, np.ndarray]]:
    """Prediction and pooled vectors of one structure by sums that scatter; nothing is compressed."""
    state = {name: tensor.double() for name, tensor in source.state.items()}
    graph = build(structure, source.card.graph)
    line = line_graph(graph, source.card.graph)
    bonds, angles = ((torch.from_numpy(g.src), torch.from_numpy(g.dst)) for g in (graph, line))
    vectors: dict[str, np.ndarray] = {}

    def linear(name: str, rows: Tensor) -> Tensor:
        return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def normed(name: str, rows: Tensor) -> Tensor:
        centred = rows - rows.mean(dim=1, keepdim=True)
        rows = centred / torch.sqrt((centred**2).mean(dim=1, keepdim=True) + 1e-5)
        return F.silu(rows * state[f"{name}.weight"] + state[f"{name}.bias"])

    def mlp(name: str, rows: Tensor) -> Tensor:
        return normed(f"{name}.layer.1", linear(f"{name}.layer.0", rows))

    def embedded(kind: str, values: np.ndarray) -> Tensor:
        centers = state[f"{kind}_embedding.0.centers"]
        rows = torch.exp(-((torch.from_numpy(values)[:, None] - centers) ** 2) / (centers[1] - centers[0]))
        return mlp(f"{kind}_embedding.2", mlp(f"{kind}_embedding.1", rows))

    def conv(name: str, x: Tensor, y: Tensor, rows: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        src, dst = rows
        gate = linear(f"{name}.src_gate", x)[src] + linear(f"{name}.dst_gate", x)[dst]
        gate = gate + linear(f"{name}.edge_gate", y)
        sigma, message = torch.sigmoid(gate), linear(f"{name}.dst_update", x)[src]
        total = torch.zeros_like(x).index_add(0, dst, sigma * message)
        total = total / (torch.zeros_like(x).index_add(0, dst, sigma) + 1e-6)
        new = x + normed(f"{name}.bn_nodes", linear(f"{name}.src_update", x) + total)
        return new, y + normed(f"{name}.bn_edges", gate)

    def keep(depth: int, **rows: Tensor) -> None:
        vectors.update({f"{kind}_{depth}": values.mean(dim=0).numpy() for kind, values in rows.items()})

    features = torch.from_numpy(atom_features()).double()
    x = mlp("atom_embedding", features[graph.numbers.astype(np.int64)])
    y, z = embedded("edge", graph.length), embedded("angle", line.cosine)
    keep(0, atom=x, bond=y, angle=z)
    for i in range(4):
        x, y = conv(f"alignn_layers.{i}.node_update", x, y, bonds)
        y, z = conv(f"alignn_layers.{i}.edge_update", y, z, angles)
        keep(i + 1, atom=x, bond=y, angle=z)
    for i in range(4):
        x, y = conv(f"gcn_layers.{i}", x, y, bonds)
        keep(i + 5, atom=x, bond=y)
    return float(linear("fc", x.mean(dim=0, keepdim=True))), vectors


@pytest.fixture(scope="module")
def by_equations(source) -> Extracted:
    found = [plain(source, structure) for structure in structures()]
    vectors = {name: np.stack([v[name] for _, v in found]) for name in NAMES}
    return Extracted({}, np.array([p for p, _ in found]), vectors, {})


def test_all_23_vectors_and_the_prediction_are_those_of_the_equations(ours, by_equations):
    assert len(ours.prediction) >= 40
    assert set(ours.vectors) == set(by_equations.vectors)
    assert len(ours.vectors) == 23
    assert {name: w for name, w in worst(ours, by_equations).items() if not w <= 1e-4} == {}
    np.testing.assert_allclose(ours.prediction, by_equations.prediction, atol=1e-4)


def test_symmetry_classes_change_nothing(source, ours, by_equations):
    uncompressed = extracted(source, compression=False)
    assert (ours.counts["n_distinct_angles"] < uncompressed.counts["n_distinct_angles"]).sum() > 10
    spread = by_equations.prediction.std()
    np.testing.assert_allclose(ours.prediction, uncompressed.prediction, atol=1e-5 * spread)
    assert {name: w for name, w in worst(ours, uncompressed).items() if not w <= 1e-4} == {}


def test_all_23_vectors_and_the_prediction_are_those_of_alignns_own_class(source, ours):
    pytest.importorskip("dgl", reason="the reference backend needs the extra `dgl`")
    reference = extracted(source, backend="dgl")
    assert {name: w for name, w in worst(ours, reference).items() if not w <= 1e-4} == {}
    np.testing.assert_allclose(ours.prediction, reference.prediction, atol=1e-4)
    for name in ("n_bonds", "n_angles"):
        np.testing.assert_array_equal(ours.counts[name], reference.counts[name])


def test_the_comparison_can_fail(ours, by_equations):
    moved = {**by_equations.vectors, "angle_2": by_equations.vectors["angle_2"] * 1.001}
    assert [n for n, w in worst(ours, by_equations._replace(vectors=moved)).items() if w > 1e-4] == [
        "angle_2"
    ]


def test_the_contract_of_a_backbone_holds(source):
    engine = Engine(backbone_of(source.card), source.state, Extract(device="cpu", threads=1))
    check_backbone(engine)


def test_the_contract_holds_on_graphs_of_whole_shells_too():
    graph = GraphSettings(self_image="once", max_bond=8.0, chosen_twice="twice")
    backbone = ALIGNN(ATOMWISE, graph)
    assert backbone.invariances == {"rotation", "cell"}
    check_backbone(Engine(backbone, random_state(), Extract(device="cpu", threads=1)))


# --- its graphs: a bond that both of its atoms chose counts twice ---

TWICE = PUBLISHED.model_copy(update={"chosen_twice": "twice"})


def bonds(structure: Structure, rule: GraphSettings) -> Counter:
    graph = build(structure, rule)
    vector = graph.vector.round(6) + 0.0
    return Counter(zip(graph.src.tolist(), graph.dst.tolist(), map(tuple, vector.tolist()), strict=True))


def test_the_bonds_are_those_of_alignn_bit_for_bit():
    pytest.importorskip("dgl", reason="alignn's graph builder needs the extra `dgl`")
    from alignn.graphs import build_undirected_edgedata, nearest_neighbor_edges
    from jarvis.core.atoms import Atoms

    for structure in varied_structures():
        atoms = Atoms.from_dict(structure.to_jarvis_dict())
        edges, _ = nearest_neighbor_edges(atoms=atoms, cutoff=8.0, max_neighbors=12, use_canonize=False)
        u, v, r, _ = build_undirected_edgedata(atoms, edges)
        graph = build(structure, TWICE)
        theirs = np.column_stack([u.numpy(), v.numpy(), r.numpy().view(np.int32)])
        ours = np.column_stack([graph.src, graph.dst, graph.vector.astype(np.float32).view(np.int32)])
        assert sorted(map(tuple, theirs)) == sorted(map(tuple, ours)), structure.formula


def test_bonds_are_the_same_and_count_once_or_twice():
    often: Counter = Counter()
    for structure in varied_structures():
        if structure.n_atoms > 1:  # an atom alone is both ends of its bonds
            once, twice = (bonds(structure, rule) for rule in (PUBLISHED, TWICE))
            assert set(once) == set(twice)
            often.update(count for key, count in twice.items() if key[0] != key[1])
    assert set(often) == {1, 2}


def test_keys_made_before_there_was_a_choice_stay():
    before = {"cutoff", "max_neighbours", "shell_tolerance", "self_image", "max_bond"}
    assert set(PUBLISHED.model_dump(mode="json")) == set(json.loads(PUBLISHED.model_dump_json())) == before
    assert TWICE.model_dump(mode="json") == PUBLISHED.model_dump(mode="json") | {"chosen_twice": "twice"}
    assert GraphSettings.model_validate(TWICE.model_dump(mode="json")) == TWICE


# --- what its state is ---


def test_a_state_holds_no_statistics_of_batches():
    shapes = ATOMWISE.shapes()
    assert len(shapes) == 192
    assert not [name for name in shapes if "running" in name or "num_batches" in name]
    assert set(shapes) < set(Architecture().shapes())


@pytest.mark.parametrize(("architecture", "other"), [(ATOMWISE, Architecture()), (Architecture(), ATOMWISE)])
def test_the_two_kinds_are_told_apart_by_their_tensors(architecture, other):
    state = {name: torch.zeros(shape) for name, shape in other.shapes().items()}
    with pytest.raises(StrataError, match=rf"here: not the state of a plain {architecture.name}: "):
        check_state(state, architecture, "here")
