"""Layers of the trainable network whose gradients never scatter.

Edges are sorted by target, so sums over a node's edges and the gradients of gathers by target run over
contiguous rows; gathers by source go through a permutation made once a batch. Every function takes class
sizes, so that training on symmetry classes equals training on all rows.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from etl.batch import Rows


class Edges(NamedTuple):
    """`Rows` and what the backward pass needs: edges in order of source, and where each source's begin."""

    rows: Rows
    by_src: Tensor
    src_start: Tensor


def edges(rows: Rows) -> Edges:
    """Order the edges of a graph by source, once a batch."""
    by_src = torch.argsort(rows.src, stable=True)
    counts = torch.bincount(rows.src, minlength=len(rows.start))
    return Edges(rows, by_src, counts.cumsum(0) - counts)


def _sums(order: Tensor, values: Tensor, start: Tensor, weight: Tensor | None = None) -> Tensor:
    return F.embedding_bag(order, values, start, mode="sum", per_sample_weights=weight)


class _Gate(Function):
    """gate = source[src] + target[dst] + edge, the gathers' gradients as segment sums."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, target: Tensor, edge: Tensor, graph: Edges) -> Tensor:
        ctx.graph = graph
        return (edge + source.index_select(0, graph.rows.src)).add_(target.index_select(0, graph.rows.dst))

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
        sigma = torch.sigmoid(gate)
        message = values.index_select(0, rows.src).mul_(sigma)
        total = _sums(order, sigma, rows.start, rows.weight).add_(epsilon)
        mean = _sums(order, message, rows.start, rows.weight).div_(total)
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
        at_edge = share.index_select(0, rows.dst)
        if rows.weight is not None:
            at_edge.mul_(rows.weight[:, None])
        difference = values.index_select(0, rows.src).sub_(mean.index_select(0, rows.dst))
        grad_gate = difference.mul_(at_edge).mul_(sigma).mul_(1 - sigma)
        grad_values = _sums(graph.by_src, at_edge.mul_(sigma), graph.src_start)
        return grad_gate, grad_values, None, None


class _NormSilu(Function):
    """silu(batch norm(x)) with rows counted `size` times each; also gives the batch's mean and variance."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, size: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        share = size / size.sum()
        mean = share @ x
        centred = x - mean
        variance = share @ centred.square()
        rstd = (variance + epsilon).rsqrt()
        centred.mul_(rstd)
        ctx.save_for_backward(centred, scale, shift, share, rstd)
        ctx.mark_non_differentiable(mean, variance)
        return F.silu(torch.addcmul(shift, centred, scale)), mean, variance

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, _mean: Tensor, _variance: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        centred, scale, shift, share, rstd = ctx.saved_tensors
        normed = torch.addcmul(shift, centred, scale)
        inner = torch.ops.aten.silu_backward(grad, normed)
        sum_grad, sum_centred = inner.sum(0), (inner * centred).sum(0)
        # Each row's gradient already counts its own class once; the batch statistics count it by its share.
        through = torch.addcmul(sum_grad, centred, sum_centred).mul_(share[:, None])
        return inner.sub_(through).mul_(scale * rstd), sum_centred, sum_grad, None, None


gate = _Gate.apply
aggregate = _Aggregate.apply
norm_silu = _NormSilu.apply
