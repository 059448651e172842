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
from zoo.backbones.alignn.batch import Batch, Pool
from zoo.backbones.alignn.convolution import BLOCK, LayerNorm, Norm, conv_of, gated, graph_of, norm_of


class Output(NamedTuple):
    """`prediction` (s, outputs) of the source model; `vectors` (s, checkpoints, 256), pooled by the mean."""

    prediction: Tensor
    vectors: Tensor


# What is done with the rows of a checkpoint; the index, where there is one, says which of them a row has.
# The rows are written over afterwards.
_Keep = Callable[[str, Tensor, Tensor | None], None]


class _Mlp(NamedTuple):
    weight: Tensor  # (out, in)
    bias: Tensor
    norm: Norm | None = None  # none: batch normalisation, folded into weight and bias


class _Embedding(NamedTuple):
    """Radial basis functions of a length or cosine, then two layers."""

    centers: Tensor
    gamma: Tensor
    layers: tuple[_Mlp, _Mlp]


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

    `features` (101, 92) atom features by atomic number; `precision` of the products of convolutions, where
    nearly all the work is. Same inputs give the same outputs on one machine; across batch sizes and machines
    they agree to the rounding of that precision.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        features: Tensor,
        architecture: Architecture | None = None,
        device: torch.device | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.architecture = architecture or Architecture()
        self.device = device or torch.device("cpu")
        check_state(state, self.architecture, "source model")
        state = {name: tensor.to(self.device, torch.float32) for name, tensor in state.items()}
        self._precision = precision
        self._bond, self._angle = (_embedding(state, f"{kind}_embedding") for kind in ("edge", "angle"))
        self._atoms = _run(_mlp(state, "atom_embedding"), features.to(self.device, torch.float32))
        self._convs = {prefix: conv_of(state, prefix, precision) for prefix in conv_names(self.architecture)}
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
        y = _embed(batch.length, self._bond)
        z = _embed(batch.cosine, self._angle)
        width = self.architecture.hidden_features
        bonds, angles = (graph_of(rows, width, self._precision) for rows in (batch.bonds, batch.angles))
        index: Tensor | None = batch.angle_cosine
        keep("atom_0", x, None)
        keep("bond_0", y, None)
        keep("angle_0", z, index)
        for i in range(self.architecture.alignn_layers):
            x, y = gated(self._convs[f"alignn_layers.{i}.node_update"], x, y, bonds)
            y, z = gated(self._convs[f"alignn_layers.{i}.edge_update"], y, z, angles, index)
            index = None
            keep(f"atom_{i + 1}", x, None)
            keep(f"bond_{i + 1}", y, None)
            keep(f"angle_{i + 1}", z, None)
        for i in range(self.architecture.gcn_layers):
            x, y = gated(self._convs[f"gcn_layers.{i}"], x, y, bonds)
            keep(f"atom_{i + 5}", x, None)
            keep(f"bond_{i + 5}", y, None)
        prediction = F.linear(_pooled(x, batch.pools["atom"]), self._fc.weight, self._fc.bias)
        links = {"identity": lambda v: v, "log": torch.exp, "logit": torch.sigmoid}
        return links[self.architecture.link](prediction)


def _pooled(values: Tensor, pool: Pool, index: Tensor | None = None) -> Tensor:
    """Weighted mean of each structure's rows; zeros where a structure has none."""
    order = torch.arange(len(values), device=values.device) if index is None else index
    return F.embedding_bag(order, values, pool.start, mode="sum", per_sample_weights=pool.weight)


def _embed(values: Tensor, embedding: _Embedding) -> Tensor:
    """Embed lengths or cosines (r,), on a CPU in blocks that stay in its cache; returns (r, w)."""
    size = BLOCK if values.device.type == "cpu" else max(len(values), 1)
    embedded = values.new_empty(len(values), len(embedding.layers[-1].bias))
    for part, out in zip(values.split(size), embedded.split(size), strict=True):
        rows = torch.exp(-embedding.gamma * (part[:, None] - embedding.centers) ** 2)
        for layer in embedding.layers:
            rows = _run(layer, rows)
        out.copy_(rows)
    return embedded


def _run(layer: _Mlp, rows: Tensor) -> Tensor:
    out = F.linear(rows, layer.weight, layer.bias)
    return F.silu(out if layer.norm is None else layer.norm(out), inplace=True)


def _embedding(state: Mapping[str, Tensor], prefix: str) -> _Embedding:
    centers = state[f"{prefix}.0.centers"]
    gamma = 1 / (centers[1:] - centers[:-1]).mean()
    return _Embedding(centers, gamma, (_mlp(state, f"{prefix}.1"), _mlp(state, f"{prefix}.2")))


def _mlp(state: Mapping[str, Tensor], prefix: str) -> _Mlp:
    """A linear layer and the normalisation behind it, folded in where that is linear."""
    norm = norm_of(state, f"{prefix}.layer.1")
    weight, bias = state[f"{prefix}.layer.0.weight"], state[f"{prefix}.layer.0.bias"]
    if isinstance(norm, LayerNorm):
        return _Mlp(weight, bias, norm)
    return _Mlp(weight * norm.scale[:, None], bias * norm.scale + norm.shift)
