"""ALIGNN to train: the network of `inference.py` with gradients, under alignn's own parameter names.

Batches are quotient graphs; every batch normalisation and every mean weighs a class by its size, so that
mean, variance and gradients are those of the uncompressed graph (Choudhary & DeCost 2021 for the network).
Layer normalisation (`alignn_atomwise`) looks at one row alone, whose class size therefore says nothing to it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.backbones.alignn.batch import Batch
from zoo.backbones.alignn.inference import Architecture, check_state
from zoo.backbones.alignn.layers import Edges, Kinds, aggregate, edges, gate, kinds, norm_silu, spread

_MOMENTUM = 0.1  # of the running statistics, torch's own default
_GATE_EPSILON = 1e-6


class Sizes(NamedTuple):
    """How many rows of the uncompressed graph a row stands for.

    One number an atom (a,), bond (b,), angle (z,) and distinct cosine (c,).
    """

    atom: Tensor
    bond: Tensor
    angle: Tensor
    cosine: Tensor


class Norm(nn.Module):
    """silu(batch norm), rows weighted by size; parameters and statistics under the names of BatchNorm1d."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.epsilon = 1e-5
        self.frozen = False

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """Normalise by the batch's statistics in training, unless frozen, else by the running ones."""
        if not self.training or self.frozen:
            scale = self.weight * torch.rsqrt(self.running_var + self.epsilon)
            return F.silu((x - self.running_mean) * scale + self.bias)
        y, mean, variance = norm_silu(x, self.weight, self.bias, size, self.epsilon)
        with torch.no_grad():
            count = size.sum()
            self.running_mean.lerp_(mean, _MOMENTUM)
            self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), _MOMENTUM)
            self.num_batches_tracked += 1
        return y


class RowNorm(nn.Module):
    """silu(layer norm): each row by its own mean and variance, in training as afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """Normalise rows (r, width); sizes do not matter."""
        del size
        return F.silu(F.layer_norm(x, self.bias.shape, self.weight, self.bias))


_NORMS: dict[str, type[Norm] | type[RowNorm]] = {"alignn": Norm, "alignn_atomwise": RowNorm}


class Mlp(nn.Module):
    """Linear, normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, norm: type[Norm] | type[RowNorm]) -> None:
        super().__init__()
        self.layer = nn.ModuleList([nn.Linear(inputs, outputs), norm(outputs)])

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """(r, inputs) to (r, outputs)."""
        return self.layer[1](self.layer[0](x), size)


class Basis(nn.Module):
    """Radial basis functions on an even grid; `gamma` is one over the grid's step."""

    centers: Tensor

    def __init__(self, low: float, high: float, bins: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.linspace(low, high, bins))

    def forward(self, values: Tensor) -> Tensor:
        """(r,) to (r, bins)."""
        gamma = 1 / (self.centers[1:] - self.centers[:-1]).mean()
        return torch.exp(-gamma * (values[:, None] - self.centers) ** 2)


