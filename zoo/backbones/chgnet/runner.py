"""CHGNet's heavy half: batches of graphs through our forward pass, and the package's file of weights."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import StrataError
from zoo.backbones.base import Output, Rows, Runner
from zoo.backbones.chgnet.architecture import Architecture
from zoo.backbones.chgnet.backbone import CHGNet
from zoo.backbones.chgnet.batch import collate
from zoo.backbones.chgnet.graph import CrystalGraph
from zoo.backbones.chgnet.network import Network

# What a file's model_args must say for our equations to be its network's; absent: chgnet's default.
_EQUATIONS = {
    "composition_model": "MPtrj", "update_bond": True, "update_angle": True, "mlp_first": True,
    "is_intensive": True, "mlp_hidden_dims": [64, 64, 64], "angle_layer_hidden_dim": 0,
    "non_linearity": "silu", "gMLP_norm": "layer", "readout_norm": "layer",
}  # fmt: skip


class ChgnetRunner(Runner):
    """Our forward pass."""

    def __init__(self, backbone: CHGNet, state: Mapping[str, Tensor], device: torch.device) -> None:
        super().__init__(backbone, state, device)
        placed = {name: tensor.to(device, torch.float32) for name, tensor in state.items()}
        self._network = Network(placed, backbone.architecture, backbone.graph)

    def run(self, prepared: Sequence[CrystalGraph], checkpoints: Sequence[str]) -> Output:
        """Run one batch."""
        energy, vectors = self._network(collate(prepared, self.device), checkpoints)
        counts = np.array([(len(g.length), g.short, len(g.angle)) for g in prepared], np.int64)
        return Output(
            {name: vectors[name].cpu().numpy() for name in checkpoints},
            energy.cpu().numpy(),
            dict(zip(CHGNet.counts, counts.T, strict=True)),
        )

    def rows(self, prepared: CrystalGraph, checkpoints: Sequence[str]) -> dict[str, Rows]:
        """Return the rows of one structure: every atom, bond (once for both directions) and angle."""
        g = prepared
        found = self._network.rows(collate([g], self.device), checkpoints)
        ends = g.first + g.second  # of a bond; less the atom at the corner, the atom at its other end
        atoms = {
            "atom": np.arange(len(g.numbers))[:, None],
            "bond": np.stack([g.first, g.second], axis=1),
            "angle": np.stack([ends[g.bond] - g.center, ends[g.other] - g.center, g.center], axis=1),
        }
        return {
            name: Rows(found[name].cpu().numpy(), atoms[name.partition("_")[0]].astype(np.int64))
            for name in checkpoints
        }

    @classmethod
    def check_state(cls, state: Mapping[str, Tensor], architecture: Architecture, where: str) -> None:
        """Raise `StrataError` unless `state` has exactly the tensors of the architecture, all finite."""
        shapes = architecture.shapes()
        if wrong := sorted(set(shapes) ^ set(state)):
            raise StrataError(
                f"{where}: not the state of a CHGNet: {', '.join(wrong[:3])} missing or unexpected"
            )
        for name, shape in shapes.items():
            if tuple(state[name].shape) != shape:
                raise StrataError(
                    f"{where}: tensor {name} has shape {tuple(state[name].shape)}, expected {shape}"
                )
            if not torch.isfinite(state[name]).all():
                raise StrataError(
                    f"{where}: tensor {name} holds NaN or infinite numbers; the weights are damaged"
                )

    @classmethod
    def read_published(cls, path: Path, card: Any) -> tuple[dict[str, Tensor], Architecture]:
        """Read weights and architecture from the file that the package carries, running nothing of it.

        Raises `StrataError` for a file that holds more than tensors and plain data, a network of other
        equations, or sizes and cutoffs that are not the card's.
        """
        state, arguments = _read(path)
        for key, ours in _EQUATIONS.items():
            if (value := arguments.get(key, ours)) != ours:
                raise StrataError(
                    f"{path}: its {key} is {value!r}; only networks with {ours!r} are supported"
                )
        expected = card.graph.model_dump() | card.architecture.model_dump()
        expected |= {f"{kind}_fea_dim": expected["width"] for kind in ("atom", "bond", "angle")}
        for key, ours in expected.items():
            if (value := arguments.get(key, ours)) != ours:
                raise StrataError(f"{path}: its {key} is {value!r}, the card of {card.name} says {ours!r}")
        return state, card.architecture


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and arguments of chgnet's file; its optimizer and history are left out."""
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise StrataError(
            f"{path}: refused, it holds more than tensors and nothing of it was run ({reason})"
        ) from None
    except Exception as error:  # noqa: BLE001 - what reading damaged bytes raises is without limit
        raise StrataError(f"{path}: not a checkpoint that torch reads ({error})") from None
    try:
        state, arguments = dict(loaded["model"]["state_dict"]), dict(loaded["model"]["model_args"])
    except (KeyError, TypeError, ValueError):
        raise StrataError(f"{path}: no model with state_dict and model_args in it") from None
    return state, arguments
