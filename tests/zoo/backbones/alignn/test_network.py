"""Every parameter's gradient, against plain torch in float64 on the uncompressed graph, and alignn's own."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.crystals import random_structure
from tests.training import metals, network
from zoo.backbones.alignn.backbone import prepare
from zoo.backbones.alignn.batch import collate
from zoo.backbones.alignn.dgl import DglNetwork
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED, GraphSettings
from zoo.training.trained import predict

KINDS = ["alignn", "alignn_atomwise"]
TARGET = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def structures():
    found = metals()
    return [*found[:2], found[9], found[11], random_structure(np.random.default_rng(3), 3)]


def quotients(settings: GraphSettings, compression: bool):
    return [prepare(s, settings, compression, 10**7) for s in structures()]


def plain(state: dict, batch, over: int, epsilon: float = 1e-5):
    """ALIGNN in a few lines of torch: index, index_add, norms over all rows (0) or each (1); returns (s,)."""

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name, x):
        centred = x - x.mean(over, keepdim=True)
        normed = centred / torch.sqrt(centred.square().mean(over, keepdim=True) + epsilon)
        return F.silu(normed * state[f"{name}.weight"] + state[f"{name}.bias"])

    def mlp(name, x):
        return norm(f"{name}.layer.1", linear(f"{name}.layer.0", x))

    def basis(name, x):
        centers = state[f"{name}.centers"]
        return torch.exp(-(x[:, None] - centers).square() / (centers[1:] - centers[:-1]).mean())

    def conv(name, x, y, rows):
        opened = linear(f"{name}.src_gate", x)[rows.src] + linear(f"{name}.dst_gate", x)[rows.dst]
        opened = opened + linear(f"{name}.edge_gate", y)
        sigma = torch.sigmoid(opened)
        zeros = torch.zeros_like(x)
        message = linear(f"{name}.dst_update", x)[rows.src] * sigma
        h = zeros.index_add(0, rows.dst, message) / (zeros.index_add(0, rows.dst, sigma) + 1e-6)
        h = linear(f"{name}.src_update", x) + h
        return x + norm(f"{name}.bn_nodes", h), y + norm(f"{name}.bn_edges", opened)

    features = torch.from_numpy(atom_features()).double()
    x = mlp("atom_embedding", features[batch.numbers])
    y = mlp("edge_embedding.2", mlp("edge_embedding.1", basis("edge_embedding.0", batch.length.double())))
    cosine = batch.cosine.double()[batch.angle_cosine]
    z = mlp("angle_embedding.2", mlp("angle_embedding.1", basis("angle_embedding.0", cosine)))
    for i in range(4):
        x, y = conv(f"alignn_layers.{i}.node_update", x, y, batch.bonds)
        y, z = conv(f"alignn_layers.{i}.edge_update", y, z, batch.angles)
    for i in range(4):
        x, y = conv(f"gcn_layers.{i}", x, y, batch.bonds)
    starts = [*batch.pools["atom"].start.tolist(), len(x)]
    means = torch.stack([x[a:b].mean(0) for a, b in pairwise(starts)])
    return linear("fc", means)[:, 0]


def gradients(model, output):
    model.zero_grad()
    (output[:, 0] - TARGET.to(output)).abs().mean().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_close(ours: dict, theirs: dict, relative: float) -> None:
    # a bias in front of a batch norm has no effect: its gradient is rounding, to be measured by the others
    largest = max(grad.abs().max() for grad in theirs.values())
    for name, grad in theirs.items():
        difference = (ours[name].to(grad) - grad).norm()
        assert difference <= relative * max(grad.norm(), 1e-3 * largest), name


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("alignn", INVARIANT), ("alignn", PUBLISHED), ("alignn_atomwise", PUBLISHED)],
    ids=["invariant", "published", "layer norm"],
)
def test_gradients_of_every_parameter_on_classes_are_those_on_all_rows(kind, settings):
    model = network(kind=kind).double().train()
    packed, unpacked = (collate([p.quotient for p in quotients(settings, on)]) for on in (True, False))
    assert len(packed.angle_cosine) < len(unpacked.angle_cosine) / 2
    ours = gradients(model, as_double(model, packed))
    state = {
        name: tensor.detach().clone().requires_grad_(name in ours)
        for name, tensor in model.state_dict().items()
    }
    loss = (plain(state, unpacked, KINDS.index(kind)) - TARGET.double()).abs().mean()
    loss.backward()
    theirs = {name: tensor.grad for name, tensor in state.items() if tensor.grad is not None}
    assert theirs.keys() == {name for name in ours if ours[name].any() or name in theirs}
    assert_close(ours, theirs, 1e-4)


def as_double(model, batch):
    """The model's output with the batch's real numbers in float64."""
    rows = [SimpleNamespace(**{f: getattr(r, f) for f in r.__slots__}) for r in (batch.bonds, batch.angles)]
    for row in rows:
        row.weight = None if row.weight is None else row.weight.double()
    pools = {
        kind: SimpleNamespace(start=p.start, weight=p.weight.double(), size=p.size.double())
        for kind, p in batch.pools.items()
    }
    whole = SimpleNamespace(
        numbers=batch.numbers,
        length=batch.length.double(),
        cosine=batch.cosine.double(),
        angle_cosine=batch.angle_cosine,
        bonds=rows[0],
        angles=rows[1],
        pools=pools,
    )
    return model(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_step_is_alignns_own(kind):
    pytest.importorskip("dgl", reason="needs the extra dgl")
    dgl = pytest.importorskip("dgl")
    ours = network(kind=kind).train()
    state = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    reference = DglNetwork(state, ours.architecture, PUBLISHED)
    theirs = reference.model.train()
    pairs = [reference.graphs(p) for p in quotients(PUBLISHED, False)]
    batch = (
        dgl.batch([g for g, _ in pairs]),
        dgl.batch([lg for _, lg in pairs]),
        torch.zeros(len(pairs), 3, 3),
    )
    said = theirs(batch)
    expected = gradients(theirs, (said["out"] if isinstance(said, dict) else said).reshape(-1, 1))
    found = gradients(ours, ours(collate([p.quotient for p in quotients(PUBLISHED, True)])))
    assert_close(found, expected, 2e-3)  # float32
    for name, tensor in theirs.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_inference_is_the_network_in_eval_mode(kind):
    model = network(kind=kind).train()
    graphs = [p.quotient for p in quotients(INVARIANT, True)]
    model(collate(graphs))  # moves the running statistics
    with torch.no_grad():
        expected = model.eval()(collate(graphs))
    found = predict(model.state_dict(), model.architecture, model.features, graphs)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4, rtol=1e-4)
