"""Where the page's numbers come from: tables, extractions, versions, and what could not be used."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from evaluation.report.checkpoint_svg import Checkpoint
from featurestore.query.store import FeatureStore
from zoo.hub import card_path, list_models


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that could not be used, and in which table it is missing."""

    table: str
    dataset: str
    id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the store: its log's version, and its shards, each named by its SHA-256."""

    name: str
    version: int
    rows: int
    bytes: int
    shards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extraction:
    """Vectors of one source model under one set of settings."""

    extraction_id: str
    source_model: str
    structures: int
    provenance: str  # what its shards say, one line per fact
    card: str  # the source model's card, as its file has it


def rejects_of(store: FeatureStore) -> tuple[Rejected, ...]:
    """Return the records that could not be used."""
    rows = store.sql(
        "SELECT \"table\", coalesce(dataset, ''), id, code, message FROM rejects ORDER BY ALL"
    ).fetchall()
    return tuple(Rejected(*row) for row in rows)


def tables_of(store: FeatureStore) -> Iterable[Table]:
    """Yield the tables of the store with their shards."""
    rows = store.sql(
        "SELECT \"table\", coalesce(dataset, ''), sum(rows)::BIGINT, sum(bytes)::BIGINT, "
        "list(sha256 ORDER BY sha256), "
        '(SELECT max(version) FROM log WHERE log."table" = shards."table" '
        "AND log.dataset IS NOT DISTINCT FROM shards.dataset) "
        'FROM shards GROUP BY "table", dataset ORDER BY ALL'
    ).fetchall()
    for table, dataset, n, size, hashes, version in rows:
        yield Table(f"{table}/{dataset}" if dataset else table, version, n, size, tuple(hashes))


def extractions_of(store: FeatureStore, wanted: set[str]) -> Iterable[Extraction]:
    """Yield the extractions of these ids."""
    rows = store.sql("SELECT extraction_id, source_model, structures, provenance FROM extractions").fetchall()
    for extraction_id, source_model, structures, provenance in rows:
        if extraction_id in wanted:
            facts = json.loads(provenance or "{}")
            text = "\n".join(f"{name}: {fact}" for name, fact in facts.items())
            yield Extraction(extraction_id, source_model, structures, text, _model_card(source_model))


def checkpoints_of(store: FeatureStore, fitted: pd.DataFrame) -> tuple[Checkpoint, ...]:
    """Return the checkpoints of all source models, and whether a run on the page reads them."""
    used = set()
    known = fitted.dropna(subset=["feature_set", "source_model"])
    for name, source in set(zip(known["feature_set"], known["source_model"], strict=True)):
        if set(source.split("+")) <= store.sources.keys():
            blocks = store.feature_set(name, source.partition("+")[0]).blocks
            used |= {(block.source, block.checkpoint) for block in blocks}
    return tuple(
        Checkpoint(source.name, *checkpoint, is_used=(source.name, checkpoint.name) in used)
        for source in store.sources.values()
        for checkpoint in source.checkpoints
    )


def _model_card(name: str) -> str:
    return card_path(name).read_text(encoding="utf-8") if name in list_models() else ""


def versions_of(texts: Iterable[str]) -> dict[str, str]:
    """Bring the versions of libraries together that runs were made with; texts are JSON."""
    found: dict[str, set[str]] = {}
    for text in set(texts):
        for name, version in json.loads(text).items():
            found.setdefault(name, set()).add(str(version))
    return {name: ", ".join(sorted(found[name])) for name in sorted(found)}
