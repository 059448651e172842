"""Each layer's gradient against finite differences; batch norm on classes against that on all rows."""

import pytest
import torch
from torch.nn import functional as F

from zoo.backbones.alignn.batch import Rows
from zoo.backbones.alignn.layers import aggregate, edges, gate, norm_silu
from zoo.backbones.alignn.network import Norm

NODES, EDGES, WIDTH = 5, 17, 4


@pytest.fixture
def graph():
    draw = torch.Generator().manual_seed(0)
    dst = torch.sort(torch.randint(0, NODES - 1, (EDGES,), generator=draw)).values  # the last has no edge
    src = torch.randint(0, NODES, (EDGES,), generator=draw)
    counts = torch.bincount(dst, minlength=NODES)
    weight = torch.randint(1, 4, (EDGES,), generator=draw).double()
    return edges(Rows(src, dst, counts.cumsum(0) - counts, weight))


def rows(*shape: int, seed: int = 1) -> torch.Tensor:
    found = torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    return found.requires_grad_()


def test_gate(graph):
    inputs = rows(NODES, WIDTH), rows(NODES, WIDTH, seed=2), rows(EDGES, WIDTH, seed=3)
    assert torch.autograd.gradcheck(lambda a, b, c: gate(a, b, c, graph), inputs)
    a, b, c = inputs
    torch.testing.assert_close(gate(a, b, c, graph), a[graph.rows.src] + b[graph.rows.dst] + c)


@pytest.mark.parametrize("weighted", [True, False])
def test_aggregate(graph, weighted):
    if not weighted:
        graph = graph._replace(rows=Rows(graph.rows.src, graph.rows.dst, graph.rows.start, None))
    inputs = rows(EDGES, WIDTH), rows(NODES, WIDTH, seed=2)
    assert torch.autograd.gradcheck(lambda a, b: aggregate(a, b, graph, 1e-6), inputs)
    opened, values = inputs
    weight = graph.rows.weight[:, None] if weighted else 1
    sigma = torch.sigmoid(opened) * weight
    zeros = torch.zeros(NODES, WIDTH, dtype=torch.double)
    total = zeros.index_add(0, graph.rows.dst, sigma)
    expected = zeros.index_add(0, graph.rows.dst, sigma * values[graph.rows.src]) / (total + 1e-6)
    torch.testing.assert_close(aggregate(opened, values, graph, 1e-6), expected)


def test_norm_silu():
    size = torch.tensor([3.0, 1, 1, 7, 2, 4], dtype=torch.double)
    inputs = rows(6, WIDTH), rows(WIDTH, seed=2), rows(WIDTH, seed=3)
    assert torch.autograd.gradcheck(lambda x, a, b: norm_silu(x, a, b, size, 1e-5)[0], inputs)


def test_norm_on_classes_is_batch_norm_on_all_rows():
    size = torch.tensor([3, 1, 1, 7, 2, 4])
    x = rows(6, WIDTH)
    ours, theirs = Norm(WIDTH).double(), torch.nn.BatchNorm1d(WIDTH).double()
    with torch.no_grad():
        for norm in (ours, theirs):
            norm.weight.copy_(rows(WIDTH, seed=2))
            norm.bias.copy_(rows(WIDTH, seed=3))
    weight = rows(6, WIDTH, seed=4).detach()
    # a loss in which each row of a class has its share, as a mean over all rows gives it
    (ours(x, size.double()) * weight * size[:, None]).sum().backward()
    grad, x.grad = x.grad, None
    all_rows = torch.repeat_interleave(x, size, dim=0)
    (F.silu(theirs(all_rows)) * torch.repeat_interleave(weight, size, dim=0)).sum().backward()
    torch.testing.assert_close(grad, x.grad)
    for name in ("weight", "bias"):
        torch.testing.assert_close(getattr(ours, name).grad, getattr(theirs, name).grad)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(x, size.double()), F.silu(theirs(x)))


def test_frozen_norm_uses_and_keeps_the_running_statistics():
    norm = Norm(WIDTH)
    norm.running_mean.fill_(2.0)
    norm.frozen = True
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    x = torch.randn(6, WIDTH)
    expected = F.silu((x - 2) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(norm.train()(x, torch.ones(6)), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())
