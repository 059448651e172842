"""Exact symmetry compression: the network runs once a class of rows that it cannot tell apart.

Colour refinement (1-WL) on the graph and its line graph finds the classes: rows of one class have the same
vector in every layer of a message-passing network (Bollen et al. 2023, exact compression of MPNNs). The
quotient graph has one row per class; sums over neighbours are weighted by multiplicity, means by class size.
docs/compression.md carries the argument.
"""

from typing import NamedTuple

import numpy as np

from core.errors import StrataError
from zoo.backbones.alignn.graph import Graph, LineGraph

LENGTH_TOLERANCE = 1e-4  # Å; lengths closer than this may share a class
COSINE_TOLERANCE = 1e-4
_MAX_ROUNDS = 64

_U = np.uint64
_ODD = _U(0x9E3779B97F4A7C15)
_ODDER = _U(0xFF51AFD7ED558CCD)
_SHIFT = _U(32)


class Quotient(NamedTuple):
    """A structure's graph and line graph with one row per class; the uncompressed graph is its own quotient.

    Bonds are sorted by `bond_dst`, angles by `angle_dst`. `*_size` rows of the class in the structure;
    `bond_weight` bonds of the class that end at one atom of `bond_dst`; `angle_weight` angles of the class
    that end at one bond of `angle_dst`.
    """

    numbers: np.ndarray
    atom_size: np.ndarray
    bond_src: np.ndarray
    bond_dst: np.ndarray
    length: np.ndarray
    bond_size: np.ndarray
    bond_weight: np.ndarray
    angle_src: np.ndarray
    angle_dst: np.ndarray
    cosine: np.ndarray
    angle_size: np.ndarray
    angle_weight: np.ndarray


def uncompressed(graph: Graph, line: LineGraph) -> Quotient:
    """The trivial quotient: every atom, bond and angle a class of its own."""
    atoms, bonds, angles = (np.ones(len(rows)) for rows in (graph.numbers, graph.src, line.src))
    return Quotient(
        graph.numbers, atoms, graph.src, graph.dst, graph.length, bonds, bonds,
        line.src, line.dst, line.cosine, angles, angles,
    )  # fmt: skip


def compress(graph: Graph, line: LineGraph) -> Quotient:
    """The quotient of a graph by the coarsest equitable partition of its atoms and bonds.

    Raises `StrataError` if the partition is not stable after 64 rounds (it needs 2 to 6).
    """
    atom, bond, angle = _refine(graph, line)
    _, atom_first, atom_class, atom_size = _unique(atom)
    _, bond_first, bond_class, bond_size = _unique(bond)
    target = atom_class[graph.dst[bond_first]]
    order = np.argsort(target, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    bond_first, bond_size, target = bond_first[order], bond_size[order], target[order]
    bond_class = rank[bond_class]

    # All bonds of a class have the same angles, so those of its first bond stand for the class.
    count = np.bincount(line.dst, minlength=len(graph.src))
    start = np.cumsum(count) - count
    of_first = count[bond_first]
    angle_dst = np.repeat(np.arange(len(bond_first)), of_first)
    rows = np.arange(len(angle_dst)) + (start[bond_first] - (np.cumsum(of_first) - of_first))[angle_dst]
    pair = angle_dst * len(bond_first) + bond_class[line.src[rows]]
    key = pair * (angle.max(initial=0) + 1) + angle[rows]
    _, first, _, weight = _unique(key)
    rows, angle_dst = rows[first], angle_dst[first]
    return Quotient(
        numbers=graph.numbers[atom_first],
        atom_size=atom_size,
        bond_src=atom_class[graph.src[bond_first]],
        bond_dst=target,
        length=graph.length[bond_first],
        bond_size=bond_size,
        bond_weight=bond_size / atom_size[target],
        angle_src=bond_class[line.src[rows]],
        angle_dst=angle_dst,
        cosine=line.cosine[rows],
        angle_size=weight * bond_size[angle_dst],
        angle_weight=weight,
    )


def _refine(graph: Graph, line: LineGraph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours of atoms and bonds that no further round would split, and labels of the angles.

    An angle's colour follows from its cosine and its two bonds, so it is not carried along.
    """
    atom = _hash(graph.numbers.astype(_U))
    bond = _hash(_gap_labels(graph.length, LENGTH_TOLERANCE).astype(_U))
    angle = _gap_labels(line.cosine, COSINE_TOLERANCE)
    label = _hash(angle.astype(_U) + _ODD)
    atom_ends = np.cumsum(np.bincount(graph.dst, minlength=len(graph.numbers)))
    bond_ends = np.cumsum(np.bincount(line.dst, minlength=len(graph.src)))
    seen, with_angles = (0, 0), False
    for _ in range(_MAX_ROUNDS):
        bond = _hash(bond + _hash(atom[graph.src] + _hash(atom)[graph.dst]))
        if with_angles:
            bond = _hash(bond + _hash(_segment_sum(_hash(bond[line.src] + label), bond_ends)))
        atom = _hash(atom + _hash(_segment_sum(_hash(bond), atom_ends)))
        now = _count(atom), _count(bond)
        if now == seen and with_angles:
            return atom, bond, angle
        with_angles |= now == seen  # rounds without angles are cheap and do most of the splitting
        seen = now
    raise StrataError(f"symmetry classes not stable after {_MAX_ROUNDS} rounds; run with compression off")


def _hash(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit words (a multiply-shift round on either half); equal in, equal out."""
    h = values * _ODDER
    h ^= h >> _SHIFT
    h *= _ODD
    h ^= h >> _SHIFT
    return h


def _segment_sum(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sum, modulo 2^64, of each contiguous segment; whatever its order, the same."""
    total = np.zeros(len(values) + 1, _U)
    np.cumsum(values, out=total[1:])
    at_ends = total[ends]
    at_ends[1:] -= at_ends[:-1].copy()
    return at_ends


def _count(colours: np.ndarray) -> int:
    ordered = np.sort(colours)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + 1


def _unique(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`np.unique` with first index, inverse and counts."""
    return np.unique(values, return_index=True, return_inverse=True, return_counts=True)


def _gap_labels(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Label floats so that neighbours in sorted order share a label if they are closer than `tolerance`.

    There are no bin edges to fall across. A chain of close values that grows wider than the tolerance is
    split again at ever smaller gaps: a finer partition is never wrong, only less compressed.
    """
    if len(values) == 0:
        return np.zeros(0, np.int64)
    order = np.argsort(values)
    ordered = values[order]
    gap = np.diff(ordered)
    new = gap > tolerance
    step = tolerance
    while True:
        first = np.concatenate([[0], np.flatnonzero(new) + 1])
        last = np.concatenate([first[1:], [len(values)]]) - 1
        wide = ordered[last] - ordered[first] > tolerance
        if not wide.any():
            break
        step /= 4
        new |= np.repeat(wide, last - first + 1)[1:] & (gap > step)
    labels = np.empty(len(values), np.int64)
    labels[order] = np.concatenate([[0], np.cumsum(new)])
    return labels
