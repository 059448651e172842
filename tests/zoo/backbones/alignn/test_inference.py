"""The network by itself: strict weights, and outputs that depend on the structure alone."""

import numpy as np
import pytest
import torch

from core.errors import StrataError
from tests.crystals import varied_structures
from tests.engines import CHECKPOINTS
from zoo.backbones.alignn.architecture import Architecture
from zoo.backbones.alignn.batch import collate
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import build, line_graph
from zoo.backbones.alignn.inference import Network, check_state
from zoo.backbones.alignn.quotient import Quotient, compress
from zoo.hub import load_source


@pytest.fixture(scope="module")
def network() -> Network:
    torch.set_num_threads(1)
    source = load_source("alignn_mp_eform")
    return Network(source.state, torch.from_numpy(atom_features()), source.card.architecture)


@pytest.fixture(scope="module")
def quotients() -> list[Quotient]:
    rule = load_source("alignn_mp_eform").card.graph
    graphs = [build(structure, rule) for structure in varied_structures()[:20:2]]
    return [compress(graph, line_graph(graph, rule)) for graph in graphs]


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return dict(load_source("alignn_mp_eform").state)


def test_shapes_are_those_of_the_weights(state):
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == Architecture().shapes()
    check_state(state, Architecture(), "here")


NAME = "alignn_layers.2.edge_update.src_gate.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(NAME), rf"here: .*1 tensors missing \({NAME}"),
        (lambda s: s.update(extra=torch.zeros(3)), r"here: .*1 unexpected \(extra"),
        (
            lambda s: s.update({NAME: torch.zeros(256, 255)}),
            rf"here: tensor {NAME} has shape \(256, 255\), expected",
        ),
        (lambda s: s.update({"fc.bias": torch.tensor([float("nan")])}), r"here: tensor fc.bias holds NaN"),
        (
            lambda s: s.update({"fc.bias": torch.tensor([float("inf")])}),
            r"here: tensor fc.bias holds NaN or inf",
        ),
    ],
    ids=["missing", "extra", "shape", "nan", "inf"],
)
def test_a_state_that_does_not_fit_is_refused(state, change, message):
    change(state)
    with pytest.raises(StrataError, match=message):
        check_state(state, Architecture(), "here")
    with pytest.raises(StrataError):
        Network(state, torch.from_numpy(atom_features()))


def test_unknown_checkpoint_names_the_nearest(network, quotients):
    with pytest.raises(StrataError, match=r"unknown checkpoint 'atom_9'; did you mean 'atom_"):
        network(collate(quotients[:1]), ["atom_9"])


def test_a_batch_gives_what_each_structure_gives_alone(network, quotients):
    together = network(collate(quotients))
    for k, quotient in enumerate(quotients):
        alone = network(collate([quotient]))
        scale = alone.vectors[0].abs().amax(dim=1, keepdim=True).clamp_min(1e-6)
        assert ((together.vectors[k] - alone.vectors[0]).abs() / scale).max() < 1e-5
        torch.testing.assert_close(together.prediction[k], alone.prediction[0], atol=1e-5, rtol=1e-5)


def test_order_in_the_batch_does_not_matter(network, quotients):
    forward, backward = network(collate(quotients)), network(collate(quotients[::-1]))
    torch.testing.assert_close(forward.vectors, backward.vectors.flip(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(forward.prediction, backward.prediction.flip(0), atol=1e-5, rtol=1e-5)


def test_same_batch_gives_the_same_bytes_and_is_not_changed(network, quotients):
    batch = collate(quotients[:3])
    before = batch.length.clone(), batch.cosine.clone(), batch.bonds.src.clone()
    first, second = network(batch), network(batch)
    assert torch.equal(first.vectors, second.vectors)
    assert all(
        torch.equal(a, b) for a, b in zip(before, (batch.length, batch.cosine, batch.bonds.src), strict=True)
    )


def test_only_what_is_asked_for_in_the_order_asked(network, quotients):
    batch = collate(quotients[:3])
    everything, some = network(batch), network(batch, ["angle_4", "atom_0"])
    names = [c.name for c in CHECKPOINTS]
    assert some.vectors.shape == (3, 2, 256)
    torch.testing.assert_close(
        some.vectors, everything.vectors[:, [names.index("angle_4"), names.index("atom_0")]]
    )
    assert network(batch, []).vectors.shape == (3, 0, 256)
    torch.testing.assert_close(network(batch, []).prediction, everything.prediction)


def test_links_of_the_output(state, quotients):
    features, batch = torch.from_numpy(atom_features()), collate(quotients[:2])
    plain = Network(state, features)(batch, []).prediction
    for link, function in (("log", torch.exp), ("logit", torch.sigmoid)):
        linked = Network(state, features, Architecture(link=link))(batch, []).prediction
        torch.testing.assert_close(linked, function(plain))


def test_depth_zero_atoms_are_the_mean_of_element_embeddings(network, quotients):
    """Checked by hand: the embedding is one layer with batch normalisation, in inference mode."""
    state = load_source("alignn_mp_eform").state
    q = quotients[4]
    rows = torch.from_numpy(atom_features())[q.numbers.astype(np.int64)]
    layer = "atom_embedding.layer"
    rows = torch.nn.functional.linear(rows, state[f"{layer}.0.weight"], state[f"{layer}.0.bias"])
    norm = [state[f"{layer}.1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    rows = torch.nn.functional.silu(torch.nn.functional.batch_norm(rows, *norm))
    weight = torch.from_numpy(q.atom_size / q.atom_size.sum()).float()
    torch.testing.assert_close(
        network(collate([q]), ["atom_0"]).vectors[0, 0], weight @ rows, atol=1e-5, rtol=1e-4
    )
