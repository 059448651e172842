"""Which structures may go on to extraction (reliability table, rows 13 to 22)."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from core.composition import Composition
from core.lazy import need
from core.params import Ingest
from core.structure import InvalidStructure, Structure

MAX_NUMBER = 100  # the source models' table of atom features ends at fermium


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
        # Skewed or tiny: of the reduced cell few images can come that near.
        lattice, frac = _reduced(lattice, frac)
        own = float(np.linalg.norm(lattice, axis=1).min())
        if own < below:
            best, below = (own, 0, 0), own
    count = len(frac)
    if count < 2:
        return best
    images, origin = _with_images(frac - np.floor(frac), below / _heights(lattice))
    tree = cKDTree(images @ lattice)
    # An atom itself is found at most once: its own images are not nearer than `below`.
    distances, found = tree.query(tree.data[:count], k=2, distance_upper_bound=below)
    other = np.where(found[:, 0] == np.arange(count), 1, 0)[:, None]
    nearest = np.take_along_axis(distances, other, 1)[:, 0]
    first = int(nearest.argmin())
    if nearest[first] < below:
        second = int(origin[found[first, other[first, 0]]])
        best = float(nearest[first]), min(first, second), max(first, second)
    return best


def _with_images(
    frac: NDArray[np.float64], margin: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return points (m, 3), fractional, and the atom (m,) that each is an image of.

    The atoms themselves come first, then those images of them that lie within `margin` (3,) of the cell.
    """
    points, origin = frac, np.arange(len(frac))
    for axis, wide in enumerate(margin * (1 + 1e-9) + 1e-9):
        all_points, all_origins = [points], [origin]
        reach = int(np.ceil(wide))
        for shift in (*range(-reach, 0), *range(1, reach + 1)):
            place = points[:, axis] + shift
            near = (place >= -wide) & (place < 1 + wide)
            moved = points[near]
            moved[:, axis] += shift
            all_points.append(moved)
            all_origins.append(origin[near])
        points, origin = np.concatenate(all_points), np.concatenate(all_origins)
    return points, origin


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
