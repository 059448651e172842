"""Layers of the trainable network whose gradients never scatter.

Edges are sorted by target, so sums over a node's edges and the gradients of gathers by target run over
contiguous rows; gathers by source go through a permutation made once a batch. What is done element by element
is done in blocks of rows that stay in the cache. Every function takes class sizes, so that training on
symmetry classes equals training on all rows.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from zoo.backbones.alignn.batch import Block, Rows, blocks

BLOCK = 1024  # rows worked on together on a CPU; at width 256 a block is 1 MB


class Edges(NamedTuple):
    """`Rows` with what the backward pass needs: edges in order of their source, where each source's begin.

    `blocks` cut edges at nodes, so that a node's edges lie in one of them.
    """

    rows: Rows
    by_src: Tensor
    src_start: Tensor
    blocks: tuple[Block, ...]


def edges(rows: Rows) -> Edges:
    """Order the edges of a graph by source, and cut them into blocks, once a batch."""
    by_src = torch.argsort(rows.src, stable=True)
    counts = torch.bincount(rows.src, minlength=len(rows.start))
    return Edges(rows, by_src, counts.cumsum(0) - counts, blocks(rows, BLOCK))


class Kinds(NamedTuple):
    """Rows that share their values: `which` (r,) which of the values a row has; the rows in order of it."""

    which: Tensor
    order: Tensor
    start: Tensor


def kinds(index: Tensor, count: int) -> Kinds:
    """Order rows by which of `count` values they have, once a batch."""
    counts = torch.bincount(index, minlength=count)
    return Kinds(index, torch.argsort(index, stable=True), counts.cumsum(0) - counts)


def _sums(order: Tensor, values: Tensor, start: Tensor, weight: Tensor | None = None) -> Tensor:
    return F.embedding_bag(order, values, start, mode="sum", per_sample_weights=weight)


class _Spread(Function):
    """values[index], its gradient as segment sums."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Kinds) -> Tensor:
        ctx.rows = rows
        return values.index_select(0, rows.which)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _sums(ctx.rows.order, grad, ctx.rows.start), None


class _Gate(Function):
    """gate = source[src] + target[dst] + edge, the gathers' gradients as segment sums."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, target: Tensor, edge: Tensor, graph: Edges) -> Tensor:
        ctx.graph = graph
        src, dst = graph.rows.src, graph.rows.dst
        opened = torch.empty_like(edge)
        for _, _, a, b in graph.blocks:
            torch.add(edge[a:b], source.index_select(0, src[a:b]), out=opened[a:b])
            opened[a:b].add_(target.index_select(0, dst[a:b]))
        return opened

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        graph = ctx.graph
        order = torch.arange(len(grad), device=grad.device)
        return (
            _sums(graph.by_src, grad, graph.src_start),
            _sums(order, grad, graph.rows.start),
            grad,
            None,
        )


class _Aggregate(Function):
    """Mean of values[src] over a node's edges, weighted by sigmoid(gate) and multiplicity."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, values: Tensor, graph: Edges, epsilon: float) -> Tensor:
        rows = graph.rows
        order = torch.arange(len(gate), device=gate.device)
        sigma, total, mean = torch.empty_like(gate), torch.empty_like(values), torch.empty_like(values)
        for first, last, a, b in graph.blocks:
            torch.sigmoid(gate[a:b], out=sigma[a:b])
            message = values.index_select(0, rows.src[a:b]).mul_(sigma[a:b])
            start = rows.start[first:last] - a
            weight = None if rows.weight is None else rows.weight[a:b]
            total[first:last] = _sums(order[: b - a], sigma[a:b], start, weight).add_(epsilon)
            mean[first:last] = _sums(order[: b - a], message, start, weight).div_(total[first:last])
        ctx.graph = graph
        ctx.save_for_backward(sigma, values, total, mean)
        return mean

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        sigma, values, total, mean = ctx.saved_tensors
        graph: Edges = ctx.graph
        rows = graph.rows
        # d mean/d message = w/total; d mean/d sigma = w (value - mean)/total
        share = grad / total
        grad_gate, flow = torch.empty_like(sigma), torch.empty_like(sigma)
        for _, _, a, b in graph.blocks:
            at_edge = share.index_select(0, rows.dst[a:b])
            if rows.weight is not None:
                at_edge.mul_(rows.weight[a:b, None])
            difference = values.index_select(0, rows.src[a:b]).sub_(mean.index_select(0, rows.dst[a:b]))
            grad_gate[a:b] = torch.ops.aten.sigmoid_backward(difference.mul_(at_edge), sigma[a:b])
            torch.mul(at_edge, sigma[a:b], out=flow[a:b])
        return grad_gate, _sums(graph.by_src, flow, graph.src_start), None, None


class _NormSilu(Function):
    """silu(batch norm(x)) with rows counted `size` times each; also gives the batch's mean and variance."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, size: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        share = size / size.sum()
        mean = share @ x
        variance = torch.zeros_like(mean)
        for rows in _blocks(x):
            variance += share[rows] @ (x[rows] - mean).square_()
        rstd = (variance + epsilon).rsqrt()
        y = torch.empty_like(x)
        for rows in _blocks(x):
            centred = (x[rows] - mean).mul_(rstd)
            y[rows] = F.silu(torch.addcmul(shift, centred, scale), inplace=True)
        ctx.save_for_backward(x, scale, shift, share, mean, rstd)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, _mean: Tensor, _variance: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, scale, shift, share, mean, rstd = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        sum_grad, sum_centred = torch.zeros_like(mean), torch.zeros_like(mean)
        for rows in _blocks(x):
            centred = (x[rows] - mean).mul_(rstd)
            inner = torch.ops.aten.silu_backward(grad[rows], torch.addcmul(shift, centred, scale))
            sum_grad += inner.sum(0)
            sum_centred += centred.mul_(inner).sum(0)
            grad_x[rows] = inner
        slope = scale * rstd
        for rows in _blocks(x):
            # A row's gradient counts its class once already; the batch's statistics count it by its share.
            centred = (x[rows] - mean).mul_(rstd)
            through = torch.addcmul(sum_grad, centred, sum_centred).mul_(share[rows, None])
            grad_x[rows] = (grad_x[rows] - through).mul_(slope)
        return grad_x, sum_centred, sum_grad, None, None


def _blocks(x: Tensor) -> Iterator[slice]:
    size = BLOCK if x.device.type == "cpu" else max(len(x), 1)
    return (slice(start, start + size) for start in range(0, len(x), size))


spread = _Spread.apply
gate = _Gate.apply
aggregate = _Aggregate.apply
norm_silu = _NormSilu.apply
