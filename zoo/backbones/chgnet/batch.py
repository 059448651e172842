"""Many graphs as one set of tensors: what the network reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.backbones.chgnet.graph import CrystalGraph

_RUN = 32  # rows summed at a time: a float32 sum of thousands of rows, one by one, loses digits


@dataclass(frozen=True, slots=True)
class Pool:
    """The rows of each structure, side by side, and the runs in which they are summed.

    `run` (r,) first row of each run, `start` (s,) first run of each structure, `count` (s, 1) its rows.
    """

    run: Tensor
    start: Tensor
    count: Tensor

    def sums(self, values: Tensor) -> Tensor:
        """Sum each structure's rows, (rows, w) to (s, w); zeros where it has none."""
        for start in (self.run, self.start):
            order = torch.arange(len(values), device=values.device)
            values = F.embedding_bag(order, values, start, mode="sum")
        return values

    def mean(self, values: Tensor) -> Tensor:
        """Mean of each structure's rows, (rows, w) to (s, w); zeros where it has none."""
        return self.sums(values) / self.count.clamp(min=1)


class Batch(NamedTuple):
    """Structures side by side: (a,) atoms, (b,) bonds, short ones first, and (z,) angles.

    `element` (a,) atomic number minus 1; `length` (b,) Å, of which the first `short` form angles; `angle`
    (z,) radians, `other` (z,) its second bond. Lengths and angles are float64, for the waves made of them.
    `atom_rows` (2·2b, 3) and `angle_rows` (2·z, 3) say which rows of a table make a message (see `gates`),
    all cores before all gates. `incoming` (2b,) are the directed bonds sorted by their atom, `atom_start`
    (a,) the first of each atom; `bond_start` (short,) is the first angle of each bond.
    """

    element: Tensor
    length: Tensor
    short: int
    angle: Tensor
    other: Tensor
    atom_rows: Tensor
    incoming: Tensor
    atom_start: Tensor
    angle_rows: Tensor
    bond_start: Tensor
    atoms: Pool
    short_bonds: Pool
    long_bonds: Pool
    angles: Pool


def collate(graphs: Sequence[CrystalGraph], device: torch.device) -> Batch:
    """Put graphs side by side; row indices are shifted, nothing is padded."""
    atoms = np.array([len(g.numbers) for g in graphs])
    shorts = np.array([g.short for g in graphs])
    longs = np.array([len(g.length) for g in graphs]) - shorts
    angles = np.array([len(g.angle) for g in graphs])
    first_atom, first_bond = _starts(atoms), _starts(shorts)
    shift = np.concatenate([np.repeat(first_atom, shorts), np.repeat(first_atom, longs)])

    def bonds(field: str) -> np.ndarray:
        values = [getattr(g, field) for g in graphs]
        return np.concatenate(
            [v[:k] for v, k in zip(values, shorts, strict=True)]
            + [v[k:] for v, k in zip(values, shorts, strict=True)]
        )

    def joined(field: str, shift: np.ndarray | None = None) -> np.ndarray:
        values = np.concatenate([getattr(g, field) for g in graphs])
        return values if shift is None else values + np.repeat(shift, angles)

    def real(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float64)).to(device)

    def index(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(device)

    def pool(counts: np.ndarray) -> Pool:
        runs = -(-counts // _RUN)
        place = np.arange(runs.sum()) - np.repeat(_starts(runs), runs)
        return Pool(
            index(np.repeat(_starts(counts), runs) + place * _RUN),
            index(_starts(runs)),
            index(counts)[:, None],
        )

    n, b, short = int(atoms.sum()), int((shorts + longs).sum()), int(shorts.sum())
    one, two = bonds("first") + shift, bonds("second") + shift
    center, neighbour = np.concatenate([one, two]), np.concatenate([two, one])
    bond, other = joined("bond", first_bond), joined("other", first_bond)
    both = np.concatenate([np.arange(b), np.arange(b)])
    return Batch(
        element=index(joined("numbers").astype(np.int64) - 1),
        length=real(bonds("length")),
        short=short,
        angle=real(joined("angle")),
        other=index(other),
        atom_rows=index(_rows([(4, center, 0), (4, neighbour, 2), (2, both, 4 * n)])),
        incoming=index(np.argsort(center, kind="stable")),
        atom_start=index(_starts(np.bincount(center, minlength=n))),
        angle_rows=index(
            _rows([(2, joined("center", first_atom), 0), (4, bond, 2 * n), (4, other, 2 * n + 2)])
        ),
        bond_start=index(_starts(np.bincount(bond, minlength=short))),
        atoms=pool(atoms),
        short_bonds=pool(shorts),
        long_bonds=pool(longs),
        angles=pool(angles),
    )


def _rows(parts: Sequence[tuple[int, np.ndarray, int]]) -> np.ndarray:
    """Table rows of cores, then of gates; a part (stride, row, base) has its gate right after its core."""
    core = np.stack([stride * row + base for stride, row, base in parts], axis=1)
    return np.concatenate([core, core + 1])


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts) - counts
