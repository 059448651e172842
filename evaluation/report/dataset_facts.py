"""What a store's datasets hold: values with their spread, what was dropped and why, and what is shared."""

import json
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import featurestore
from core.errors import StrataError, unknown
from core.structure import SYMBOLS
from evaluation.training_data import training_data
from featurestore.splits import duplicates
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Snapshot, snapshot
from featurestore.tables.places import readable

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class PropertyFacts:
    """One property of a dataset. `quantiles`: of the values, at `QUANTILES`, in `unit`."""

    name: str
    unit: str
    values: int
    missing: int
    not_finite: int
    quantiles: tuple[float, ...]
    labels: dict[str, int] = field(default_factory=dict)  # of classes, how many entries have each
    left_out: int = 0  # limits, and values that are not positive where a logarithm is learned


@dataclass(slots=True)
class DatasetFacts:
    """One dataset of a store.

    atoms: a structure's number of atoms at `QUANTILES`; elements: symbol → structures that contain it;
    shared: other dataset → structures in both; shared_crystals: the same by `duplicate_group`, where
    `strata datasets duplicates` has run; trained_on: the source model's training set that is in the
    store, and how many structures (or, where known, crystals) of this dataset are in it.
    """

    name: str
    entries: int
    structures: int
    rejects: dict[str, int]
    atoms: tuple[float, ...]
    elements: dict[str, int]
    properties: list[PropertyFacts]
    shared: dict[str, int] = field(default_factory=dict)
    shared_crystals: dict[str, int] | None = None
    trained_on: str | None = None
    in_training: int | None = None

    def __rich__(self) -> RenderableType:
        """The facts as rich shows them."""
        head = f"{self.name}: {self.entries:,} entries, {self.structures:,} structures"
        table = Table(box=None, pad_edge=False)
        titles = (
            "property",
            "unit",
            "values",
            "missing",
            "not finite",
            "min",
            "5 %",
            "median",
            "95 %",
            "max",
        )
        for title in titles:
            table.add_column(title, justify="left" if title in titles[:2] else "right", no_wrap=True)
        for item in self.properties:
            shown = [f"{item.quantiles[i]:.4g}" for i in (0, 1, 3, 5, 6)] if item.quantiles else ["–"] * 5
            counts = (f"{count:,}" for count in (item.values, item.missing, item.not_finite))
            table.add_row(item.name, item.unit, *counts, *shown)
        return Group(Text(head), table, *(Text(f"  {line}") for line in self.notes))

    @property
    def notes(self) -> list[str]:
        """What there is to say beside the properties' numbers, one line per fact."""
        low, _, _, median, _, high, most = self.atoms
        common = sorted(self.elements, key=lambda symbol: (-self.elements[symbol], symbol))
        notes = [
            f"atoms: {low:.0f} to {most:.0f}, median {median:.0f}, 95 % at most {high:.0f}",
            f"elements: {len(self.elements)}, most often {', '.join(common[:8])}",
        ]
        notes += [
            f"{item.name}: {', '.join(f'{count:,} {label}' for label, count in item.labels.items())}"
            for item in self.properties
            if item.labels
        ]
        notes += [
            f"{item.name}: {item.left_out:,} values left out as limits or as not positive"
            for item in self.properties
            if item.left_out
        ]
        if self.rejects:
            found = ", ".join(f"{count:,} {code}" for code, count in self.rejects.items())
            notes.append(f"rejected: {found}")
        for other, count in self.shared.items():
            more = self.shared_crystals.get(other) if self.shared_crystals is not None else None
            crystals = "" if more is None else f", {more:,} the same crystal"
            if count or more:
                notes.append(f"also in {other}: {count:,} the same structure{crystals}")
        if self.trained_on:
            notes.append(f"seen by the source model ({self.trained_on}): {self.in_training:,}")
        return notes


def data_report(
    store_root: str | Path, names: Sequence[str] = (), source_model: str | None = None
) -> list[DatasetFacts]:
    """Read the facts of datasets in a store, by default of all, in the order of their names.

    With a source model, its training structures are looked for in the store (see `training_data`).
    Raises `StrataError` for a dataset that the store does not have.
    """
    layout = StoreLayout(Path(store_root))
    there = [folder.name for folder in layout.tables("entries")]
    if not there:
        raise StrataError(f"{Path(store_root).resolve()} has no datasets; ingest one first")
    for name in names:
        if name not in there:
            raise unknown("dataset", name, there, f"the store {store_root}")
    ids = {name: _ids(layout, name) for name in there}
    groups = duplicates.load(store_root)
    words, seen = _trained_on(store_root, source_model)
    return [_facts(layout, name, ids, groups, words, seen) for name in names or there]


