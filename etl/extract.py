"""The `extract` stage: every structure that has no vectors yet goes through each source model, once."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.composition import Composition
from core.params import Params
from core.progress import Meter
from core.ray_executor import OnRay
from core.structure import SYMBOLS, Structure
from etl.chunks import TASK, angles_of, cut, joined, key_of, rows_of
from etl.on_ray import shards_by_ray
from etl.parts import Part
from etl.retry import within_limits
from featurestore.query.sources import refuse_older_layout
from featurestore.query.store import FeatureStore
from featurestore.tables import log
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Reject
from featurestore.tables.schema import EXTRACTIONS, features_schema
from featurestore.tables.shards import Chunk
from featurestore.tables.vectors import read_columns
from featurestore.tables.writer import TableWriter
from zoo.backbones.base import Backbone
from zoo.backbones.engine import Extracted
from zoo.extraction import WORTH_IT, extraction_id, provenance, run_tasks
from zoo.hub import backbone_of, load_card

_STABLE = ("weights_sha256", "graph", "pooling", "tf32", "precision", "code_schema")
_ONCE = ("structure_id", "extraction_id")  # a structure has one row or one reject in an extraction
_ASK_WHY = "strata sql \"SELECT * FROM rejects WHERE code = '{}'\" says which"


@dataclass
class ExtractReport:
    """What a run of the stage did.

    `rejected` counts by code, in this run and before; `collisions` by dataset: elements with one feature row.
    Where `part` was run, `unique`, `extracted` and `rejected` are those of the part.
    """

    extraction_id: str
    source_model: str
    entries: int
    unique: int
    extracted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    collisions: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    seconds: float = 0.0
    part: Part | None = None
    tried_again: int = 0  # that were too large under an earlier limit

    def count(self, extracted: int, rejects: Sequence[Reject]) -> None:
        """Count what was committed."""
        self.extracted += extracted
        for reject in rejects:
            self.rejected[reject.code] = self.rejected.get(reject.code, 0) + 1

    def __str__(self) -> str:
        there = self.unique - self.extracted - sum(self.rejected.values())
        did = f"{self.extracted:,} structures extracted, {there:,} were there already"
        lines = [f"extraction {self.extraction_id} of {self.source_model}: {did}"]
        if self.part is None:
            saved = f"{self.entries - self.unique:,} runs saved"
            lines.append(f"{self.entries:,} entries share {self.unique:,} structures: {saved}")
        else:
            lines.append(f"part {self.part}: {self.unique:,} structures; the others are left to other parts")
        if self.tried_again:
            lines.append(f"{self.tried_again:,} that were too large for an earlier limit were tried again")
        for code, count in sorted(self.rejected.items()):
            lines.append(f"rejected, {code}: {count:,}; {_ASK_WHY.format(code)}")
        for dataset, groups in self.collisions.items():
            pairs = ", ".join(" = ".join(group) for group in groups)
            lines.append(f"{dataset}: {pairs} share one feature row; no vector tells them apart")
        return "\n".join(lines)


def extract(
    params: Params,
    store_root: str | Path,
    source_models: Sequence[str] | None = None,
    part: Part | None = None,
) -> list[ExtractReport]:
    """Extract what the datasets of `params` lack, by each of `source_models` (default: all in the params).

    part: only the structures in it; any number of processes may work on parts of one store at once. Without
    it the writer asks to be alone, since two would compute the same.

    Committed chunks survive anything and are not run again. Raises `StrataError` for an unknown dataset or
    source model, damaged weights, or a store that another process is writing to.
    """
    names = params.extract.source_models if source_models is None else source_models
    return [_extract(params, Path(store_root), name, part) for name in names]


def _extract(params: Params, store_root: Path, source_model: str, part: Part | None) -> ExtractReport:
    settings = params.extract
    card = load_card(source_model)
    backbone = backbone_of(card, settings.backbones)
    name = extraction_id(card, settings.precision)
    facts = provenance(card, settings)
    layout = StoreLayout(store_root)
    schema = features_schema(backbone.counts, backbone.checkpoints)
    refuse_older_layout(layout)
    with (
        TableWriter(layout.extractions(source_model), EXTRACTIONS, "extract") as described,
        TableWriter(
            layout.features(source_model), schema, "extract", alone=part is None, once=_ONCE
        ) as writer,
    ):
        describe(described, backbone, facts, is_default=source_model == settings.default)
        if source_model == settings.default:
            _withdraw_other_defaults(layout, source_model)
        again = within_limits(writer.shards, name, backbone)
        if part is not None:
            again = {structure_id for structure_id in again if part.holds(structure_id)}
        writer.retract(again)
        # Opened after the writer: what somebody adds later, the writer sees when it commits.
        store = FeatureStore(store_root)
        entries, unique = _sizes(store, params.datasets, part)
        rejected = _rejected(store, name, params.datasets, part)
        report = ExtractReport(
            name, card.name, entries, unique, rejected=rejected, part=part, tried_again=len(again)
        )
        report.collisions = _collisions(store, backbone, params.datasets)
        missing = store.missing(name, params.datasets)["structure_id"].to_pylist()
        if part is not None:
            missing = [structure_id for structure_id in missing if part.holds(structure_id)]
        on_ray = settings.engine == "ray" and OnRay.count(settings.workers, len(missing), WORTH_IT) != 0
        with Meter(f"extract {source_model}", len(missing)) as meter:
            if on_ray:
                for shard in shards_by_ray(store.path, missing, params.extract, source_model, meter):
                    if writer.commit_shard(shard):
                        report.count(shard.rows, shard.rejects)
            else:
                for ids, result in _extracted(store, missing, params, source_model, meter):
                    table, rejects = rows_of(ids, result, schema, name, card.name)
                    # False: another process has done the same meanwhile.
                    if writer.commit(key_of(name, ids), table, rejects, facts):
                        report.count(len(table), rejects)
        report.seconds = meter.seconds
    return report


def describe(writer: TableWriter, backbone: Backbone, facts: Mapping[str, str], *, is_default: bool) -> None:
    """Keep the row that says what the vectors of a source model are, and which extraction is meant now.

    facts: the provenance of the vectors. What it says of the machine is left out: that stands with every
    shard.
    """
    stable = {key: facts[key] for key in _STABLE if key in facts}
    row = {
        "source_model": facts["source_model"],
        "extraction_id": facts["extraction_id"],
        "backbone": backbone.name,
        "is_default": is_default,
        "counts": list(backbone.counts),
        "checkpoints": [checkpoint._asdict() for checkpoint in backbone.checkpoints],
        "provenance": json.dumps(stable, sort_keys=True),
    }
    keep_description(writer, row)


def keep_description(writer: TableWriter, row: Mapping[str, Any]) -> None:
    """Let a table `extractions` hold this one row."""
    key = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    writer.replace({key: Chunk(pa.Table.from_pylist([row], schema=EXTRACTIONS))})


def _withdraw_other_defaults(layout: StoreLayout, source_model: str) -> None:
    """Let one source model alone be the default, also where the params no longer name the one before it."""
    for folder in layout.tables("extractions"):
        if layout.source_of(folder) == source_model:
            continue
        for path in log.snapshot(folder).paths[-1:]:
            (row,) = read_columns(path, EXTRACTIONS.names).to_pylist()
            if row["is_default"]:
                with TableWriter(folder, EXTRACTIONS, "extract") as writer:
                    keep_description(writer, row | {"is_default": False})


def _extracted(
    store: FeatureStore, missing: Sequence[str], params: Params, source_model: str, meter: Meter
) -> Iterator[tuple[Sequence[str], Extracted]]:
    """Run the chunks of `missing`, one shard's worth each; memory holds one chunk, however many there are."""
    chunks = cut(missing, params.extract.chunk)

    def tasks() -> Iterator[list[Structure | Composition]]:
        for chunk in chunks:
            yield from map(list, cut(store.structures(chunk), TASK))

    results = run_tasks(source_model, tasks(), params.extract, len(missing))
    for chunk in chunks:
        parts: list[Extracted] = []
        for ids in cut(chunk, TASK):
            part = next(results)
            meter.advance(len(ids), angles=angles_of(part), rejects=len(part.errors))
            parts.append(part)
        yield chunk, joined(parts)


