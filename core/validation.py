"""Which structures may go on to extraction (reliability table, rows 13 to 22)."""

import numpy as np
from numpy.typing import NDArray

from core.composition import Composition
from core.lazy import need
from core.params import Ingest
from core.structure import InvalidStructure, Structure

MAX_NUMBER = 100  # the source models' table of atom features ends at fermium
_PAIRS_AT_ONCE = 1_000_000


def validate(structure: Structure | Composition, limits: Ingest) -> None:
    """Raise `InvalidStructure` with a code and a reason unless the structure can be used.

    In this order: `empty`, `not_finite`, `zero_volume`, `volume_per_atom`, `min_dist`, `no_features`.
    Nothing here divides by the volume before it is known to be positive. Of a composition the first and the
    last are asked.
    """
    if structure.n_atoms == 0:
        raise InvalidStructure("empty", "the structure has 0 atoms")
    if isinstance(structure, Structure):
        _validate_cell(structure, limits)
    strange = np.flatnonzero((structure.numbers < 1) | (structure.numbers > MAX_NUMBER))
    if strange.size:
        raise InvalidStructure(
            "no_features",
            f"atom {strange[0]} has atomic number {structure.numbers[strange[0]]}; "
            f"atom features exist for 1 to {MAX_NUMBER}",
        )


def _validate_cell(structure: Structure, limits: Ingest) -> None:
    count = structure.n_atoms
    if not (np.isfinite(structure.lattice).all() and np.isfinite(structure.frac_coords).all()):
        raise InvalidStructure("not_finite", "the lattice or a coordinate is NaN or infinite")
    volume = structure.volume
    if volume == 0.0:
        raise InvalidStructure("zero_volume", "the lattice vectors lie in one plane")
    low, high = limits.volume_per_atom
    if not low <= volume / count <= high:
        raise InvalidStructure(
            "volume_per_atom", f"{volume / count:.4g} Å³ an atom, allowed is {low:g} to {high:g}"
        )
    close = closest_pair(structure, limits.min_distance)
    if close is not None:
        distance, first, second = close
        raise InvalidStructure(
            "min_dist",
            f"atoms {first} and {second} are {distance:.4g} Å apart, allowed is {limits.min_distance:g}",
        )


def closest_pair(structure: Structure, below: float) -> tuple[float, int, int] | None:
    """Find the closest pair of atoms, periodic images included, if nearer than `below` Å.

    Returns (distance in Å, index, index), the same index twice for an atom and its own image; None where
    no pair is that near. Exact for every cell of non-zero volume.

    >>> chain = Structure(np.diag([0.2, 9.0, 9.0]), [1], [[0, 0, 0]])
    >>> closest_pair(chain, below=0.3)
    (0.2, 0, 0)
    """
    lattice, frac = structure.lattice, structure.frac_coords
    best: tuple[float, int, int] | None = None
    if _heights(lattice).min() <= 2 * below:
        # Skewed or tiny: in the reduced cell few images can come that near, and they are tried one by one.
        lattice, frac = _reduced(lattice, frac)
        own = float(np.linalg.norm(lattice, axis=1).min())
        if own < below:
            best = own, 0, 0
        reach = np.ceil(min(own, below) / _heights(lattice) + 0.5).astype(int)
        shifts = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach)), axis=-1).reshape(-1, 3)
    else:
        # An image nearer than `below` differs by less than half a cell along each vector: the wrapped one.
        shifts = np.zeros((1, 3))
    count = len(frac)
    block = max(1, _PAIRS_AT_ONCE // count)
    for start in range(0, count - 1, block):
        rows = frac[start : start + block]
        delta = rows[:, None, :] - frac[None, start:, :]
        delta -= np.rint(delta)
        counted = np.tril_indices(len(rows), 0, delta.shape[1])  # each pair once, and no atom with itself
        for shift in shifts:
            vectors = (delta + shift) @ lattice
            squares = np.einsum("ijk,ijk->ij", vectors, vectors)
            squares[counted] = np.inf
            flat = int(squares.argmin())
            distance = float(np.sqrt(squares.flat[flat]))
            if distance < (below if best is None else best[0]):
                i, j = divmod(flat, squares.shape[1])
                best = distance, start + i, start + j
    return best


def _heights(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances between opposite faces of the cell, (3,), Å."""
    a, b, c = lattice
    normals = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
    heights: NDArray[np.float64] = abs(float(a @ normals[0])) / np.linalg.norm(normals, axis=1)
    return heights


def _reduced(
    lattice: NDArray[np.float64], frac: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    try:
        cell, operation = need("ase.geometry", "data").minkowski_reduce(lattice)
    except RuntimeError as error:
        raise InvalidStructure("zero_volume", f"the lattice cannot be reduced: {error}") from None
    return np.asarray(cell), frac @ np.linalg.inv(operation)