def as_json(facts: Sequence[DatasetFacts]) -> str:
    """The facts as JSON, a list of datasets."""
    return json.dumps([asdict(item) for item in facts], ensure_ascii=False, indent=1)


def _facts(
    layout: StoreLayout,
    name: str,
    ids: dict[str, set[str]],
    groups: dict[str, str],
    words: str | None,
    seen: Set[str],
) -> DatasetFacts:
    entries = snapshot(layout.entries(name))
    structures = _read(snapshot(layout.structures(name)), ["n_atoms", "numbers"])
    others = [other for other in ids if other != name]
    known = all(item in groups for item in ids[name])
    crystals = (
        {other: {groups.get(item, item) for item in ids[other]} for other in ids} if known and groups else {}
    )
    facts = DatasetFacts(
        name=name,
        entries=entries.rows,
        structures=len(ids[name]),
        rejects=dict(sorted(Counter(reject.code for reject in entries.rejects).items())),
        atoms=_quantiles(structures["n_atoms"].to_numpy()),
        elements=_elements(structures["numbers"]),
        properties=_properties(layout, name, entries),
        shared={other: len(ids[name] & ids[other]) for other in others},
        shared_crystals={other: len(crystals[name] & crystals[other]) for other in others}
        if crystals
        else None,
    )
    if words is not None:
        in_groups = {groups.get(item, item) for item in seen}
        facts.trained_on = words
        facts.in_training = sum(groups.get(item, item) in in_groups for item in ids[name])
    return facts


def _properties(layout: StoreLayout, name: str, entries: Snapshot) -> list[PropertyFacts]:
    targets = _read(snapshot(layout.targets(name)), ["property", "unit", "value"])
    counts: dict[str, dict[str, int]] = {}
    for shard in entries.shards:
        counts = json.loads(shard.provenance.get("counts", "{}")) or counts
    scales = _scales(layout, name)
    found = []
    for key in pc.unique(targets["property"]).to_pylist():
        rows = targets.filter(pc.equal(targets["property"], key))
        values = rows["value"].to_numpy()
        reasons = counts.get(key, {})
        not_finite = reasons.get("not finite", 0)
        left_out = reasons.get("limit", 0) + reasons.get("not positive", 0)
        missing = entries.rows - len(values) - not_finite - left_out
        unit = rows["unit"][0].as_py()
        labels = scales.get(key)
        spread = () if isinstance(labels, list) else _quantiles(values)  # codes are no quantities
        facts = PropertyFacts(key, unit, len(values), missing, not_finite, spread, left_out=left_out)
        if isinstance(labels, list):
            facts = replace(facts, labels={item: int((values == i).sum()) for i, item in enumerate(labels)})
        found.append(facts)
    return found


def _scales(layout: StoreLayout, name: str) -> dict[str, str | list[str]]:
    """Read which properties have classes, and their labels by code."""
    for path in snapshot(layout.table("datasets", name)).paths:
        table = pq.read_table(readable(path))
        if "scales" in table.column_names:
            return dict(json.loads(table["scales"][0].as_py() or "{}"))
    return {}


def _trained_on(store_root: str | Path, source_model: str | None) -> tuple[str | None, Set[str]]:
    if source_model is None:
        return None, frozenset()
    with featurestore.open(store_root) as store:
        data = training_data(store, source_model)
    return (data.described if data.structure_ids else None), data.structure_ids


def _ids(layout: StoreLayout, name: str) -> set[str]:
    return set(_read(snapshot(layout.entries(name)), ["structure_id"])["structure_id"].to_pylist())


def _read(found: Snapshot, columns: list[str]) -> pa.Table:
    tables = [pq.read_table(readable(path), columns=columns) for path in found.paths]
    return pa.concat_tables(tables) if tables else pa.table({name: [] for name in columns})


def _quantiles(values: np.ndarray[Any, Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, QUANTILES)) if len(values) else ()


def _elements(numbers: pa.ChunkedArray) -> dict[str, int]:
    counts: Counter[int] = Counter()
    for chunk in numbers.chunks:
        rows = pc.list_parent_indices(chunk).to_numpy().astype(np.int64)
        pairs = np.unique(rows * 256 + pc.list_flatten(chunk).to_numpy())
        counts.update((pairs % 256).tolist())
    return {SYMBOLS[number]: count for number, count in sorted(counts.items())}
