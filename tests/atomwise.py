"""The layer-norm network with random weights, so that its tests need no wheel, and the real one."""

import functools
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from zoo.backbones.alignn.architecture import Architecture
from zoo.hub import SourceModel, load_card, load_source

ATOMWISE = Architecture(name="alignn_atomwise")


@functools.cache
def random_state(seed: int = 0) -> Mapping[str, Tensor]:
    """Weights of the size that training gives them; centers of the radial functions as alignn has them."""
    draw = torch.Generator().manual_seed(seed)
    state = {
        "edge_embedding.0.centers": torch.linspace(0, 8, 80),
        "angle_embedding.0.centers": torch.linspace(-1, 1, 40),
    }
    for name, shape in ATOMWISE.shapes().items():
        if name not in state:
            values = torch.randn(shape, generator=draw)
            is_norm_weight = len(shape) == 1 and name.endswith("weight")
            state[name] = 1 + 0.2 * values if is_norm_weight else values / shape[-1] ** 0.5
    return state


def atomwise_source(which: str) -> SourceModel:
    """The card of `alignn_ff` with `random` weights, or with the `real` ones; skips where they are not."""
    card = load_card("alignn_ff")
    if which == "random":
        return SourceModel(card, random_state())
    if not card.is_here:
        pytest.skip("the weights of alignn_ff are not on this machine: strata zoo fetch alignn_ff")
    return load_source("alignn_ff")
