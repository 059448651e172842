"""What a step does to the weights: AdamW, lower rates in early layers, a moving average."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from core.params import Train
from zoo.backbones.alignn.network import Alignn

_BETA2 = 0.999
_LAYER = re.compile(r"(alignn|gcn)_layers\.(\d+)\.")


def adamw(network: Alignn, settings: Train, layer_decay: float = 1.0) -> torch.optim.AdamW:
    """AdamW over what learns; weights decay, biases and normalisations (one dimension) do not.

    layer_decay: the learning rate of a layer over that of the next one. The head has the whole rate, the last
    GCN layer `layer_decay` of it, the embeddings the lowest.
    """
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            share = layer_decay ** (_depth("fc", network) - _depth(name, network))
            groups.setdefault((share, parameter.ndim > 1), []).append(parameter)
    ordered = sorted(groups, key=lambda key: (-key[0], not key[1]))
    return torch.optim.AdamW(
        [
            {"params": groups[key], "share": key[0], "weight_decay": settings.weight_decay if key[1] else 0.0}
            for key in ordered
        ],
        lr=settings.learning_rate,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float, beta: float) -> None:
    """Set the learning rate of the head, and with it those of all layers, and the first moment's beta."""
    for group in optimizer.param_groups:
        group["lr"], group["betas"] = rate * group["share"], (beta, _BETA2)


def _depth(name: str, network: Alignn) -> int:
    """Return 0 for the embeddings, 1 to 8 for the layers, 9 for the head."""
    sizes = network.architecture
    if found := _LAYER.match(name):
        return 1 + int(found[2]) + (sizes.alignn_layers if found[1] == "gcn" else 0)
    return 1 + sizes.alignn_layers + sizes.gcn_layers if name.startswith("fc") else 0


class MovingAverage:
    """Exponential moving average of a network's state; its memory is short at first.

    After t steps an old state counts min(decay, (1 + t) / (10 + t)) of the new average, so that random
    initial weights are soon forgotten. decay 0: the state itself.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.kept: dict[str, Tensor] = {}  # nothing before the first step

    def restore(self, kept: Mapping[str, Tensor], network: Alignn) -> None:
        """Go on from what was saved."""
        # Into memory as torch aligns it: products of matrices that lie otherwise differ in the last bit.
        here: dict[str, Any] = network.state_dict()
        self.kept = {name: torch.empty_like(here[name]).copy_(tensor) for name, tensor in kept.items()}

    def update(self, network: Alignn, updates: int) -> None:
        """Take in the state after so many steps."""
        if not self.decay:
            return
        state = network.state_dict()
        if not self.kept:
            self.kept = {name: tensor.detach().clone() for name, tensor in state.items()}
            return
        new = 1 - min(self.decay, (1 + updates) / (10 + updates))
        for name, tensor in state.items():
            if tensor.is_floating_point():
                self.kept[name].lerp_(tensor, new)
            else:
                self.kept[name].copy_(tensor)

    def of(self, network: Alignn) -> dict[str, Tensor]:
        """Return the state that is scored and kept."""
        return self.kept or network.state_dict()
