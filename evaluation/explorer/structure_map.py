"""What a page of the explorer shows: points, columns of values, crystals, neighbours, shares of atoms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core.composition import Composition
from core.errors import StrataError
from core.structure import Structure

VECTORS, PROPERTIES, PREDICTIONS, STRUCTURE = "Vectors", "Properties", "Predictions", "Structure"
GROUPS = (VECTORS, PROPERTIES, PREDICTIONS, STRUCTURE)


def shown_unit(unit: str) -> str:
    """Return a unit as it stands behind a number; "" where there is none."""
    return "" if unit == "dimensionless" else unit


@dataclass(frozen=True, eq=False, slots=True)
class Column:
    """One number, or one word, per structure.

    values (n,): float64, NaN where there is none; where `labels` are given, places among these, and NaN.
    about: one sentence that says what it is. group: under which heading it is listed. parity: columns that
    belong on one diagonal, such as a value and its prediction, share this name.
    """

    name: str
    values: NDArray[np.float64]
    unit: str = ""
    group: str = STRUCTURE
    about: str = ""
    labels: tuple[str, ...] = ()
    parity: str = ""

    @property
    def title(self) -> str:
        """Its name and unit."""
        unit = shown_unit(self.unit)
        return f"{self.name} ({unit})" if unit else self.name

    @classmethod
    def of_words(
        cls, name: str, words: Sequence[str | None], group: str = STRUCTURE, about: str = ""
    ) -> Self:
        """Make a column of words; the most frequent first, "" and None are no word.

        >>> Column.of_words("kind", ["b", "a", "b", None]).values.tolist()
        [0.0, 1.0, 0.0, nan]
        """
        counts: dict[str, int] = {}
        for word in words:
            if word:
                counts[word] = counts.get(word, 0) + 1
        labels = tuple(sorted(counts, key=lambda word: (-counts[word], word)))
        place = {word: float(i) for i, word in enumerate(labels)}
        values = np.array([place.get(word or "", np.nan) for word in words], float)
        return cls(name, values, group=group, about=about, labels=labels)


@dataclass(frozen=True, eq=False, slots=True)
class Crystals:
    """n structures in flat arrays.

    lattice (n, 9), Å: three vectors one after another. start (n + 1,): structure i has the atoms start[i] to
    start[i + 1] of `numbers` (N,) and `coords` (N, 3), fractional. drawn (n,): false where only a composition
    is known; its coordinates are NaN.
    """

    lattice: NDArray[np.float64]
    start: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    coords: NDArray[np.float64]
    drawn: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.drawn)

    @classmethod
    def of(cls, structures: Sequence[Structure | Composition | None]) -> Self:
        """Put structures one after another; of a composition only the atomic numbers, of None nothing."""
        cells = [s.lattice if isinstance(s, Structure) else np.zeros((3, 3)) for s in structures]
        flat = [np.empty(0, np.uint8) if s is None else np.asarray(s.numbers, np.uint8) for s in structures]
        coords = [
            np.asarray(s.frac_coords, float) if isinstance(s, Structure) else np.full((len(own), 3), np.nan)
            for s, own in zip(structures, flat, strict=True)
        ]
        return cls(
            np.array(cells, float).reshape(len(cells), 9),
            np.concatenate([[0], np.cumsum([len(own) for own in flat])]).astype(np.int64),
            np.concatenate([np.empty(0, np.uint8), *flat]),
            np.concatenate([np.empty((0, 3)), *coords]),
            np.array([isinstance(s, Structure) for s in structures], bool),
        )

    def volumes(self) -> NDArray[np.float64]:
        """Return the cells' volumes (n,) in Å³, NaN where only a composition is known."""
        found = np.abs(np.linalg.det(self.lattice.reshape(-1, 3, 3)))
        return np.where(self.drawn, found, np.nan)

    def numbers_of(self, i: int) -> NDArray[np.uint8]:
        """Return the atomic numbers of one structure."""
        return self.numbers[self.start[i] : self.start[i + 1]]

    def structure(self, i: int) -> Structure | None:
        """Return one structure; None where only a composition is known."""
        if not self.drawn[i]:
            return None
        own = slice(self.start[i], self.start[i + 1])
        return Structure(self.lattice[i].reshape(3, 3), self.numbers[own], self.coords[own])


@dataclass(frozen=True, eq=False, slots=True)
class Shares:
    """Shares of the atoms of some structures in a prediction, in its unit: structure → (n_atoms,).

    about: of which prediction, and of which structures there are some.
    """

    of: Mapping[int, NDArray[np.float64]]
    unit: str = ""
    about: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class StructureMap:
    """n structures with everything that a page says of them.

    names, entries, formulas (n,): what a structure is called, its records and its reduced formula. near, far
    (n, k): places of the nearest structures by `near_by` and their distances, nearest first; −1: none.
    x, y, colour: names of the columns that are shown first. notes: sentences under the title.
    """

    title: str
    names: tuple[str, ...]
    entries: tuple[str, ...]
    formulas: tuple[str, ...]
    crystals: Crystals
    columns: tuple[Column, ...]
    x: str
    y: str
    colour: str
    near: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 0), np.int32))
    far: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    near_by: str = ""
    shares: Shares = field(default_factory=lambda: Shares({}))
    notes: tuple[str, ...] = ()
    rejects: tuple[str, ...] = ()  # what could not be used, and why
    listed: tuple[str, ...] = ()  # columns of the table; none named: those of predictions and properties

    def __len__(self) -> int:
        return len(self.names)

    def column(self, name: str) -> Column:
        """Return a column by its name. Raises `StrataError` for one that is not there."""
        for column in self.columns:
            if column.name == name:
                return column
        raise StrataError(f"the map has no column {name!r}")
