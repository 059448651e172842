"""What the card of a dataset said when the dataset was ingested, read from the store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PLAIN = ("title", "provider", "material_class", "licence", "citation", "note")
_OPTIONAL = ("version", "doi", "caution")


@dataclass(frozen=True, slots=True)
class PropertyFacts:
    """One property. unit: plain text, such as eV/atom. origin: measured, computed, estimated."""

    unit: str
    description: str = ""
    origin: str = ""
    paper_name: str | None = None
    transform: str | None = None  # log: positive, and learned as its logarithm
    classes: tuple[str, ...] = ()  # labels by their codes; none: its values are numbers


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """One dataset; texts are empty where the store was written before cards were kept in it."""

    dataset: str
    title: str
    provider: str
    material_class: str
    licence: str
    citation: str
    note: str
    version: str | None
    doi: str | None
    caution: str | None
    properties: Mapping[str, PropertyFacts]


def facts_of(connection: Any, dataset: str, units: Mapping[str, str]) -> DatasetFacts:
    """Read the facts of a dataset from an open store.

    units: property → unit as the targets have them, for a store that has no row of the dataset.
    """
    found = connection.sql("FROM stored_datasets WHERE dataset = ?", params=[dataset])
    rows = found.to_arrow_table().to_pylist()
    if not rows:
        without: dict[str, Any] = dict.fromkeys(_PLAIN, "") | dict.fromkeys(_OPTIONAL)
        known = {name: PropertyFacts(unit) for name, unit in units.items()}
        return DatasetFacts(dataset=dataset, properties=known, **without)
    facts = {name: rows[0][name] for name in (*_PLAIN, *_OPTIONAL)}
    scales = json.loads(rows[0]["scales"] or "{}")
    known = {
        name: PropertyFacts(**item, **_scale(scales.get(name)))
        for item in rows[0]["properties"]
        for name in [item.pop("name")]
    }
    return DatasetFacts(dataset=dataset, properties=known, **facts)


def _scale(said: str | list[str] | None) -> dict[str, Any]:
    return {"classes": tuple(said)} if isinstance(said, list) else {"transform": said}
