"""Many quotient graphs as one set of tensors: what the network reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.backbones.alignn.quotient import Quotient
from zoo.backbones.base import by_cost

_COSINE_GRID = 1e6  # cosines equal to this many parts share one embedding; float32 holds little more


@dataclass(frozen=True, slots=True)
class Rows:
    """Edges of a graph, sorted by target: `src`, `dst` (r,) node rows, `start` (nodes,) first edge of a node.

    `weight` (r,) multiplicity of an edge in its target's sum, or None where all are 1.
    """

    src: Tensor
    dst: Tensor
    start: Tensor
    weight: Tensor | None


class Block(NamedTuple):
    """Nodes `first` to `last`, and their edges `begin` to `end`."""

    first: int
    last: int
    begin: int
    end: int


def blocks(rows: Rows, size: int) -> tuple[Block, ...]:
    """Cut edges into blocks of about `size`, at nodes, so that a node's edges lie in one; on a GPU into one.

    A block begins with the first node at or after each multiple of `size` edges.
    """
    nodes, count = len(rows.start), len(rows.src)
    if rows.src.device.type != "cpu" or count <= size:
        return (Block(0, nodes, 0, count),)
    found = torch.searchsorted(rows.start, torch.arange(0, count, size)).unique().tolist()
    firsts = [0, *(k for k in found if 0 < k < nodes)]
    begins = rows.start[firsts].tolist()
    ends = [*zip(firsts[1:], begins[1:], strict=True), (nodes, count)]
    return tuple(Block(a, c, b, d) for a, b, (c, d) in zip(firsts, begins, ends, strict=True))


@dataclass(frozen=True, slots=True)
class Pool:
    """Weighted mean over the rows of each structure.

    `start` (s,) first row of a structure; `weight` (r,) sums to 1 in each; `size` (r,) is what
    the weights are made of: how many rows of the uncompressed graph a row stands for.
    """

    start: Tensor
    weight: Tensor
    size: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Structures side by side: (a,) atom, (b,) bond and (z,) angle rows, each sorted by structure.

    `numbers` (a,) atomic numbers; `length` (b,) Å; `cosine` (c,) distinct cosines and `angle_cosine` (z,)
    which of them an angle has, since an angle's embedding depends on nothing else.
    """

    numbers: Tensor
    length: Tensor
    cosine: Tensor
    angle_cosine: Tensor
    bonds: Rows
    angles: Rows
    pools: dict[str, Pool]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device, from pinned memory where that is a GPU."""
        if device.type == "cpu":
            return self

        def move(tensor: Tensor) -> Tensor:
            return tensor.pin_memory().to(device, non_blocking=True)

        def rows(edges: Rows) -> Rows:
            weight = None if edges.weight is None else move(edges.weight)
            return Rows(move(edges.src), move(edges.dst), move(edges.start), weight)

        return Batch(
            move(self.numbers),
            move(self.length),
            move(self.cosine),
            move(self.angle_cosine),
            rows(self.bonds),
            rows(self.angles),
            {k: Pool(move(p.start), move(p.weight), move(p.size)) for k, p in self.pools.items()},
        )


def collate(quotients: Sequence[Quotient]) -> Batch:
    """Put quotient graphs side by side; row indices are shifted, nothing is padded."""
    atoms = np.array([len(q.numbers) for q in quotients])
    bonds = np.array([len(q.length) for q in quotients])
    angles = np.array([len(q.cosine) for q in quotients])
    first_atom, first_bond = _starts(atoms), _starts(bonds)

    def joined(field: str) -> np.ndarray:
        return np.concatenate([getattr(q, field) for q in quotients])

    cosine, angle_cosine = np.unique(np.rint(joined("cosine") * _COSINE_GRID), return_inverse=True)
    return Batch(
        numbers=_index(joined("numbers")),
        length=_real(joined("length")),
        cosine=_real(cosine / _COSINE_GRID),
        angle_cosine=_index(angle_cosine),
        bonds=_rows(
            joined("bond_src") + np.repeat(first_atom, bonds),
            joined("bond_dst") + np.repeat(first_atom, bonds),
            int(atoms.sum()),
            joined("bond_weight"),
        ),
        angles=_rows(
            joined("angle_src") + np.repeat(first_bond, angles),
            joined("angle_dst") + np.repeat(first_bond, angles),
            int(bonds.sum()),
            joined("angle_weight"),
        ),
        pools={
            kind: _pool(joined(f"{kind}_size"), count)
            for kind, count in (("atom", atoms), ("bond", bonds), ("angle", angles))
        },
    )


def by_angles(quotients: Sequence[Quotient], limit: int) -> Iterator[list[int]]:
    """Cut quotient graphs into batches of at most `limit` angles, small ones first (see `by_cost`)."""
    return by_cost([len(quotient.cosine) for quotient in quotients], limit)


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts) - counts


def _rows(src: np.ndarray, dst: np.ndarray, nodes: int, weight: np.ndarray) -> Rows:
    start = _starts(np.bincount(dst, minlength=nodes))
    trivial = bool((weight == 1).all())
    return Rows(_index(src), _index(dst), _index(start), None if trivial else _real(weight))


def _pool(size: np.ndarray, counts: np.ndarray) -> Pool:
    owner = np.repeat(np.arange(len(counts)), counts)
    total = np.bincount(owner, weights=size, minlength=len(counts))
    return Pool(_index(_starts(counts)), _real(size / total[owner]), _real(size))


def _index(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))


def _real(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
