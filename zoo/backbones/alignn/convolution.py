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

from zoo.backbones.alignn.batch import Block, Rows, blocks

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
    """Weights of a convolution of width w, those of products in the precision that products are done in."""

    node_weight: Tensor  # (4·w, w): source gate, target gate, target update, source update
    node_bias: Tensor  # the edge gate's bias sits in the source gate's
    edge_weight: Tensor  # (w, w), transposed for the product
    edge_norm: Norm
    node_norm: Norm


def conv_of(state: Mapping[str, Tensor], prefix: str, dtype: torch.dtype) -> Conv:
    """Stack the weights of a convolution, once for all batches."""
    names = ("src_gate", "dst_gate", "dst_update", "src_update")
    bias = [state[f"{prefix}.{name}.bias"] for name in names]
    bias[0] = bias[0] + state[f"{prefix}.edge_gate.bias"]
    return Conv(
        torch.cat([state[f"{prefix}.{name}.weight"] for name in names]).to(dtype),
        torch.cat(bias).to(dtype),
        state[f"{prefix}.edge_gate.weight"].t().contiguous().to(dtype),
        norm_of(state, f"{prefix}.bn_edges"),
        norm_of(state, f"{prefix}.bn_nodes"),
    )


class _Part(NamedTuple):
    """A block, and for its e edges which rows of a table each adds up: `gate` (e, 2), `update` (e,).

    `order` (e,) counts; `start` (t,) says where the edges of its t targets begin; `weight` as in `Rows`.
    """

    block: Block
    gate: Tensor
    update: Tensor
    order: Tensor
    start: Tensor
    weight: Tensor | None

    def sums(self, values: Tensor) -> Tensor:
        """Weighted sum of each target's rows, (t, w); a target without rows gets zeros."""
        return F.embedding_bag(self.order, values, self.start, mode="sum", per_sample_weights=self.weight)


class Graph(NamedTuple):
    """What convolutions read of one graph of a batch, made once: its parts, and memory for the largest."""

    parts: tuple[_Part, ...]
    edges: int
    scratch: Tensor  # (2, e, w)
    half: Tensor  # (e, w), where products are not in float32


def graph_of(rows: Rows, width: int, dtype: torch.dtype) -> Graph:
    """Cut the edges into blocks, and number the rows of a table of four rows a node (see `Conv`)."""
    src = rows.src * 4
    gate = torch.stack((src, rows.dst * 4 + 1), dim=1)
    update, device = src + 2, rows.src.device
    cut = blocks(rows, BLOCK)
    largest = max((block.end - block.begin for block in cut), default=0)
    order = torch.arange(largest, device=device)
    parts = tuple(
        _Part(
            block,
            gate[block.begin : block.end],
            update[block.begin : block.end],
            order[: block.end - block.begin],
            rows.start[block.first : block.last] - block.begin,
            None if rows.weight is None else rows.weight[block.begin : block.end],
        )
        for block in cut
    )
    half = torch.empty(0 if dtype == torch.float32 else largest, width, dtype=dtype, device=device)
    return Graph(parts, len(rows.src), torch.empty(2, largest, width, device=device), half)


def gated(
    conv: Conv, nodes: Tensor, edges: Tensor, graph: Graph, index: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One edge-gated convolution, `edges` updated in place; `index`, if given, says which row an edge has.

    gate = src_gate(n_src) + dst_gate(n_dst) + edge_gate(e); a node gains the mean of dst_update(n_src)
    weighted by sigmoid(gate), an edge gains silu(norm(gate)).
    """
    count, width = nodes.shape
    dtype = conv.node_weight.dtype
    table = F.linear(nodes.to(dtype), conv.node_weight, conv.node_bias).view(4 * count, width)
    values = table.float()
    mean = torch.empty_like(nodes)
    distinct, opened = edges, table
    if index is not None:
        opened = torch.cat((table, edges.to(dtype) @ conv.edge_weight))
        edges = edges.new_empty(graph.edges, width)
    for part in graph.parts:
        first, last, begin, end = part.block
        rows = edges[begin:end]
        if index is None:
            gate = F.embedding_bag(part.gate, opened, mode="sum")
            own = rows if dtype == rows.dtype else graph.half[: end - begin].copy_(rows)
            gate.addmm_(own, conv.edge_weight)
        else:
            which = index[begin:end]
            torch.index_select(distinct, 0, which, out=rows)
            which = torch.cat((part.gate, (which + 4 * count)[:, None]), dim=1)
            gate = F.embedding_bag(which, opened, mode="sum")
        sigma, message = graph.scratch[:, : end - begin]
        gate = gate.float()
        torch.sigmoid(gate, out=sigma)
        torch.index_select(values, 0, part.update, out=message).mul_(sigma)
        torch.div(part.sums(message), part.sums(sigma).add_(_GATE_EPSILON), out=mean[first:last])
        rows.add_(F.silu(conv.edge_norm(gate), inplace=True))
    mean += values.view(count, 4, width)[:, 3]
    return F.silu(conv.node_norm(mean), inplace=True).add_(nodes), edges
