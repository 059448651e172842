"""Ordered alloy cells with energies by ASE's EMT potential: a dataset that is made where it is needed.

Every cell of a prototype is brought to nearly zero pressure by its volume, then strained and its atoms
slightly displaced by a generator seeded with the entry's id. Values are those of the cell as it then
stands.
"""

import itertools
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.lazy import need
from core.params import Ingest
from core.structure import NUMBERS, Structure
from etl.cards import DatasetCard
from etl.providers import Record

ELEMENTS = ("Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt")
SEED = 20240215
EV_PER_A3_IN_GPA = 160.21766208

_STRAIN = 0.012  # standard deviation of each component of the strain
_VOLUME = 0.06  # largest relative change of volume besides, either way
_DISPLACEMENT = 0.04  # Å, standard deviation of each component
_DIGITS = 6  # written digits: what the arithmetic of one machine or another does lies below them
_STEP = 0.01  # relative step of volume in the second derivative

Rows = Sequence[Sequence[float]]

_FCC = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
_BCC = [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]
_SIMPLE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
_TETRAGONAL: Rows = [[1, 0, 0], [0, 1, 0], [0, 0, math.sqrt(2)]]  # fcc seen along half a diagonal
_ROOT3, _IDEAL = math.sqrt(3), math.sqrt(8 / 3)


@dataclass(frozen=True, slots=True)
class Prototype:
    """A structure type: cell (scaled to volume later), species of each site, fractional coordinates."""

    name: str
    cell: Rows
    species: str
    sites: Rows
    variants: int
    looseness: float = 1.0  # first guess: volume an atom over that of the fcc elements

    @property
    def assignments(self) -> Iterator[tuple[str, ...]]:
        """The choices of elements for A, or for A and B; both orders where A and B differ in number."""
        kinds = len(set(self.species))
        alike = self.species.count("A") * kinds == len(self.species)
        return (itertools.combinations if alike else itertools.permutations)(ELEMENTS, kinds)


_QUARTERS = [[x, x, x] for x in (0, 0.25, 0.5, 0.75)]
_HEXAGONAL: Rows = [[1, 0, 0], [-0.5, _ROOT3 / 2, 0], [0, 0, _IDEAL]]
PROTOTYPES = (
    Prototype("fcc", _FCC, "A", [[0, 0, 0]], 3),
    Prototype("bcc", _BCC, "A", [[0, 0, 0]], 3),
    Prototype("sc", _SIMPLE, "A", [[0, 0, 0]], 3, 1.15),
    Prototype("hcp", _HEXAGONAL, "AA", [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], 3),
    Prototype("B1", _FCC, "AB", [[0, 0, 0], [0.5, 0.5, 0.5]], 1, 1.15),
    Prototype("B2", _SIMPLE, "AB", [[0, 0, 0], [0.5, 0.5, 0.5]], 2),
    Prototype("B3", _FCC, "AB", [[0, 0, 0], [0.25, 0.25, 0.25]], 1, 1.5),
    Prototype("B32", _FCC, "AABB", _QUARTERS, 2),
    Prototype("L10", _TETRAGONAL, "AB", [[0, 0, 0], [0.5, 0.5, 0.5]], 2),
    Prototype("L11", [[0.5, 0.5, 1], [0.5, 1, 0.5], [1, 0.5, 0.5]], "AB", [[0, 0, 0], [0.5, 0.5, 0.5]], 2),
    Prototype(
        "C11b",
        [[-0.5, 0.5, 1.5], [0.5, -0.5, 1.5], [0.5, 0.5, -1.5]],
        "ABB",
        [[0, 0, 0], [1 / 3, 1 / 3, 0], [2 / 3, 2 / 3, 0]],
        1,
    ),
    Prototype("L12", _SIMPLE, "ABBB", [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], 2),
    Prototype(
        "D022",
        [[-0.5, 0.5, 1], [0.5, -0.5, 1], [0.5, 0.5, -1]],
        "ABBB",
        [[0, 0, 0], [0.5, 0.5, 0], [0.75, 0.25, 0.5], [0.25, 0.75, 0.5]],
        2,
    ),
    Prototype("D03", _FCC, "ABBB", _QUARTERS, 2),
    Prototype(
        "D019",
        [[2, 0, 0], [-1, _ROOT3, 0], [0, 0, _IDEAL]],
        "AABBBBBB",
        [
            *([1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75], [5 / 6, 2 / 3, 0.25], [1 / 3, 1 / 6, 0.25]),
            *([5 / 6, 1 / 6, 0.25], [1 / 6, 1 / 3, 0.75], [2 / 3, 5 / 6, 0.75], [1 / 6, 5 / 6, 0.75]),
        ],
        1,
    ),
)


