"""The graph that CHGNet reads: bonds up to 6 Å, and angles between bonds up to 3 Å, as sorted arrays.

Bonds are undirected rows, as in the package: both directions of a bond share its features. An angle is an
ordered pair of directed bonds that leave one atom (Deng et al. 2023, Nature Machine Intelligence 5, 1031).
"""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from core.lazy import need
from core.params import Section
from core.structure import SYMBOLS, InvalidStructure, Structure
from zoo.backbones.chgnet.architecture import ELEMENTS

_TOLERANCE = 1e-6  # Å beyond a cutoff; rounding must not decide on a bond of just that length
_ARCCOS_SAFE = 1 - 1e-6  # the package's factor on a cosine; the network learned with it


class GraphSettings(Section):
    """How far bonds reach; on the model card: a network knows only graphs like those it learned from."""

    atom_graph_cutoff: float = Field(6.0, gt=0, description="Å, of bonds")
    bond_graph_cutoff: float = Field(3.0, gt=0, description="Å, of bonds that form angles")


@dataclass(frozen=True, slots=True)
class CrystalGraph:
    """One structure as a graph; the `short` bonds, which form angles, come first.

    `numbers` (n,) atomic numbers; `first`, `second` (b,) the atoms of a bond, and `length` (b,) Å. Angles are
    sorted by `bond`: `center` (z,) is the atom at the corner, `bond` and `other` (z,) are the two bonds, and
    `angle` (z,) is in radians.
    """

    numbers: np.ndarray
    first: np.ndarray
    second: np.ndarray
    length: np.ndarray
    short: int
    center: np.ndarray
    bond: np.ndarray
    other: np.ndarray
    angle: np.ndarray

    @property
    def rows(self) -> int:
        """Rows that the network works on: bonds in both directions, and angles."""
        return 2 * len(self.length) + len(self.angle)


def build(structure: Structure, settings: GraphSettings, max_rows: int) -> CrystalGraph:
    """Build the graph of a validated structure.

    Raises `InvalidStructure`: `no_features` for an element that the network does not know, `volume_per_atom`
    for an atom without a bond, `too_large` for more than `max_rows` rows, before the angles are made.
    """
    strange = np.flatnonzero((structure.numbers < 1) | (structure.numbers > ELEMENTS))
    if strange.size:
        number = int(structure.numbers[strange[0]])
        raise InvalidStructure(
            "no_features",
            f"atom {strange[0]} has atomic number {number}; CHGNet knows the elements up to {ELEMENTS}, "
            f"{SYMBOLS[ELEMENTS]}",
        )
    n = structure.n_atoms
    search = need("vesin", "extract").NeighborList(
        cutoff=settings.atom_graph_cutoff + _TOLERANCE, full_list=False
    )
    first, second, vector, length = search.compute(
        points=structure.positions, box=structure.lattice, periodic=True, quantities="ijDd"
    )
    bonds = np.bincount(first, minlength=n) + np.bincount(second, minlength=n)
    if not bonds.all():
        raise InvalidStructure(
            "volume_per_atom",
            f"atom {int(np.argmin(bonds))} has no neighbour within {settings.atom_graph_cutoff:g} Å; "
            "CHGNet has no bond for an isolated atom. Is the cell right?",
        )
    long = length > settings.bond_graph_cutoff + _TOLERANCE
    order = np.argsort(long, kind="stable")
    first, second = first[order].astype(np.int64), second[order].astype(np.int64)
    short = len(order) - int(long.sum())
    ends = np.stack([first[:short], second[:short]], axis=1).reshape(-1)
    unit = vector[order[:short]] / length[order[:short], None]
    units = np.stack([unit, -unit], axis=1).reshape(-1, 3)
    degree = np.bincount(ends, minlength=n)
    rows = 2 * len(order) + int((degree * (degree - 1)).sum())
    if rows > max_rows:
        raise InvalidStructure(
            "too_large",
            f"{n} atoms make {len(order):,} bonds and {rows - 2 * len(order):,} angles, with bonds in both "
            f"directions {rows:,} rows; allowed are {max_rows:,} (extract.backbones.chgnet.max_rows)",
        )
    one, two = _pairs(ends, degree)
    cosine = np.einsum("ij,ij->i", units[one], units[two])
    return CrystalGraph(
        numbers=structure.numbers,
        first=first,
        second=second,
        length=length[order],
        short=short,
        center=ends[one],
        bond=one // 2,
        other=two // 2,
        angle=np.arccos(np.clip(cosine, -1.0, 1.0) * _ARCCOS_SAFE),
    )


def _pairs(ends: np.ndarray, degree: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair each directed bond with every other that leaves the same atom; `ends` (d,) says which that is.

    Bonds sorted by their atom make the partners of a bond one contiguous run: no search, no loop.
    """
    by_atom = np.argsort(ends, kind="stable")
    start = np.cumsum(degree) - degree
    count = degree[ends]
    one = np.repeat(np.arange(len(ends)), count)
    run = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
    two = by_atom[start[ends][one] + run]
    apart = one != two
    return one[apart], two[apart]
