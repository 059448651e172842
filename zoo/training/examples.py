"""What is learned from, and the scale on which it is learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.errors import StrataError
from zoo.backbones.alignn.network import Alignn
from zoo.backbones.alignn.quotient import Quotient


@dataclass(frozen=True, eq=False, slots=True)
class Examples:
    """What is learned: n rows of p properties.

    `graphs` quotient graphs with their `costs`; `graph` (n,) which of them a row has; `values` (n, p) in the
    properties' units, NaN where there is none or none may be seen; `train` and `val` (n, p) say which values
    belong to which part.
    """

    names: Sequence[str]
    graphs: Sequence[Quotient]
    costs: np.ndarray
    graph: np.ndarray
    values: np.ndarray
    train: np.ndarray
    val: np.ndarray


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and standard deviation (p,) of the training part: what standardises, and gives units back."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, examples: Examples) -> "Scale":
        """Measure the training part.

        Raises `StrataError` for a property without training or validation values, or whose training values
        are all the same: there is nothing to learn (row 27 of the fault table).
        """
        values = np.where(examples.train, examples.values, np.nan)
        for k, name in enumerate(examples.names):
            if not examples.train[:, k].any() or not examples.val[:, k].any():
                raise StrataError(f"{name}: its training or validation part has no values")
            if np.nanmax(values[:, k]) == np.nanmin(values[:, k]):
                raise StrataError(
                    f"{name}: all {examples.train[:, k].sum()} training values are "
                    f"{np.nanmax(values[:, k]):g}; a constant cannot be learned from"
                )
        return cls(np.nanmean(values, axis=0), np.nanstd(values, axis=0))


def standardise(network: Alignn, scale: Scale) -> None:
    """Make the head of a network that predicts in units predict standardised values."""
    with torch.no_grad():
        deviation = torch.from_numpy(scale.deviation).float()
        network.fc.weight.div_(deviation[:, None])
        network.fc.bias.sub_(torch.from_numpy(scale.mean).float()).div_(deviation)


def to_units(state: Mapping[str, Tensor], scale: Scale) -> dict[str, Tensor]:
    """Fold the scale into the head, so that the network predicts in units."""
    mean, deviation = torch.from_numpy(scale.mean), torch.from_numpy(scale.deviation)
    weight, bias = state["fc.weight"].double(), state["fc.bias"].double()
    head = {"fc.weight": weight * deviation[:, None], "fc.bias": bias * deviation + mean}
    return {**state, **{name: tensor.float() for name, tensor in head.items()}}
