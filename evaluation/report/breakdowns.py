"""Where the errors are: the mean absolute error of test entries by chemistry, size and distance."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from core.structure import SYMBOLS
from heads.domain import EDGE, EDGE_FROM, INSIDE, OUTSIDE

FEWEST = 3  # entries of which a mean is said
FEWEST_OF_ELEMENT = 5
MOST_ELEMENTS = 8
SIZES = 4  # groups of structures by their number of atoms


@dataclass(frozen=True, slots=True)
class Group:
    """The test entries of one kind: how many, their mean absolute error, and its standard error."""

    label: str
    n: int
    mae: float
    error: float


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The groups of one question; note says how they were made."""

    title: str
    note: str
    groups: tuple[Group, ...]


def breakdowns(rows: pd.DataFrame) -> tuple[Breakdown, ...]:
    """Return the breakdowns of test entries (see `tested_entries`) that have two groups or more."""
    found = []
    if "numbers" in rows:
        found += [_by_class(rows), _by_element(rows), _by_size(rows)]
    if "percentile" in rows and rows["percentile"].notna().any():
        found.append(_by_distance(rows))
    return tuple(one for one in found if len(one.groups) > 1)


def _by_class(rows: pd.DataFrame) -> Breakdown:
    names, errors = np.array([class_of(one) for one in rows["numbers"]]), rows["error"].to_numpy()
    groups = [_group(name, errors[names == name]) for name, _ in _CLASSES]
    return Breakdown("By class of compound", "each counts once, in the first that fits", _kept(groups))


def _has(*symbols: str) -> Callable[[frozenset[str]], bool]:
    return lambda elements: not elements.isdisjoint(symbols)


_CLASSES: tuple[tuple[str, Callable[[frozenset[str]], bool]], ...] = (
    ("elements", lambda elements: len(elements) == 1),
    ("organic: carbon and hydrogen", lambda elements: {"C", "H"} <= elements),
    ("oxides", _has("O")),
    ("halides", _has("F", "Cl", "Br", "I")),
    ("chalcogenides", _has("S", "Se", "Te")),
    ("pnictides", _has("N", "P", "As", "Sb")),
    ("carbides, borides, silicides, hydrides", _has("C", "B", "Si", "H")),
    ("intermetallics and others", lambda _: True),
)


def class_of(numbers: Sequence[int]) -> str:
    """Name the class of a compound by its elements' atomic numbers.

    >>> class_of([22, 8]), class_of([29]), class_of([29, 30])
    ('oxides', 'elements', 'intermetallics and others')
    """
    elements = frozenset(SYMBOLS[int(z)] for z in numbers)
    return next(name for name, fits in _CLASSES if fits(elements))


def _by_element(rows: pd.DataFrame) -> Breakdown:
    errors: dict[int, list[float]] = {}
    for numbers, error in zip(rows["numbers"], rows["error"], strict=True):
        for z in numbers:
            errors.setdefault(int(z), []).append(error)
    groups = [
        _group(f"with {SYMBOLS[z]}", np.array(own))
        for z, own in errors.items()
        if len(own) >= FEWEST_OF_ELEMENT
    ]
    groups.sort(key=lambda group: -group.mae)
    note = f"the {MOST_ELEMENTS} with the largest errors, of at least {FEWEST_OF_ELEMENT} entries each"
    return Breakdown("By element", note, tuple(groups[:MOST_ELEMENTS]))


def _by_size(rows: pd.DataFrame) -> Breakdown:
    atoms, errors = rows["n_atoms"].to_numpy(), rows["error"].to_numpy()
    edges = np.unique(np.quantile(atoms, np.linspace(0, 1, SIZES + 1), method="lower"))
    at = np.clip(np.searchsorted(edges, atoms, "right") - 1, 0, max(len(edges) - 2, 0))
    groups = []
    for i in np.unique(at):
        own = atoms[at == i]
        label = f"{own.min()} to {own.max()} atoms" if own.min() < own.max() else f"{own.min()} atoms"
        label = label.removesuffix("s") if own.max() == 1 else label
        groups.append(_group(label, errors[at == i]))
    return Breakdown("By size", "atoms in the cell or molecule", _kept(groups))


def _by_distance(rows: pd.DataFrame) -> Breakdown:
    percentile, domain, errors = (rows[name].to_numpy() for name in ("percentile", "domain", "error"))
    ends = np.linspace(0, EDGE_FROM, 4)
    groups = []
    for low, high in pairwise(ends):
        own = errors[(domain == INSIDE) & (percentile >= low) & (percentile < high)]
        groups.append(_group(f"inside, percentile {low:.0f} to {high:.0f}", own))
    groups.append(_group("at the edge", errors[domain == EDGE]))
    groups.append(_group("outside", errors[domain == OUTSIDE]))
    note = (
        "percentile: how many in a hundred training entries lie less remote from the others; outside also "
        "where an element is new"
    )
    return Breakdown("By distance to the training set", note, _kept(groups))


def _group(label: str, errors: np.ndarray) -> Group:
    n = len(errors)
    spread = float(errors.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Group(label, n, float(errors.mean()) if n else math.nan, spread)


def _kept(groups: Sequence[Group]) -> tuple[Group, ...]:
    return tuple(group for group in groups if group.n >= FEWEST)
