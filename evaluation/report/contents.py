"""What the report's page says, as plain rows read from the store.

Of the test part's errors the page knows what `evaluate` wrote down. The data report counts all values of a
property, whatever their part; nothing is chosen by it.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import featurestore
from core.errors import StrataError
from core.params import Params
from etl.cards import DatasetCard, load_card
from evaluation.evaluate import current_runs
from evaluation.experiments.frames import records
from evaluation.protocol import CHOSEN, split_label
from evaluation.report.experiment_blocks import Block, blocks
from evaluation.report.class_targets import ClassTarget, class_targets
from evaluation.report.dataset_facts import DatasetFacts, data_report
from evaluation.report.held import Held, held
from evaluation.report.points import Checkpoint, Point
from evaluation.report.targets import Run, Target, first_seed, targets_of
from evaluation.rows import notes_of
from evaluation.seen import SeenLabels
from featurestore.query.feature_sets import full_name
from featurestore.query.store import FeatureStore
from featurestore.tables.maintenance import require_sound
from zoo.hub import card_path, list_models


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset's card, its counts and its targets."""

    card: DatasetCard
    entries: int
    structures: int
    targets: tuple[Target, ...]


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


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page."""

    datasets: tuple[Dataset, ...]
    runs: tuple[Run, ...]
    parity: Mapping[tuple[str, str, str], Sequence[Point]]
    rejects: tuple[Rejected, ...]
    tables: tuple[Table, ...]
    extractions: tuple[Extraction, ...]
    versions: Mapping[str, str]
    params_text: str
    row_notes: tuple[str, ...] = ()  # which rows and methods are left out of the comparison
    blocks: tuple[Block, ...] = ()  # the experiments whose results are there
    facts: tuple[DatasetFacts, ...] = ()  # what the datasets hold
    checkpoints: tuple[Checkpoint, ...] = ()  # of the source model
    classes: tuple[ClassTarget, ...] = ()  # the properties of classes
    held: tuple[Held, ...] = ()  # what became of the intervals on the test parts

    @property
    def targets(self) -> list[Target]:
        """Return the targets of all datasets."""
        return [target for dataset in self.datasets for target in dataset.targets]

    @property
    def cautions(self) -> dict[str, str]:
        """Return the words that stand beside every value of a dataset, for those that have some."""
        return {dataset.card.name: dataset.card.caution for dataset in self.datasets if dataset.card.caution}

    @property
    def splits(self) -> list[str]:
        """Return the names of the splits that were drawn, in order."""
        return sorted({run.split for run in self.runs})

    @property
    def schemes(self) -> list[str]:
        """Return the ways of splitting, in order: each has a line of its own."""
        return sorted({target.chosen.scheme for target in self.targets})

    def points_of(self, target: Target) -> Sequence[Point]:
        """Return the test points of a target; of repetitions those of the first seed, each entry once."""
        run = target.chosen
        found = [self.parity.get((run.dataset, run.prop, one.split), []) for one in first_seed(target)]
        return [point for points in found for point in points]


def gather(
    params: Params, store_root: str | Path, parity_file: Path, params_file: Path, results: Path | None = None
) -> Page:
    """Read what the page shows of `params.datasets`, and of the experiments under `results`.

    Raises `StrataError` where runs or scores are missing, naming the command that makes them.
    """
    for name in params.datasets:
        require_sound(
            store_root, ("entries", "targets", "runs", "predictions", "scores", "looks", "intervals"), name
        )
    store = featurestore.open(store_root)
    frames = {name: current_runs(store, store_root, name) for name in params.datasets}
    fitted = pd.concat(frames.values())
    looks = store.sql(
        "SELECT run_id, role, test_mae AS mae, test_mae_low AS low, test_mae_high AS high, "
        "test_r2 AS r2, test_spearman AS spearman FROM runs WHERE role IS NOT NULL"
    )
    scores = {row["run_id"]: row for row in records(looks.df())}
    seen = SeenLabels()
    runs = [
        _run(row, scores.get(row["run_id"], {}), seen) for frame in frames.values() for row in records(frame)
    ]
    runs.sort(key=lambda run: (run.dataset, run.prop, run.split, run.head, run.feature_set))
    counts = store.sql(
        "SELECT dataset, count(*), count(DISTINCT structure_id) FROM entries GROUP BY dataset"
    ).fetchall()
    by_name = {name: (entries, structures) for name, entries, structures in counts}
    formulas = store.sql(
        "SELECT dataset || '/' || entry_id, formula FROM entries JOIN structures USING (structure_id)"
    ).fetchall()
    for name in frames:
        if not any(run.role for run in runs if run.dataset == name):
            raise StrataError(f"no scores of the current runs of {name}; make them with: strata evaluate")
    parity = read_parity(parity_file, dict(formulas))
    runs = [_in_logarithms(run, store, parity) for run in runs]
    rejects = store.sql(
        "SELECT \"table\", coalesce(dataset, ''), id, code, message FROM rejects ORDER BY ALL"
    ).fetchall()
    return Page(
        datasets=tuple(
            Dataset(load_card(name), *by_name.get(name, (0, 0)), _targets(name, runs)) for name in frames
        ),
        runs=tuple(runs),
        parity=parity,
        rejects=tuple(Rejected(*row) for row in rejects),
        tables=tuple(_tables(store)),
        extractions=tuple(_extractions(store, set(fitted["extraction_id"].dropna()))),
        versions=_versions(fitted["versions"].dropna()),
        params_text=params_file.read_text(encoding="utf-8"),
        row_notes=tuple(notes_of(store, fitted)),
        blocks=blocks(results) if results is not None else (),
        facts=tuple(data_report(store_root, params.datasets, params.extract.default)),
        checkpoints=_checkpoints(store, fitted),
        classes=class_targets(store, fitted),
        held=held(store, sorted(set(fitted["run_id"]))),
    )


def _run(row: Mapping[str, Any], look: Mapping[str, Any], seen: SeenLabels) -> Run:
    return Run(
        run_id=row["run_id"],
        dataset=row["dataset"],
        prop=row["property"],
        unit=row["unit"],
        split=split_label(row["scheme"], row["seed"], row["fold"]),
        scheme=row["scheme"],
        seed=row["seed"],
        head=row["head"] or row["method"],
        feature_set=full_name(row["feature_set"], row["source_model"]),
        label=row["label"] or "",
        parts=(row["n_train"], row["n_val"], row["n_test"]),
        train_mae=row["train_mae"],
        val_mae=row["val_mae"],
        cv_mae=row["cv_mae"],
        competes=row["method"] == "features",
        seconds=row["fit_seconds"],
        seen=seen.by(row["source_model"], row["dataset"], row["property"]),
        **{name: value for name, value in look.items() if name != "run_id"},
    )


def _in_logarithms(
    run: Run, store: FeatureStore, parity: Mapping[tuple[str, str, str], Sequence[Point]]
) -> Run:
    """Add the MAE of log10 to a chosen run of a property that is learned as its logarithm."""
    facts = store.facts(run.dataset).properties.get(run.prop)
    points = parity.get((run.dataset, run.prop, run.split), [])
    if run.role != CHOSEN or facts is None or facts.transform is None or not points:
        return run
    if any(point.actual <= 0 or point.predicted <= 0 for point in points):
        return run  # a network of the target's own learns the values as they are
    errors = [abs(math.log10(point.predicted / point.actual)) for point in points]
    return replace(run, log_mae=sum(errors) / len(errors))


def _targets(dataset: str, runs: Iterable[Run]) -> tuple[Target, ...]:
    meanings = {name: item.description for name, item in load_card(dataset).properties.items()}
    return targets_of([run for run in runs if run.dataset == dataset and run.mae is not None], meanings)


def read_parity(path: Path, formulas: Mapping[str, str]) -> dict[tuple[str, str, str], list[Point]]:
    """Read what `evaluate` wrote: (dataset, property, split) → the chosen run's test points.

    `formulas` ("dataset/entry_id" → formula) adds to an entry's name what it is made of.
    """
    found: dict[tuple[str, str, str], list[Point]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                formula = formulas.get(f"{row['dataset']}/{row['entry_id']}")
                name = (
                    row["entry_id"]
                    if formula in (None, row["entry_id"])
                    else f"{row['entry_id']} ({formula})"
                )
                point = Point(name, float(row["actual"]), float(row["predicted"]))
                found.setdefault((row["dataset"], row["property"], row["split"]), []).append(point)
    except FileNotFoundError:
        raise StrataError(f"{path} is missing; make it with: strata evaluate") from None
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise StrataError(f"{path} is damaged ({error}); make it anew with: strata evaluate") from None
    return found


def _tables(store: FeatureStore) -> Iterable[Table]:
    rows = store.sql(
        "SELECT \"table\", coalesce(dataset, ''), sum(rows)::BIGINT, sum(bytes)::BIGINT, "
        "list(sha256 ORDER BY sha256), "
        '(SELECT max(version) FROM log WHERE log."table" = shards."table" '
        "AND log.dataset IS NOT DISTINCT FROM shards.dataset) "
        'FROM shards GROUP BY "table", dataset ORDER BY ALL'
    ).fetchall()
    for table, dataset, n, size, hashes, version in rows:
        yield Table(f"{table}/{dataset}" if dataset else table, version, n, size, tuple(hashes))


def _extractions(store: FeatureStore, wanted: set[str]) -> Iterable[Extraction]:
    rows = store.sql("SELECT extraction_id, source_model, structures, provenance FROM extractions").fetchall()
    for extraction_id, source_model, structures, provenance in rows:
        if extraction_id in wanted:
            facts = json.loads(provenance or "{}")
            text = "\n".join(f"{name}: {fact}" for name, fact in facts.items())
            yield Extraction(extraction_id, source_model, structures, text, _model_card(source_model))


def _checkpoints(store: FeatureStore, fitted: pd.DataFrame) -> tuple[Checkpoint, ...]:
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


def _versions(texts: Iterable[str]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for text in set(texts):
        for name, version in json.loads(text).items():
            found.setdefault(name, set()).add(str(version))
    return {name: ", ".join(sorted(found[name])) for name in sorted(found)}
