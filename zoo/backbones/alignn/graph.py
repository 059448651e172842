"""The crystal graph and its line graph, as sorted arrays.

A graph has a node an atom and a directed edge a bond and direction; its line graph has a node a bond and
an edge an angle (Choudhary & DeCost 2021, ALIGNN). Bonds join each atom to its k nearest neighbours, the
whole shell of the k-th kept, and every bond is stored in both directions.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from core.lazy import need
from core.params import Section
from core.structure import InvalidStructure, Structure

_PUBLISHED_DECIMALS = (
    5  # jarvis-tools rounds the lattice to this many before it makes Cartesian vectors of it
)
_MARGIN = 1e-3  # Å; candidates this far beyond the k-th cover what that rounding can move
_NEIGHBOURS_GUESSED = 3.0  # first search radius: a sphere that would hold this many times k atoms
_FARTHEST = 1000.0  # Å


class GraphSettings(Section):
    """How bonds are chosen; on the model card: a network knows only graphs like those it learned from."""

    cutoff: float = Field(8.0, gt=0, description="Å, recorded; the k nearest are found wherever they are")
    max_neighbours: int = Field(12, ge=1, description="k of the k nearest neighbours")
    shell_tolerance: float = Field(
        1e-4, ge=0, description="Å kept beyond the k-th; 0: alignn's exact comparison"
    )
    self_image: Literal["alignn", "once"] = Field(
        "once", description="a bond to an atom's own image is stored twice, as alignn does, or once"
    )
    max_bond: float | None = Field(None, gt=0, description="Å; longer bonds are dropped; none keeps all")
    chosen_twice: Literal["once", "twice"] = Field(
        "once", description="a bond that both of its atoms chose counts once, or twice (use_canonize: false)"
    )

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `chosen_twice` where it is the default: keys made before it was there stay."""
        found: dict[str, Any] = handler(self)
        return {name: value for name, value in found.items() if (name, value) != ("chosen_twice", "once")}


PUBLISHED = GraphSettings(shell_tolerance=0.0, self_image="alignn", max_bond=None)
INVARIANT = GraphSettings(shell_tolerance=1e-4, self_image="once", max_bond=8.0)


@dataclass(frozen=True, slots=True)
class Graph:
    """One structure as a graph; bonds are sorted by `dst`, so that a segment sum needs no scatter.

    `numbers` (n,) atomic numbers; `src`, `dst` (b,) atom indices; `vector` (b, 3) float64 Å from `src` to
    `dst`; `length` (b,) its norm.
    """

    numbers: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    vector: np.ndarray
    length: np.ndarray

    @property
    def most_angles(self) -> int:
        """Pairs of bonds that meet, before the line graph is built: all of its rows, or a few more."""
        degree = np.bincount(self.dst, minlength=len(self.numbers))
        return int(degree[self.src].sum())


class LineGraph(NamedTuple):
    """Angles between the bonds `src` (a→b) and `dst` (b→c), sorted by `dst`; `cosine` at the shared atom."""

    src: np.ndarray
    dst: np.ndarray
    cosine: np.ndarray


def build(structure: Structure, settings: GraphSettings = INVARIANT) -> Graph:
    """Build the k-nearest-neighbour graph of a validated structure.

    With `shell_tolerance` 0 the edges are alignn's own, bit for bit: the same (src, dst, vector) as
    `Graph.atom_dgl_multigraph(cutoff=8, max_neighbors=12, use_canonize=True)` of alignn 2026.8.11, or, with
    `chosen_twice` "twice", those of `use_canonize=False`. The k nearest do not depend on the cutoff of the
    search, which is therefore chosen for speed.

    Raises `InvalidStructure` (`volume_per_atom`) if an atom has fewer than k neighbours within 1,000 Å.
    """
    n, k = len(structure.numbers), settings.max_neighbours
    published = settings.shell_tolerance == 0
    i, j, image, distance = _candidates(structure, k, settings.shell_tolerance + _MARGIN)
    if published:
        distance = _published_distance(structure, i, j, image)
    keep = distance <= (_kth(i, distance, n, k) + settings.shell_tolerance)[i]
    if settings.max_bond is not None:
        keep &= distance <= settings.max_bond + settings.shell_tolerance  # one of just that length is kept
    i, j, image = i[keep], j[keep], image[keep]
    if settings.chosen_twice == "once":
        i, j, image = _undirected(i, j, image, n, once=settings.self_image == "once")
    frac = structure.frac_coords
    lattice = np.around(structure.lattice, _PUBLISHED_DECIMALS) if published else structure.lattice
    vector = _row_times_matrix((frac[j] + image) - frac[i], lattice)
    src, dst, vector = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([vector, -vector])
    order = np.argsort(dst * n + src, kind="stable")
    vector = vector[order]
    return Graph(structure.numbers, src[order], dst[order], vector, np.sqrt((vector * vector).sum(axis=1)))