def _sizes(store: FeatureStore, datasets: Sequence[str], part: Part | None) -> tuple[int, int]:
    """Count the entries of the datasets, and their structures, or those of them that are in a part."""
    chosen = "FROM entries WHERE dataset IN (SELECT unnest(?::VARCHAR[]))"
    asked = [list(datasets)]
    ((entries,),) = store.sql(f"SELECT count(*) {chosen}", asked).fetchall()
    ids = [name for (name,) in store.sql(f"SELECT DISTINCT structure_id {chosen}", asked).fetchall()]
    return entries, len(ids) if part is None else sum(map(part.holds, ids))


def _rejected(store: FeatureStore, name: str, datasets: Sequence[str], part: Part | None) -> dict[str, int]:
    """Count the structures of the datasets, or of a part of them, that this extraction rejected, by code."""
    found = store.sql(
        """
        SELECT DISTINCT code, id FROM rejects
        WHERE "table" = 'features' AND extraction_id = ? AND id IN (
            SELECT structure_id FROM entries WHERE dataset IN (SELECT unnest(?::VARCHAR[]))
        )
        """,
        [name, list(datasets)],
    )
    return dict(Counter(code for code, one in found.fetchall() if part is None or part.holds(one)))


def _collisions(
    store: FeatureStore, backbone: Backbone, datasets: Sequence[str]
) -> dict[str, list[tuple[str, ...]]]:
    """Find the elements of each dataset that the network cannot tell apart; datasets without are left out."""
    found = store.sql(
        """
        SELECT dataset, list_distinct(flatten(list(numbers)))
        FROM entries JOIN structures USING (structure_id)
        WHERE dataset IN (SELECT unnest(?::VARCHAR[]))
        GROUP BY dataset ORDER BY dataset
        """,
        [list(datasets)],
    )
    groups = {dataset: backbone.collisions(numbers) for dataset, numbers in found.fetchall()}
    return {d: [tuple(SYMBOLS[z] for z in group) for group in g] for d, g in groups.items() if g}
