"""Atom features by atomic number: the 92 CGCNN numbers that jarvis-tools carries."""

import json
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from core.lazy import need
from core.validation import MAX_NUMBER


@cache
def atom_features() -> np.ndarray:
    """Table (101, 92) float32; row Z belongs to atomic number Z, row 0 is zeros."""
    specie = need("jarvis.core.specie", "extract")
    rows = json.loads(Path(specie.cgcnn_feature_json).read_text(encoding="utf-8"))
    table = np.zeros((MAX_NUMBER + 1, 92), np.float32)
    for number in range(1, MAX_NUMBER + 1):
        table[number] = rows[str(number)]
    return table


def collisions(numbers: Iterable[int]) -> list[tuple[int, ...]]:
    """Groups of the atomic numbers given that share one feature row, so that no model can tell them apart.

    >>> collisions([57, 58, 8])
    [(57, 58)]
    """
    table = atom_features()
    groups = defaultdict(list)
    for number in sorted(set(numbers)):
        groups[table[number].tobytes()].append(number)
    return [tuple(group) for group in groups.values() if len(group) > 1]