def records(card: DatasetCard, path: Path | None, limits: Ingest) -> Iterator[Record]:  # noqa: ARG001
    """Yield the cells, prototype by prototype: 630 of 1 to 8 atoms, always the same.

    Values by the card's columns: formation energy (eV/atom, over the relaxed fcc elements), volume
    (Å³/atom) and bulk modulus (GPa, V·d²E/dV² at the cell's own volume with the ions fixed).
    """
    for prototype in PROTOTYPES:
        for elements in prototype.assignments:
            relaxed = _relaxed(prototype, elements)
            for variant in range(1, prototype.variants + 1):
                entry_id = f"emt-{prototype.name}-{_formula(prototype, elements)}-{variant:02d}"
                structure = _distorted(relaxed, np.random.default_rng([SEED, zlib.crc32(entry_id.encode())]))
                yield Record(entry_id, structure, _values(structure))


def _formula(prototype: Prototype, elements: tuple[str, ...]) -> str:
    counts = [prototype.species.count(kind) for kind in "AB"[: len(elements)]]
    least = math.gcd(*counts)
    parts = sorted(zip(elements, counts, strict=True))
    return "".join(f"{symbol}{count // least if count > least else ''}" for symbol, count in parts)


def _relaxed(prototype: Prototype, elements: tuple[str, ...]) -> Structure:
    """The undistorted cell at the volume where EMT's pressure vanishes."""
    symbols = ["AB".index(kind) for kind in prototype.species]
    numbers = [NUMBERS[elements[index]] for index in symbols]
    guess = prototype.looseness * sum(_fcc(elements[index])[1] for index in symbols)
    return _at_zero_pressure(Structure(prototype.cell, numbers, prototype.sites), guess, tolerance=1.0)


def _at_zero_pressure(structure: Structure, volume: float, tolerance: float) -> Structure:
    """Scale a cell, by the secant method on log(volume), until |pressure| < tolerance (GPa)."""
    tried: list[tuple[float, float]] = []
    point = math.log(volume)
    for _ in range(12):
        scaled = _scaled(structure, math.exp(point) / structure.volume)
        pressure = _pressure(scaled)
        if abs(pressure) < tolerance:
            break
        tried.append((point, pressure))
        if len(tried) == 1:
            point += math.copysign(0.03, pressure)
        else:
            (x0, p0), (x1, p1) = tried[-2:]
            step = -p1 * (x1 - x0) / (p1 - p0)
            point += max(-0.2, min(0.2, step))
    return scaled


def _distorted(structure: Structure, rng: np.random.Generator) -> Structure:
    """Strain the cell and displace its atoms; floats are rounded as published files have them."""
    strain = rng.normal(0, _STRAIN, (3, 3))
    deformation = np.eye(3) + (strain + strain.T) / 2
    deformation *= (1 + rng.uniform(-_VOLUME, _VOLUME)) ** (1 / 3)
    lattice = (structure.lattice @ deformation).round(_DIGITS)
    moved = rng.normal(0, _DISPLACEMENT, (structure.n_atoms, 3)) @ np.linalg.inv(lattice)
    moved -= moved[0]  # the first atom stays: a common shift would change nothing
    return Structure(lattice, structure.numbers, (structure.frac_coords + moved).round(_DIGITS))


def _values(structure: Structure) -> dict[str, float]:
    energy = _energy(structure)
    reference = sum(_fcc(symbol)[0] for symbol in structure.symbols)
    wider, tighter = (_energy(_scaled(structure, 1 + sign * _STEP)) for sign in (1, -1))
    curvature = (wider - 2 * energy + tighter) / (_STEP * structure.volume) ** 2
    return {
        "formation_energy": round((energy - reference) / structure.n_atoms, _DIGITS),
        "volume": round(structure.volume / structure.n_atoms, _DIGITS),
        "bulk_modulus": round(structure.volume * curvature * EV_PER_A3_IN_GPA, _DIGITS),
    }


@cache
def _fcc(symbol: str) -> tuple[float, float]:
    """Energy (eV) and volume (Å³) an atom of the relaxed fcc element."""
    radius = need("ase.data", "data").covalent_radii[NUMBERS[symbol]]
    cell = Structure(_FCC, [NUMBERS[symbol]], [[0, 0, 0]])
    relaxed = _at_zero_pressure(cell, (2 * radius) ** 3 / math.sqrt(2), tolerance=0.001)
    return _energy(relaxed), relaxed.volume


def _scaled(structure: Structure, factor: float) -> Structure:
    lattice: NDArray[np.float64] = structure.lattice * factor ** (1 / 3)
    return Structure(lattice, structure.numbers, structure.frac_coords)


def _calculated(structure: Structure) -> Any:
    atoms = structure.to_ase()
    atoms.calc = need("ase.calculators.emt", "data").EMT()
    return atoms


def _energy(structure: Structure) -> float:
    return float(_calculated(structure).get_potential_energy())


def _pressure(structure: Structure) -> float:
    stress = _calculated(structure).get_stress(voigt=True)
    return float(-stress[:3].sum() / 3 * EV_PER_A3_IN_GPA)
