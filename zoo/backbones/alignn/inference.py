"""ALIGNN's forward pass for inference, in plain torch, with every checkpoint pooled on the way.

Choudhary & DeCost 2021: four layers that update atoms from bonds and bonds from angles, then four that update
atoms from bonds. State dictionaries of alignn 2026.8.11 load strictly. Nothing here scatters: edges are
sorted by target, so every sum is over contiguous rows. Rows are normalised by the statistics of the training
(`alignn`) or each by its own (`alignn_atomwise`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import StrataError, unknown
from zoo.backbones.alignn.architecture import Architecture, conv_names
from zoo.backbones.alignn.batch import Batch, Pool, Rows

_NORM_EPSILON = 1e-5  # of both normalisations, torch's own default
_GATE_EPSILON = 1e-6


class Output(NamedTuple):
    """`prediction` (s, outputs) of the source model; `vectors` (s, checkpoints, 256), pooled by the mean."""

    prediction: Tensor
    vectors: Tensor


# What is done with the rows of a checkpoint; the index, where there is one, says which of them a row has.
# The rows are written over afterwards.
_Keep = Callable[[str, Tensor, Tensor | None], None]


class _BatchNorm(NamedTuple):
    """Batch normalisation by the running statistics, which makes it linear."""

    scale: Tensor
    shift: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Normalise in place."""
        return torch.addcmul(self.shift, rows, self.scale, out=rows)


