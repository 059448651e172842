"""The edge-gated convolution for inference: products, and all that is done row by row between them.

On a CPU a convolution is done in blocks of edges that stay in the processor's cache: a large batch would go
through memory ten times a layer. Edges are sorted by target and blocks are cut at targets, so that every sum
over a target's edges lies in one block. In bfloat16 the operands and results of products have 8 significant
bits, added up in float32; everything else is done in float32.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.backbones.alignn.batch import Rows, blocks

BLOCK = 512  # edges worked on together on a CPU; at width 256 a block is 0.5 MB, the cache of a core 1 MB
_NORM_EPSILON = 1e-5  # of both normalisations, torch's own default
_GATE_EPSILON = 1e-6


class BatchNorm(NamedTuple):
    """Batch normalisation by the running statistics, which makes it linear."""

    scale: Tensor
    shift: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Normalise in place."""
        return torch.addcmul(self.shift, rows, self.scale, out=rows)


class LayerNorm(NamedTuple):
    """Layer normalisation: each row by its own mean and variance."""

    weight: Tensor
    bias: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Normalise into new memory."""
        return F.layer_norm(rows, self.bias.shape, self.weight, self.bias, _NORM_EPSILON)


Norm = BatchNorm | LayerNorm


def norm_of(state: Mapping[str, Tensor], prefix: str) -> Norm:
    """The normalisation whose tensors are there: only that of batches has running statistics."""
    weight, bias = state[f"{prefix}.weight"], state[f"{prefix}.bias"]
    if f"{prefix}.running_var" not in state:
        return LayerNorm(weight, bias)
    scale = weight / torch.sqrt(state[f"{prefix}.running_var"] + _NORM_EPSILON)
    return BatchNorm(scale, bias - state[f"{prefix}.running_mean"] * scale)


class Conv(NamedTuple):
    """Weights of a convolution of width w, transposed; those of products in the precision of products."""

    node_weight: Tensor  # (w, 4·w): source gate, target gate, target update, source update
    node_bias: Tensor  # the edge gate's bias sits in the source gate's
    edge_weight: Tensor  # (w, w)
    edge_norm: Norm
    node_norm: Norm


def conv_of(state: Mapping[str, Tensor], prefix: str, dtype: torch.dtype) -> Conv:
    """Stack the weights of a convolution, once for all batches."""
    names = ("src_gate", "dst_gate", "dst_update", "src_update")
    bias = [state[f"{prefix}.{name}.bias"] for name in names]
    bias[0] = bias[0] + state[f"{prefix}.edge_gate.bias"]
    return Conv(
        torch.cat([state[f"{prefix}.{name}.weight"] for name in names]).to(dtype).t(),
        torch.cat(bias).to(dtype),
        state[f"{prefix}.edge_gate.weight"].t().contiguous().to(dtype),
        norm_of(state, f"{prefix}.bn_edges"),
        norm_of(state, f"{prefix}.bn_nodes"),
    )


class _Part(NamedTuple):
    """A block of e edges with t targets: which rows of a table each edge adds up, and memory to work in.

    `gate` (2e,), two for each edge; `update` (e,); `order` (e,) counts; `start` (t,) says where the edges of
    a target begin; `weight` as in `Rows`. `sigma`, `message` (e, w) float32; `own` (e, w) as products are.
    """

    gate: Tensor
    pairs: Tensor  # (e,), where the rows of each edge begin in `gate`
    update: Tensor
    order: Tensor
    start: Tensor
    weight: Tensor | None
    sigma: Tensor
    message: Tensor
    own: Tensor

    def sums(self, values: Tensor) -> Tensor:
        """Weighted sum of each target's rows, (t, w); a target without rows gets zeros."""
        return F.embedding_bag(self.order, values, self.start, mode="sum", per_sample_weights=self.weight)


class Graph(NamedTuple):
    """What convolutions read of one graph of a batch, made once; `edges` and `targets` of each part."""

    parts: tuple[_Part, ...]
    edges: list[int]
    targets: list[int]
    gate: Tensor  # (edges, 2)


def graph_of(rows: Rows, width: int, dtype: torch.dtype) -> Graph:
    """Cut the edges into blocks, and number the rows of a table of four rows a node (see `Conv`).

    dtype: of products. The blocks work in one memory, one after the other.
    """
    count, device = len(rows.src), rows.src.device
    cut = blocks(rows, -(-count // max(round(count / BLOCK), 1)))  # alike, and none of a few edges
    src = rows.src * 4
    gate, update = torch.stack((src, rows.dst * 4 + 1), dim=1), src + 2
    edges = [block.end - block.begin for block in cut]
    order = torch.arange(2 * max(edges), device=device)
    sigma, message = torch.empty(2, max(edges), width, device=device)
    own = torch.empty(max(edges) if dtype != sigma.dtype else 0, width, dtype=dtype, device=device)
    parts = tuple(
        _Part(
            gate[block.begin : block.end].view(-1),
            order[: 2 * size : 2].contiguous(),
            update[block.begin : block.end],
            order[:size],
            rows.start[block.first : block.last] - block.begin,
            None if rows.weight is None else rows.weight[block.begin : block.end],
            sigma[:size],
            message[:size],
            own[:size],
        )
        for block, size in zip(cut, edges, strict=True)
    )
    return Graph(parts, edges, [block.last - block.first for block in cut], gate)


def gated(
    conv: Conv, nodes: Tensor, edges: Tensor, graph: Graph, index: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One edge-gated convolution, `edges` updated in place; `index`, if given, says which row an edge has.

    gate = src_gate(n_src) + dst_gate(n_dst) + edge_gate(e); a node gains the mean of dst_update(n_src)
    weighted by sigmoid(gate), an edge gains silu(norm(gate)).
    """
    count, width = nodes.shape
    dtype, four = conv.node_bias.dtype, 4 * count
    opened = nodes.new_empty(four + (0 if index is None else len(edges)), width, dtype=dtype)
    torch.addmm(conv.node_bias, nodes.to(dtype), conv.node_weight, out=opened[:four].view(count, 4 * width))
    values = opened[:four].float()
    if index is not None:
        torch.mm(edges.to(dtype), conv.edge_weight, out=opened[four:])
        edges = edges.index_select(0, index)
        three = torch.cat((graph.gate, (index + four)[:, None]), dim=1).split(graph.edges)
    mean = torch.empty_like(nodes)
    for k, (part, rows, out) in enumerate(
        zip(graph.parts, edges.split(graph.edges), mean.split(graph.targets), strict=True)
    ):
        if index is None:
            gate = F.embedding_bag(part.gate, opened, part.pairs, mode="sum")
            gate.addmm_(rows if dtype == rows.dtype else part.own.copy_(rows), conv.edge_weight)
        else:
            gate = F.embedding_bag(three[k], opened, mode="sum")
        gate = gate.float()
        torch.sigmoid(gate, out=part.sigma)
        torch.index_select(values, 0, part.update, out=part.message).mul_(part.sigma)
        torch.div(part.sums(part.message), part.sums(part.sigma).add_(_GATE_EPSILON), out=out)
        rows.add_(F.silu(conv.edge_norm(gate), inplace=True))
    mean += values.view(count, 4, width)[:, 3]
    return F.silu(conv.node_norm(mean), inplace=True).add_(nodes), edges
