"""What structures may be grouped by, so that a test part holds none of a training part's kind."""

from functools import reduce
from math import gcd
from typing import Any

import numpy as np

from core.composition import Composition
from core.errors import StrataError
from core.lazy import need
from core.structure import Structure

TOLERANCE = 0.01  # Å within which atoms count as symmetric


def chemical_system(structure: Structure | Composition) -> str:
    """Return the atomic numbers that occur, such as '8-22' for any titanium oxide."""
    return "-".join(map(str, np.unique(structure.numbers)))


def space_group(structure: Structure | Composition) -> str:
    """Return the number of the space group, 1 to 230, to within 0.01 Å.

    Raises `StrataError`, as `prototype` does, where only a composition is known.
    """
    return str(_symmetry(structure)[0])


def prototype(structure: Structure | Composition) -> str:
    """Return anonymous formula, space group and atoms of the conventional cell; rutile is 'A1B2/136/6'.

    It is what stands in the name of most prototypes; crystals that differ in their Wyckoff positions
    only, within one space group, fall together.
    """
    number, atoms = _symmetry(structure)
    counts = np.sort(np.unique(structure.numbers, return_counts=True)[1]).tolist()
    smallest = reduce(gcd, counts)
    letters = "".join(f"{_letter(i)}{count // smallest}" for i, count in enumerate(counts))
    return f"{letters}/{number}/{atoms}"


def _letter(i: int) -> str:
    """Return A … Z, then a … z: no formula has more elements."""
    return chr(ord("A") + i) if i < 26 else chr(ord("a") + i - 26)


def _symmetry(structure: Structure | Composition) -> tuple[int, int]:
    """Return the space group's number and the atoms in the conventional cell; without symmetry 1 and n."""
    if isinstance(structure, Composition):
        raise StrataError(
            f"of {structure.formula} (structure {structure.structure_id}) only the composition is known, "
            "which has no symmetry to group by; split by chemical system: grouped, kfold_grouped"
        )
    spglib: Any = need("spglib", "data")
    cell = (structure.lattice, structure.frac_coords, structure.numbers.astype(int))
    try:
        found = spglib.get_symmetry_dataset(cell, symprec=TOLERANCE)
    except spglib.SpglibError:  # how newer versions say that they found none
        found = None
    if found is None:
        return 1, structure.n_atoms
    return int(found.number), len(found.std_types)