class _LayerNorm(NamedTuple):
    """Layer normalisation: each row by its own mean and variance."""

    weight: Tensor
    bias: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Normalise into new memory."""
        return F.layer_norm(rows, self.bias.shape, self.weight, self.bias, _NORM_EPSILON)


_Norm = _BatchNorm | _LayerNorm


class _Mlp(NamedTuple):
    weight: Tensor  # (out, in)
    bias: Tensor
    norm: _Norm | None = None  # none: batch normalisation, folded into weight and bias


class _Conv(NamedTuple):
    node_weight: Tensor  # (4·256, 256): source gate, target gate, target update, source update
    node_bias: Tensor  # the edge gate's bias sits in the source gate's
    edge_weight: Tensor  # (256, 256), transposed for the product
    edge_norm: _Norm
    node_norm: _Norm


def check_state(state: Mapping[str, Tensor], architecture: Architecture, where: str) -> None:
    """Raise `StrataError` unless `state` has exactly the tensors of the architecture, all of them finite."""
    shapes = architecture.shapes()
    missing, extra = sorted(set(shapes) - set(state)), sorted(set(state) - set(shapes))
    if missing or extra:
        raise StrataError(
            f"{where}: not the state of a plain {architecture.name}: "
            f"{len(missing)} tensors missing ({', '.join(missing[:3])}…), "
            f"{len(extra)} unexpected ({', '.join(extra[:3])}…)"
        )
    for name, shape in shapes.items():
        if tuple(state[name].shape) != shape:
            raise StrataError(
                f"{where}: tensor {name} has shape {tuple(state[name].shape)}, expected {shape}"
            )
        if state[name].is_floating_point() and not torch.isfinite(state[name]).all():
            raise StrataError(
                f"{where}: tensor {name} holds NaN or infinite numbers; the weights are damaged"
            )


class Network:
    """A source model ready to run: weights folded and stacked once, then called on batches.

    `features` (101, 92) atom features by atomic number. Same inputs give the same outputs on one machine;
    across batch sizes and machines they agree to float32 rounding.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        features: Tensor,
        architecture: Architecture | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.architecture = architecture or Architecture()
        self.device = device or torch.device("cpu")
        check_state(state, self.architecture, "source model")
        state = {name: tensor.to(self.device, torch.float32) for name, tensor in state.items()}
        self._bond_centers = state["edge_embedding.0.centers"]
        self._angle_centers = state["angle_embedding.0.centers"]
        self._bond = [_mlp(state, f"edge_embedding.{i}") for i in (1, 2)]
        self._angle = [_mlp(state, f"angle_embedding.{i}") for i in (1, 2)]
        self._atoms = _run(_mlp(state, "atom_embedding"), features.to(self.device, torch.float32))
        self._convs = {prefix: _stack(state, prefix) for prefix in conv_names(self.architecture)}
        self._fc = _Mlp(state["fc.weight"], state["fc.bias"])

    @torch.inference_mode()
    def __call__(self, batch: Batch, checkpoints: Sequence[str] | None = None) -> Output:
        """Run a batch and pool the checkpoints named (default: all 23, in their order).

        Raises `StrataError` for a checkpoint that does not exist.
        """
        wanted = self._known(checkpoints)
        batch = batch.to(self.device)
        slot = {name: k for k, name in enumerate(wanted)}
        structures = len(batch.pools["atom"].start)
        vectors = torch.zeros(structures, len(wanted), self.architecture.hidden_features, device=self.device)

        def keep(name: str, rows: Tensor, index: Tensor | None) -> None:
            if name in slot:
                vectors[:, slot[name]] = _pooled(rows, batch.pools[name.partition("_")[0]], index)

        return Output(self._forward(batch, keep), vectors)

    @torch.inference_mode()
    def rows(self, batch: Batch, checkpoints: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the rows (r, 256) of the checkpoints named, as many as the batch has of that kind, unpooled.

        Raises `StrataError` for a checkpoint that does not exist.
        """
        wanted = self._known(checkpoints)
        found: dict[str, Tensor] = {}

        def keep(name: str, rows: Tensor, index: Tensor | None) -> None:
            if name in wanted:
                found[name] = rows.clone() if index is None else rows[index]

        self._forward(batch.to(self.device), keep)
        return found

    def _known(self, checkpoints: Sequence[str] | None) -> list[str]:
        """Return the checkpoints named, all of them by default."""
        known = [checkpoint.name for checkpoint in self.architecture.checkpoints]
        wanted = known if checkpoints is None else list(checkpoints)
        for name in wanted:
            if name not in known:
                raise unknown("checkpoint", name, known)
        return wanted

    def _forward(self, batch: Batch, keep: _Keep) -> Tensor:
        """Run a batch, hand over the rows of every checkpoint, and return the prediction (s, outputs)."""
        x = self._atoms[batch.numbers]
        y = _embed(batch.length, self._bond_centers, self._bond)
        z = _embed(batch.cosine, self._angle_centers, self._angle)
        index: Tensor | None = batch.angle_cosine
        keep("atom_0", x, None)
        keep("bond_0", y, None)
        keep("angle_0", z, index)
        for i in range(self.architecture.alignn_layers):
            x, y = _gated(self._convs[f"alignn_layers.{i}.node_update"], x, y, batch.bonds)
            y, z = _gated(self._convs[f"alignn_layers.{i}.edge_update"], y, z, batch.angles, index)
            index = None
            keep(f"atom_{i + 1}", x, None)
            keep(f"bond_{i + 1}", y, None)
            keep(f"angle_{i + 1}", z, None)
        for i in range(self.architecture.gcn_layers):
            x, y = _gated(self._convs[f"gcn_layers.{i}"], x, y, batch.bonds)
            keep(f"atom_{i + 5}", x, None)
            keep(f"bond_{i + 5}", y, None)
        prediction = F.linear(_pooled(x, batch.pools["atom"]), self._fc.weight, self._fc.bias)
        links = {"identity": lambda v: v, "log": torch.exp, "logit": torch.sigmoid}
        return links[self.architecture.link](prediction)


def _gated(
    conv: _Conv, nodes: Tensor, edges: Tensor, rows: Rows, index: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One edge-gated convolution, `edges` updated in place; `index`, if given, says which row an edge has.

    gate = src_gate(n_src) + dst_gate(n_dst) + edge_gate(e); a node gains the mean of dst_update(n_src)
    weighted by sigmoid(gate), an edge gains silu(norm(gate)).
    """
    count, width = nodes.shape
    parts = torch.addmm(conv.node_bias, nodes, conv.node_weight.t()).view(4 * count, width)
    src = rows.src * 4
    if index is None:
        gate = F.embedding_bag(torch.stack((src, rows.dst * 4 + 1), dim=1), parts, mode="sum")
        gate.addmm_(edges, conv.edge_weight)
    else:
        table = torch.cat((parts, edges @ conv.edge_weight))
        gate = F.embedding_bag(
            torch.stack((src, rows.dst * 4 + 1, index + 4 * count), dim=1), table, mode="sum"
        )
        edges = edges[index]
    sigma = torch.sigmoid(gate)
    message = parts.index_select(0, src + 2).mul_(sigma)
    total = _segments(message, rows).div_(_segments(sigma, rows).add_(_GATE_EPSILON))
    total += parts.view(count, 4, width)[:, 3]
    new_nodes = F.silu(conv.node_norm(total), inplace=True).add_(nodes)
    return new_nodes, edges.add_(F.silu(conv.edge_norm(gate), inplace=True))


def _segments(values: Tensor, rows: Rows) -> Tensor:
    """Weighted sum of each target's rows; a target without rows gets zeros."""
    order = torch.arange(len(values), device=values.device)
    return F.embedding_bag(order, values, rows.start, mode="sum", per_sample_weights=rows.weight)


def _pooled(values: Tensor, pool: Pool, index: Tensor | None = None) -> Tensor:
    """Weighted mean of each structure's rows; zeros where a structure has none."""
    order = torch.arange(len(values), device=values.device) if index is None else index
    return F.embedding_bag(order, values, pool.start, mode="sum", per_sample_weights=pool.weight)


def _embed(values: Tensor, centers: Tensor, layers: Sequence[_Mlp]) -> Tensor:
    """Radial basis functions of a length or cosine, then two layers."""
    gamma = 1 / (centers[1:] - centers[:-1]).mean()
    rows = torch.exp(-gamma * (values[:, None] - centers) ** 2)
    for layer in layers:
        rows = _run(layer, rows)
    return rows


def _run(layer: _Mlp, rows: Tensor) -> Tensor:
    out = F.linear(rows, layer.weight, layer.bias)
    return F.silu(out if layer.norm is None else layer.norm(out), inplace=True)


def _norm(state: Mapping[str, Tensor], prefix: str) -> _Norm:
    """The normalisation whose tensors are there: only that of batches has running statistics."""
    weight, bias = state[f"{prefix}.weight"], state[f"{prefix}.bias"]
    if f"{prefix}.running_var" not in state:
        return _LayerNorm(weight, bias)
    scale = weight / torch.sqrt(state[f"{prefix}.running_var"] + _NORM_EPSILON)
    return _BatchNorm(scale, bias - state[f"{prefix}.running_mean"] * scale)


def _mlp(state: Mapping[str, Tensor], prefix: str) -> _Mlp:
    """A linear layer and the normalisation behind it, folded in where that is linear."""
    norm = _norm(state, f"{prefix}.layer.1")
    weight, bias = state[f"{prefix}.layer.0.weight"], state[f"{prefix}.layer.0.bias"]
    if isinstance(norm, _LayerNorm):
        return _Mlp(weight, bias, norm)
    return _Mlp(weight * norm.scale[:, None], bias * norm.scale + norm.shift)


def _stack(state: Mapping[str, Tensor], prefix: str) -> _Conv:
    names = ("src_gate", "dst_gate", "dst_update", "src_update")
    bias = [state[f"{prefix}.{name}.bias"] for name in names]
    bias[0] = bias[0] + state[f"{prefix}.edge_gate.bias"]
    return _Conv(
        torch.cat([state[f"{prefix}.{name}.weight"] for name in names]),
        torch.cat(bias),
        state[f"{prefix}.edge_gate.weight"].t().contiguous(),
        _norm(state, f"{prefix}.bn_edges"),
        _norm(state, f"{prefix}.bn_nodes"),
    )