class GatedConv(nn.Module):
    """Edge-gated graph convolution (see `zoo.backbones.alignn.inference`), with its gradients."""

    def __init__(self, width: int, norm: type[Norm] | type[RowNorm]) -> None:
        super().__init__()
        self.src_gate, self.dst_gate, self.edge_gate = (nn.Linear(width, width) for _ in range(3))
        self.src_update, self.dst_update = nn.Linear(width, width), nn.Linear(width, width)
        self.bn_edges, self.bn_nodes = norm(width), norm(width)

    def forward(
        self,
        nodes: Tensor,
        edge: Tensor,
        graph: Edges,
        node_size: Tensor,
        edge_size: Tensor,
        of_kind: Kinds | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Update nodes (n, width) and edges (r, width); with `of_kind`, one row of `edge` per kind."""
        parts = (self.src_gate, self.dst_gate, self.dst_update, self.src_update)
        weight = torch.cat([part.weight for part in parts])
        bias = torch.cat([part.bias for part in parts])
        source, target, values, own = F.linear(nodes, weight, bias).chunk(4, dim=1)
        gates = self.edge_gate(edge)
        if of_kind is not None:
            gates, edge = spread(gates, of_kind), spread(edge, of_kind)
        opened = gate(source, target, gates, graph)
        gathered = own + aggregate(opened, values, graph, _GATE_EPSILON)
        return nodes + self.bn_nodes(gathered, node_size), edge + self.bn_edges(opened, edge_size)


class AlignnConv(nn.Module):
    """One ALIGNN layer: atoms from bonds, then bonds from angles."""

    def __init__(self, width: int, norm: type[Norm] | type[RowNorm]) -> None:
        super().__init__()
        self.node_update, self.edge_update = GatedConv(width, norm), GatedConv(width, norm)


class Alignn(nn.Module):
    """The network; `state_dict` has alignn's names and shapes, and loads either way, strictly.

    `features` (101, inputs) atom features by atomic number are no part of the state.
    """

    features: Tensor

    def __init__(self, features: Tensor, architecture: Architecture | None = None) -> None:
        super().__init__()
        a = self.architecture = architecture or Architecture()
        wide, narrow, norm = a.hidden_features, a.embedding_features, _NORMS[a.name]
        self.register_buffer("features", features.float(), persistent=False)
        self.atom_embedding = Mlp(a.atom_input_features, wide, norm)
        self.edge_embedding = nn.ModuleList(
            [
                Basis(0.0, 8.0, a.edge_input_features),
                Mlp(a.edge_input_features, narrow, norm),
                Mlp(narrow, wide, norm),
            ]
        )
        self.angle_embedding = nn.ModuleList(
            [
                Basis(-1.0, 1.0, a.triplet_input_features),
                Mlp(a.triplet_input_features, narrow, norm),
                Mlp(narrow, wide, norm),
            ]
        )
        self.alignn_layers = nn.ModuleList(AlignnConv(wide, norm) for _ in range(a.alignn_layers))
        self.gcn_layers = nn.ModuleList(GatedConv(wide, norm) for _ in range(a.gcn_layers))
        self.fc = nn.Linear(wide, a.output_features)

    def load(self, state: Mapping[str, Tensor], where: str) -> None:
        """Load a state dictionary of exactly this architecture; raises `StrataError` naming what differs."""
        check_state(state, self.architecture, where)
        self.load_state_dict(dict(state), strict=True)

    def forward(self, batch: Batch) -> Tensor:
        """Predict (s, outputs) for the structures of a batch."""
        sizes = sizes_of(batch)
        bonds, angles = edges(batch.bonds), edges(batch.angles)
        elements, which = torch.unique(batch.numbers, return_inverse=True)
        per_element = sizes.atom.new_zeros(len(elements)).index_add_(0, which, sizes.atom)
        x = self.atom_embedding(self.features[elements], per_element)[which]
        y = self._embed(self.edge_embedding, batch.length, sizes.bond)
        z = self._embed(self.angle_embedding, batch.cosine, sizes.cosine)
        # angles of one cosine are alike until the first layer has seen their bonds
        of_cosine: Kinds | None = kinds(batch.angle_cosine, len(batch.cosine))
        for layer in cast("Iterable[AlignnConv]", self.alignn_layers):
            x, y = layer.node_update(x, y, bonds, sizes.atom, sizes.bond)
            y, z = layer.edge_update(y, z, angles, sizes.bond, sizes.angle, of_cosine)
            of_cosine = None
        for conv in self.gcn_layers:
            x, y = conv(x, y, bonds, sizes.atom, sizes.bond)
        out = self.fc(_segment_means(x, batch))
        links = {"identity": lambda v: v, "log": torch.exp, "logit": torch.sigmoid}
        return links[self.architecture.link](out)

    @staticmethod
    def _embed(layers: nn.ModuleList, values: Tensor, size: Tensor) -> Tensor:
        basis, *mlps = layers
        rows: Tensor = basis(values)
        for layer in mlps:
            rows = layer(rows, size)
        return rows


def sizes_of(batch: Batch) -> Sizes:
    """Class sizes as the batch norms weigh them."""
    angle = batch.pools["angle"].size
    cosine = angle.new_zeros(len(batch.cosine)).index_add_(0, batch.angle_cosine, angle)
    return Sizes(batch.pools["atom"].size, batch.pools["bond"].size, angle, cosine)


def _segment_means(values: Tensor, batch: Batch) -> Tensor:
    """Mean over the atoms of each structure, a class weighted by its size (few rows: plain index_add)."""
    pool = batch.pools["atom"]
    ends = torch.cat([pool.start[1:], pool.start.new_tensor([len(values)])])
    owner = torch.repeat_interleave(torch.arange(len(pool.start), device=values.device), ends - pool.start)
    means = values.new_zeros(len(pool.start), values.shape[1])
    return means.index_add(0, owner, values * pool.weight[:, None])
