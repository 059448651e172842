"""The small collections that ASE carries: real values that need no network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import unknown
from core.lazy import need
from core.params import Ingest
from core.structure import Structure
from etl.cards import DatasetCard
from etl.providers import Record

COLLECTIONS = ("dcdft", "g2")


def records(card: DatasetCard, path: Path | None, limits: Ingest) -> Iterator[Record]:  # noqa: ARG001
    """Yield the members of the collection that the card names, in ASE's order.

    Molecules are boxed with `limits.vacuum`. Of `g2` the single atoms are left out: their enthalpies
    hold at 0 K, those of the molecules at 298 K.
    """
    if card.collection not in COLLECTIONS:
        raise unknown("ASE collection", str(card.collection), COLLECTIONS, f"the card of {card.name}")
    collection: Any = getattr(need("ase.collections", "data"), card.collection)
    table: Any = need("ase.data.g2", "data").data if card.collection == "g2" else collection.data
    for name in collection.names:
        atoms = collection[name]
        if card.material_class == "molecule" and len(atoms) == 1:
            continue
        vacuum = limits.vacuum if card.material_class == "molecule" else None
        yield Record(name, Structure.from_ase(atoms, vacuum), table[name])
