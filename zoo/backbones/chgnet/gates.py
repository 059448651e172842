"""Gated perceptrons on rows: silu(norm(core)) · sigmoid(norm(gate)), both halves side by side.

The first layer is linear in the parts of a message: two atoms and a bond, or an atom, two bonds and an angle.
It is therefore applied to every atom and bond once, which makes a table, and a message is a sum of its rows.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_HALVES = ("mlp_core", "mlp_gate")


class Gated(NamedTuple):
    """Weights of one gated perceptron of width w; wherever two halves lie side by side, the core is first.

    `atoms` (w, 4w or 2w) and `bonds` (w, 2w or 4w) make the table, `bias` (2w or 4w,) goes with the atoms;
    `own` (2, w, w), of the rows that messages have for themselves, and `second` (2, w, w) with `second_bias`
    (2, 1, w), where there are any; `norms` scale and shift of each half.
    """

    atoms: Tensor
    bonds: Tensor
    bias: Tensor
    own: Tensor | None
    second: Tensor | None
    second_bias: Tensor | None
    norms: tuple[tuple[Tensor, Tensor], ...]

    def table(self, atoms: Tensor, bonds: Tensor) -> Tensor:
        """Return the rows that messages add up, (·, w): those of atoms, then those of bonds (see `Batch`)."""
        of_atoms, of_bonds = self.atoms.shape[1] * len(atoms), self.bonds.shape[1] * len(bonds)
        table = atoms.new_empty(of_atoms + of_bonds)
        torch.addmm(self.bias, atoms, self.atoms, out=table[:of_atoms].view(len(atoms), self.atoms.shape[1]))
        torch.mm(bonds, self.bonds, out=table[of_atoms:].view(len(bonds), self.bonds.shape[1]))
        return table.view(-1, atoms.shape[1])

    def messages(self, table: Tensor, rows: Tensor, own: Tensor | None = None) -> Tensor:
        """Return m messages (m, w): `rows` (2m, ·): what cores, then gates, add up; `own` (m, w) is added."""
        hidden = F.embedding_bag(rows, table, mode="sum").view(2, len(rows) // 2, table.shape[1])
        if own is not None and self.own is not None:
            hidden.baddbmm_(own.expand(2, -1, -1), self.own)
        if self.second is not None and self.second_bias is not None:
            hidden = torch.baddbmm(self.second_bias, F.silu(hidden, inplace=True), self.second)
        core, gate = (
            F.layer_norm(half, half.shape[1:], *norm) for half, norm in zip(hidden, self.norms, strict=True)
        )
        return F.silu(core, inplace=True).mul_(gate.sigmoid_())


def of_atoms(state: Mapping[str, Tensor], prefix: str) -> Gated:
    """Read the perceptron of an atom's convolution; its message is (atom, bond, neighbour)."""
    first, bias = _layer(state, prefix, 0)
    atom, bond, neighbour = first.chunk(3, dim=1)
    second, second_bias = _layer(state, prefix, 3)
    return Gated(
        atoms=torch.cat([*atom, *neighbour], dim=1),
        bonds=torch.cat([*bond], dim=1),
        bias=torch.cat([bias.flatten(), torch.zeros_like(bias.flatten())]),
        own=None,
        second=second,
        second_bias=second_bias[:, None],
        norms=_norms(state, prefix),
    )


def of_angles(state: Mapping[str, Tensor], prefix: str, layers: int) -> Gated:
    """Read the perceptron of a bond's or an angle's update; a message is (bond, other bond, angle, atom)."""
    first, bias = _layer(state, prefix, 0 if layers == 2 else 1)
    bond, other, angle, atom = first.chunk(4, dim=1)
    second, second_bias = _layer(state, prefix, 3) if layers == 2 else (None, None)
    return Gated(
        atoms=torch.cat([*atom], dim=1),
        bonds=torch.cat([*bond, *other], dim=1),
        bias=bias.flatten(),
        own=angle.contiguous(),
        second=second,
        second_bias=None if second_bias is None else second_bias[:, None],
        norms=_norms(state, prefix),
    )


def _layer(state: Mapping[str, Tensor], prefix: str, place: int) -> tuple[Tensor, Tensor]:
    """Weights (2, in, w), transposed for the product, and biases (2, w) of both halves."""
    names = [f"{prefix}.{half}.layers.{place}" for half in _HALVES]
    weights = torch.stack([state[f"{name}.weight"].t() for name in names]).contiguous()
    return weights, torch.stack([state[f"{name}.bias"] for name in names])


def _norms(state: Mapping[str, Tensor], prefix: str) -> tuple[tuple[Tensor, Tensor], ...]:
    return tuple(
        (state[f"{prefix}.{norm}.weight"], state[f"{prefix}.{norm}.bias"]) for norm in ("bn1", "bn2")
    )