def line_graph(graph: Graph, settings: GraphSettings = INVARIANT) -> LineGraph:
    """Pair each bond with every bond that ends where it starts, its own reverse included.

    Bonds are sorted by `dst`, so the partners of a bond are one contiguous run: no search, no loop. A bond to
    an own image follows itself in a straight line; DGL leaves that pair out; so does "alignn".
    """
    n = len(graph.numbers)
    degree = np.bincount(graph.dst, minlength=n)
    start = np.cumsum(degree) - degree
    count = degree[graph.src]
    dst = np.repeat(np.arange(len(graph.src)), count)
    offset = start[graph.src] - (np.cumsum(count) - count)
    src = np.arange(len(dst)) + offset[dst]
    if settings.self_image == "alignn":
        other = src != dst
        src, dst = src[other], dst[other]
    unit = graph.vector / graph.length[:, None]
    cosine = -(unit[src] * unit[dst]).sum(axis=1)
    return LineGraph(src, dst, np.clip(cosine, -1.0, 1.0, out=cosine))


def _candidates(structure: Structure, k: int, margin: float) -> tuple[np.ndarray, ...]:
    """Pairs (i, j, image, distance) that hold each atom's k nearest and all that lie `margin` beyond them."""
    vesin = need("vesin", "extract")
    n = len(structure.numbers)
    positions = structure.frac_coords @ structure.lattice
    radius = (3 / (4 * np.pi) * _NEIGHBOURS_GUESSED * k * structure.volume / n) ** (1 / 3)
    while radius < _FARTHEST:
        search = vesin.NeighborList(cutoff=radius, full_list=True)
        i, j, image, distance = search.compute(
            points=positions, box=structure.lattice, periodic=True, quantities="ijSd"
        )
        i, j = i.astype(np.int64), j.astype(np.int64)
        if np.bincount(i, minlength=n).min() >= k and _kth(i, distance, n, k).max() + margin <= radius:
            return i, j, image.astype(np.float64), distance
        radius *= 1.4
    raise InvalidStructure(
        "volume_per_atom",
        f"an atom has fewer than {k} neighbours within {_FARTHEST:.0f} Å; is the cell right?",
    )


def _kth(i: np.ndarray, distance: np.ndarray, n: int, k: int) -> np.ndarray:
    """Distance (n,) of each atom's k-th nearest neighbour."""
    order = np.lexsort((distance, i))
    start = np.searchsorted(i[order], np.arange(n))
    return distance[order[start + k - 1]]


def _row_times_matrix(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(m, 3) times (3, 3) row by row: the BLAS call, hence the rounding, of a single row's product."""
    return np.matmul(rows[:, None, :], matrix)[:, 0]


def _published_distance(structure: Structure, i: np.ndarray, j: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Distances in the float arithmetic of the published neighbour search.

    jarvis-tools takes cell translations from the lattice as given, but Cartesian coordinates from the lattice
    rounded to five decimals; ties in the k-th shell are decided by what is left after both.
    """
    site = np.dot(structure.frac_coords, np.around(structure.lattice, _PUBLISHED_DECIMALS))
    step = (_row_times_matrix(image, structure.lattice) + site[j]) - site[i]
    return (step**2).sum(axis=-1) ** 0.5


def _undirected(
    i: np.ndarray, j: np.ndarray, image: np.ndarray, n: int, once: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row (i ≤ j, image of j) a bond, whichever of its two ends chose it.

    A bond to an own image is seen as +image and as -image; `once` makes the two one.
    """
    flip = j < i
    if once:
        x, y, z = image.T
        flip |= (i == j) & ((x < 0) | ((x == 0) & ((y < 0) | ((y == 0) & (z < 0)))))
    i, j = np.where(flip, j, i), np.where(flip, i, j)
    image = np.where(flip[:, None], -image, image)
    span = int(np.abs(image).max(initial=0)) + 1
    cell = image.astype(np.int64) + span
    width = 2 * span + 1
    key = (((i * n + j) * width + cell[:, 0]) * width + cell[:, 1]) * width + cell[:, 2]
    first = np.unique(key, return_index=True)[1]
    return i[first], j[first], image[first]
