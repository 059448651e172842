"""`Composition`: what is known of a material where there are no positions, only a formula."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.lazy import need
from core.structure import InvalidStructure, Structure, hill_formula, numbers_of

MOST_ATOMS = 10_000  # of a formula unit in whole numbers: amounts with four decimals


@dataclass(frozen=True, eq=False, slots=True)
class Composition:
    """Elements and their ratio. The array is a private read-only copy.

    numbers: (n,) uint8, atomic numbers of one formula unit in smallest whole numbers, sorted.

    >>> Composition([8, 22, 8, 8, 22, 8]).formula
    'O2Ti'
    """

    numbers: NDArray[np.uint8]

    def __init__(self, numbers: ArrayLike) -> None:
        elements, counts = np.unique(np.asarray(numbers, dtype=np.uint8), return_counts=True)
        smallest = np.gcd.reduce(counts) if len(counts) else 1
        array = np.repeat(elements, counts // smallest)
        array.setflags(write=False)
        object.__setattr__(self, "numbers", array)

    @property
    def n_atoms(self) -> int:
        """Atoms in the formula unit."""
        return len(self.numbers)

    @property
    def formula(self) -> str:
        """Reduced formula in Hill order: C, H, then alphabetical."""
        return hill_formula(self.numbers)

    @property
    def structure_id(self) -> str:
        """SHA-256 (64 hexadecimal digits) of the formula behind a tag, and so the id of no crystal.

        A crystal's content begins with its lattice; read as one, the tag would be 1e13 Å long.

        >>> Composition([8, 22, 8]).structure_id == Composition([22, 22, 8, 8, 8, 8]).structure_id
        True
        """
        return hashlib.sha256(f"composition {self.formula}".encode()).hexdigest()

    @classmethod
    def from_formula(cls, text: object, aliases: Mapping[str, str] | None = None) -> "Composition":
        """Read a formula such as Fe2O3, Ca(OH)2 or Fe0.5Ni0.5, which is scaled to whole numbers.

        D and T are hydrogen. Raises `InvalidStructure`: `unreadable` for what is no formula, `no_features`
        for an unknown element, `too_large` where whole numbers would need more than `MOST_ATOMS` atoms.
        """
        if not isinstance(text, str):
            raise InvalidStructure("unreadable", f"{text!r} is no formula")
        pymatgen: Any = need("pymatgen.core", "data")
        try:
            amounts = pymatgen.Composition(text).get_el_amt_dict()
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidStructure("unreadable", f"{text!r} is no formula ({error})") from None
        numbers = numbers_of(amounts, aliases)
        if not amounts or not np.isfinite(list(amounts.values())).all():
            raise InvalidStructure("unreadable", f"{text!r} gives no amounts of elements")
        # Products of brackets such as (La0.7Sr0.3)3 miss the decimal that is meant by a rounding error.
        parts = [Fraction(amount).limit_denominator(MOST_ATOMS) for amount in amounts.values()]
        if min(parts) <= 0:
            raise InvalidStructure(
                "unreadable", f"{text!r} has an amount below 1/{MOST_ATOMS}; leave the element out"
            )
        scale = lcm(*(part.denominator for part in parts))
        counts = [int(part * scale) for part in parts]
        counts = [count // gcd(*counts) for count in counts]
        if sum(counts) > MOST_ATOMS:
            raise InvalidStructure(
                "too_large",
                f"{text!r} takes {sum(counts):,} atoms in whole numbers, allowed are {MOST_ATOMS:,}; "
                "round its amounts",
            )
        return cls(np.repeat(numbers, counts))


def with_positions(structure: Structure | Composition, who: str) -> Structure:
    """Return a structure as it is; raises `InvalidStructure` (`no_structure`) for a composition.

    who: what needs the positions, in words.
    """
    if isinstance(structure, Composition):
        raise InvalidStructure(
            "no_structure", f"only the composition {structure.formula} is known; {who} needs atomic positions"
        )
    return structure


def restored(lattice: ArrayLike, numbers: ArrayLike, frac_coords: ArrayLike) -> Structure | Composition:
    """Return what a row of the table `structures` holds; without coordinates it is a composition."""
    coords = np.asarray(frac_coords, dtype=np.float64).reshape(-1, 3)
    if len(coords) == 0 and np.size(numbers) > 0:
        return Composition(numbers)
    return Structure(np.asarray(lattice, dtype=np.float64).reshape(3, 3), numbers, coords)
