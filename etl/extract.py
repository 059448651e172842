"""The `extract` stage: every structure that has no vectors yet goes through the source model, once."""

import hashlib
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from core.params import Extract, Params
from core.progress import Meter
from core.structure import SYMBOLS, Structure
from featurestore.query.store import FeatureStore
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Reject
from featurestore.tables.schema import CHECKPOINTS, FEATURES, WIDTH
from featurestore.tables.writer import TableWriter
from zoo.backbones.alignn.elements import collisions
from zoo.backbones.engine import COUNTS, Extracted
from zoo.backbones.workers import run_tasks

if TYPE_CHECKING:
    from zoo.hub import SourceCard

CODE_SCHEMA = 1  # raised by hand when the vectors change
POOLING = "mean"
_TASK = 64  # structures that go through the engine together
_ASK_WHY = "strata sql \"SELECT * FROM rejects WHERE code = '{}'\" says which"


def extraction_id(card: "SourceCard", tf32: bool = False) -> str:
    """Name a set of vectors: source weights × graph settings × pooling × numeric mode × code schema.

    Backend and compression are recorded, not keyed: they give the same vectors.
    """
    from zoo.hub import weights_path

    weights_path(card)  # a published model that was not fetched yet has no hash, and says so
    key = {
        "weights_sha256": card.weights_sha256,
        "graph": card.graph.model_dump(mode="json"),
        "pooling": POOLING,
        "tf32": tf32,
        "code_schema": CODE_SCHEMA,
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def asked_extraction(settings: Extract) -> str:
    """Return the id of the extraction that the params ask for, from its card alone."""
    from zoo.hub import load_card

    return extraction_id(load_card(settings.source_model), settings.tf32)


@dataclass
class ExtractReport:
    """What a run of the stage did.

    `rejected` counts by code, in this run and before; `collisions` by dataset: elements with one feature row.
    """

    extraction_id: str
    source_model: str
    entries: int
    unique: int
    extracted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    collisions: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        there = self.unique - self.extracted - sum(self.rejected.values())
        did = f"{self.extracted:,} structures extracted, {there:,} were there already"
        saved = f"{self.entries - self.unique:,} runs saved"
        lines = [
            f"extraction {self.extraction_id} of {self.source_model}: {did}",
            f"{self.entries:,} entries share {self.unique:,} structures: {saved}",
        ]
        for code, count in sorted(self.rejected.items()):
            lines.append(f"rejected, {code}: {count:,}; {_ASK_WHY.format(code)}")
        for dataset, groups in self.collisions.items():
            pairs = ", ".join(" = ".join(group) for group in groups)
            lines.append(f"{dataset}: {pairs} share one feature row; no vector tells them apart")
        return "\n".join(lines)


def extract(params: Params, store_root: str | Path) -> ExtractReport:
    """Extract what the datasets of `params` lack; committed chunks survive anything and are not run again.

    Raises `StrataError` for an unknown dataset or source model, damaged weights, or a store that another
    process is writing to.
    """
    from zoo.hub import load_source

    settings = params.extract
    source = load_source(settings.source_model)
    name = extraction_id(source.card, settings.tf32)
    layout = StoreLayout(Path(store_root))
    with TableWriter(layout.features, FEATURES, "extract") as writer:
        store = FeatureStore(store_root)
        entries, unique = _sizes(store, params.datasets)
        rejected = _rejected(store, name, params.datasets)
        report = ExtractReport(name, source.card.name, entries, unique, rejected=rejected)
        report.collisions = _collisions(store, params.datasets)
        missing = store.missing(name, params.datasets)["structure_id"].to_pylist()
        with Meter("extract", len(missing)) as meter:
            for ids, result in _results(store, missing, settings, meter):
                table, rejects = _rows(ids, result, name, source.card.name)
                key = hashlib.sha256("".join([name, *ids]).encode()).hexdigest()
                writer.commit(key, table, rejects, provenance(source.card, settings))
                report.extracted += len(table)
                for reject in rejects:
                    report.rejected[reject.code] = report.rejected.get(reject.code, 0) + 1
        report.seconds = meter.seconds
    return report


def _results(
    store: FeatureStore, missing: Sequence[str], settings: Extract, meter: Meter
) -> Iterator[tuple[list[str], Extracted]]:
    """Run the chunks of `missing`, a shard's worth each; memory holds one chunk, however many there are."""
    chunks = [missing[i : i + settings.chunk] for i in range(0, len(missing), settings.chunk)]
    sizes = [[len(chunk[i : i + _TASK]) for i in range(0, len(chunk), _TASK)] for chunk in chunks]

    def tasks() -> Iterator[list[Structure]]:
        for chunk in chunks:
            structures = store.structures(chunk)
            for i in range(0, len(chunk), _TASK):
                yield structures[i : i + _TASK]

    results = run_tasks(tasks(), settings, len(missing))
    for chunk, lengths in zip(chunks, sizes, strict=True):
        parts: list[Extracted] = []
        for count in lengths:
            part = next(results)
            meter.advance(count, angles=int(part.counts[:, 1].sum()), rejects=len(part.errors))
            parts.append(part)
        offsets = np.cumsum([0, *lengths])
        errors = {int(offsets[k]) + i: e for k, part in enumerate(parts) for i, e in part.errors.items()}
        counts, prediction, vectors = (np.concatenate([part[k] for part in parts]) for k in range(3))
        yield list(chunk), Extracted(counts, prediction, vectors, errors)


def _rows(ids: list[str], result: Extracted, name: str, source_model: str) -> tuple[pa.Table, list[Reject]]:
    kept = np.array([i for i in range(len(ids)) if i not in result.errors], np.int64)
    columns: dict[str, pa.Array] = {
        "structure_id": pa.array([ids[i] for i in kept], pa.string()),
        "extraction_id": pa.array([name] * len(kept), pa.string()),
        "source_model": pa.array([source_model] * len(kept), pa.string()),
        **{column: pa.array(result.counts[kept, k]) for k, column in enumerate(COUNTS)},
        "prediction": pa.array(result.prediction[kept]),
    }
    for k, checkpoint in enumerate(CHECKPOINTS):
        flat = pa.array(np.ascontiguousarray(result.vectors[kept, k]).reshape(-1))
        kind = FEATURES.field(checkpoint.name).type
        columns[checkpoint.name] = pa.FixedSizeListArray.from_arrays(flat, type=kind)
        assert kind.list_size == WIDTH
    table = pa.Table.from_arrays([columns[f.name] for f in FEATURES], schema=FEATURES)
    rejects = [Reject(ids[i], error.code, str(error)) for i, error in sorted(result.errors.items())]
    return table, rejects


def _sizes(store: FeatureStore, datasets: Sequence[str]) -> tuple[int, int]:
    found = store.sql(
        "SELECT count(*), count(DISTINCT structure_id) FROM entries "
        "WHERE dataset IN (SELECT unnest(?::VARCHAR[]))",
        [list(datasets)],
    ).fetchall()
    return found[0][0], found[0][1]


def _rejected(store: FeatureStore, name: str, datasets: Sequence[str]) -> dict[str, int]:
    """Count the structures of the datasets that this extraction rejected before, by code."""
    found = store.sql(
        """
        SELECT code, count(DISTINCT id) FROM rejects
        WHERE "table" = 'features' AND extraction_id = ? AND id IN (
            SELECT structure_id FROM entries WHERE dataset IN (SELECT unnest(?::VARCHAR[]))
        )
        GROUP BY code
        """,
        [name, list(datasets)],
    )
    return dict(found.fetchall())


def _collisions(store: FeatureStore, datasets: Sequence[str]) -> dict[str, list[tuple[str, ...]]]:
    """Find the elements of each dataset that share atom features; datasets without such are left out."""
    found = store.sql(
        """
        SELECT dataset, list_distinct(flatten(list(numbers)))
        FROM entries JOIN structures USING (structure_id)
        WHERE dataset IN (SELECT unnest(?::VARCHAR[]))
        GROUP BY dataset ORDER BY dataset
        """,
        [list(datasets)],
    )
    groups = {dataset: collisions(numbers) for dataset, numbers in found.fetchall()}
    return {d: [tuple(SYMBOLS[z] for z in group) for group in g] for d, g in groups.items() if g}


def provenance(card: "SourceCard", settings: Extract) -> dict[str, str]:
    """What vectors say about where they came from."""
    return {
        "extraction_id": extraction_id(card, settings.tf32),
        "source_model": card.name,
        "weights_sha256": card.weights_sha256,
        "graph": json.dumps(card.graph.model_dump(mode="json"), sort_keys=True),
        "pooling": POOLING,
        "tf32": str(settings.tf32).lower(),
        "code_schema": str(CODE_SCHEMA),
        "backend": settings.backend,
        "compression": str(settings.compression).lower(),
        "torch": version("torch"),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
