"""What the report's page says, as plain rows read from the store.

Of the test part's errors the page knows what `evaluate` wrote down. The data report counts all values of a
property, whatever their part; nothing is chosen by it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import featurestore
from core.errors import StrataError
from core.params import Params
from etl.cards import DatasetCard, load_card
from evaluation.current_runs import current_runs
from evaluation.experiments.frames import records
from evaluation.learning import FILE as LEARNING
from evaluation.learning import Rung
from evaluation.neighbours import FILE as NEIGHBOURS
from evaluation.neighbours import Neighbour
from evaluation.protocol import CHOSEN, split_label
from evaluation.report.answers import Answer, ClassAnswer, answers, class_answers
from evaluation.report.checkpoint_svg import Checkpoint
from evaluation.report.class_targets import class_targets
from evaluation.report.dataset_facts import DatasetFacts, data_report
from evaluation.report.details import Details, details
from evaluation.report.experiment_blocks import Block, blocks
from evaluation.report.held import held
from evaluation.report.leaks import LeakFinder
from evaluation.report.more_values import curves
from evaluation.report.points import Point
from evaluation.report.provenance import (
    Extraction,
    Rejected,
    Table,
    checkpoints_of,
    extractions_of,
    rejects_of,
    tables_of,
    versions_of,
)
from evaluation.report.searched import searched, tried
from evaluation.report.targets import Run, Target, first_seed, targets_of
from evaluation.report.tested import Place, base_errors, read_parity, tested_entries
from evaluation.rows import notes_of
from evaluation.rows_file import read_rows
from evaluation.seen import SeenLabels
from evaluation.statistics import paired_change
from featurestore.query.feature_sets import full_name
from featurestore.query.store import FeatureStore
from featurestore.tables.maintenance import require_sound

Key = tuple[str, str]  # dataset, property
MOST_DRAWN = 2_000_000  # entries of all resamples of a target: bounds the time


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset's card and its counts."""

    card: DatasetCard
    entries: int
    structures: int


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page."""

    datasets: tuple[Dataset, ...]
    answers: tuple[Answer, ...]
    details: Mapping[Key, Details]
    runs: tuple[Run, ...]
    parity: Mapping[Place, Sequence[Point]]
    rejects: tuple[Rejected, ...]
    tables: tuple[Table, ...]
    extractions: tuple[Extraction, ...]
    versions: Mapping[str, str]
    params_text: str
    row_notes: tuple[str, ...] = ()  # which rows and methods are left out of the comparison
    blocks: tuple[Block, ...] = ()  # the experiments whose results are there
    facts: tuple[DatasetFacts, ...] = ()  # what the datasets hold
    checkpoints: tuple[Checkpoint, ...] = ()  # of the source models
    classes: tuple[ClassAnswer, ...] = ()  # the properties of classes
    training: Mapping[str, str] = field(default_factory=dict)  # source model → what it was trained on

    @property
    def targets(self) -> list[Target]:
        """Return the targets of all datasets, those of further ways of splitting among them."""
        return [target for one in self.answers for target in (one.target, *one.others)]

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
        """Return the ways of splitting, in order."""
        return sorted({run.scheme for run in self.runs})

    def points_of(self, target: Target) -> Sequence[Point]:
        """Return the test points of a target; of repetitions those of the first seed, each entry once."""
        return [point for place in _places(target) for point in self.parity.get(place, ())]


def gather(
    params: Params, store_root: str | Path, parity_file: Path, params_file: Path, results: Path | None = None
) -> Page:
    """Read what the page shows of `params.datasets`, and of the experiments under `results`.

    The other files that `evaluate` writes for the page lie beside `parity_file`. Raises `StrataError` where
    runs or scores are missing, naming the command that makes them.
    """
    for name in params.datasets:
        require_sound(
            store_root, ("entries", "targets", "runs", "predictions", "scores", "looks", "intervals"), name
        )
    store = featurestore.open(store_root)
    frames = {name: current_runs(store, store_root, name) for name in params.datasets}
    fitted = pd.concat(frames.values())
    runs = _runs(store, fitted)
    for name in frames:
        if not any(run.role for run in runs if run.dataset == name):
            raise StrataError(f"no scores of the current runs of {name}; make them with: strata evaluate")
    formulas = store.sql(
        "SELECT dataset || '/' || entry_id, formula FROM entries JOIN structures USING (structure_id) "
        "WHERE dataset IN (SELECT unnest(?::VARCHAR[]))",
        [list(frames)],
    ).fetchall()
    parity = read_parity(parity_file, dict(formulas))
    logs = {name: _logarithms(store, name) for name in frames}
    runs = [_in_logarithms(run, logs[run.dataset], parity) for run in runs]
    run_ids = sorted(set(fitted["run_id"]))
    base = base_errors(store, run_ids)
    targets = [_paired(target, parity, base) for name in frames for target in _targets(name, runs)]
    schemes = params.split.schemes
    found = answers(targets, held(store, run_ids), parity, schemes)
    made = blocks(results) if results is not None else ()
    finder = LeakFinder(store, [place for one in found for place in _places(one.target)])
    counts = store.sql("SELECT dataset, count(*), count(DISTINCT structure_id) FROM entries GROUP BY dataset")
    by_name = {name: (entries, structures) for name, entries, structures in counts.fetchall()}
    beside = parity_file.parent
    return Page(
        datasets=tuple(Dataset(load_card(name), *by_name.get(name, (0, 0))) for name in frames),
        answers=found,
        details=_details(store, found, runs, parity, made, finder, run_ids, beside, logs),
        runs=tuple(runs),
        parity=parity,
        rejects=rejects_of(store),
        tables=tuple(tables_of(store)),
        extractions=tuple(extractions_of(store, set(fitted["extraction_id"].dropna()))),
        versions=versions_of(fitted["versions"].dropna()),
        params_text=params_file.read_text(encoding="utf-8"),
        row_notes=tuple(notes_of(store, fitted)),
        blocks=made,
        facts=tuple(data_report(store_root, params.datasets, params.extract.default)),
        checkpoints=checkpoints_of(store, fitted),
        classes=class_answers(class_targets(store, fitted), schemes),
        training={name: data.described for name, data in finder.training.items()},
    )


def _details(
    store: FeatureStore,
    found: Sequence[Answer],
    runs: Sequence[Run],
    parity: Mapping[Place, Sequence[Point]],
    made: Sequence[Block],
    finder: LeakFinder,
    run_ids: Sequence[str],
    beside: Path,
    logs: Mapping[str, Set[str]],
) -> dict[Key, Details]:
    entries = tested_entries(store, parity, run_ids)
    near: dict[Place, list[Neighbour]] = {}
    for one in read_rows(beside / NEIGHBOURS, Neighbour):
        near.setdefault((one.dataset, one.property, one.split), []).append(one)
    learned = {
        answer.key: (
            [place[2] for place in _places(answer.target)],
            answer.run.unit,
            sum(answer.run.parts[:2]),
        )
        for answer in found
    }
    learning = curves(read_rows(beside / LEARNING, Rung), made, learned)
    layers, competed = searched(runs), tried(runs)
    values = _values(store, list(logs))
    whole: dict[Key, Details] = {}
    for answer in found:
        places = [place for place in _places(answer.target) if place in parity]
        if not places:
            continue
        dataset, prop = answer.key
        rows = pd.concat([entries[place] for place in places], ignore_index=True)
        whole[answer.key] = details(
            answer,
            rows,
            [point for place in places for point in parity[place]],
            near=[one for place in places for one in near.get(place, ())],
            curve=learning.get(answer.key),
            layers=layers.get(answer.key, {}),
            tried=competed.get(answer.key, ()),
            values=values[answer.key],
            log=prop in logs[dataset],
            leaks=finder.find(rows, places, _sources(answer.run, runs)),
        )
    return whole


def _values(store: FeatureStore, datasets: Sequence[str]) -> dict[Key, np.ndarray]:
    """Return all values of every property of some datasets."""
    query = "SELECT dataset, property, value FROM targets WHERE dataset IN (SELECT unnest(?::VARCHAR[]))"
    rows = store.sql(query, [datasets]).df()
    return {
        (str(dataset), str(prop)): own["value"].to_numpy()
        for (dataset, prop), own in rows.groupby(["dataset", "property"])
    }


def _places(target: Target) -> list[Place]:
    """Return where the test entries of a target lie; of repetitions those of the first seed."""
    return [(one.dataset, one.prop, one.split) for one in first_seed(target)]


def _sources(chosen: Run, runs: Iterable[Run]) -> list[str]:
    """Return the source models that a property's chosen run reads."""
    place = (CHOSEN, chosen.dataset, chosen.prop, chosen.scheme)
    own = [run.sources for run in runs if (run.role, run.dataset, run.prop, run.scheme) == place]
    return sorted({name for names in own for name in names})


def _paired(
    target: Target, parity: Mapping[Place, Sequence[Point]], base: Mapping[Place, Mapping[str, float]]
) -> Target:
    """Add the interval of the error over Base's, of a target that was split once."""
    place = (target.chosen.dataset, target.chosen.prop, target.chosen.split)
    of_base = base.get(place, {})
    points = [point for point in parity.get(place, ()) if point.entry_id in of_base]
    if target.repeated or not points:
        return target
    errors = [abs(point.predicted - point.actual) for point in points]
    resamples = min(1000, max(MOST_DRAWN // len(points), 100))
    ends = paired_change([of_base[point.entry_id] for point in points], errors, resamples)
    low, high = (None if end is None else 1 + end / 100 for end in ends)
    return replace(target, paired=(low, high))


def _runs(store: FeatureStore, fitted: pd.DataFrame) -> list[Run]:
    looks = store.sql(
        "SELECT run_id, role, test_mae AS mae, test_mae_low AS low, test_mae_high AS high, "
        "test_r2 AS r2, test_spearman AS spearman FROM runs WHERE role IS NOT NULL"
    )
    scores = {row["run_id"]: row for row in records(looks.df())}
    seen = SeenLabels()
    runs = [_run(row, scores.get(row["run_id"], {}), seen) for row in records(fitted)]
    return sorted(runs, key=lambda run: (run.dataset, run.prop, run.split, run.head, run.feature_set))


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
        sources=tuple((row["source_model"] or "").split("+")) if row["source_model"] else (),
        **{name: value for name, value in look.items() if name != "run_id"},
    )


def _logarithms(store: FeatureStore, dataset: str) -> frozenset[str]:
    """Return the properties of a dataset that are learned as their logarithms."""
    facts = store.facts(dataset).properties
    return frozenset(name for name, item in facts.items() if item.transform is not None)


def _in_logarithms(run: Run, logs: Set[str], parity: Mapping[Place, Sequence[Point]]) -> Run:
    """Add the MAE of log10 to a chosen run of a property that is learned as its logarithm."""
    points = parity.get((run.dataset, run.prop, run.split), [])
    if run.role != CHOSEN or run.prop not in logs or not points:
        return run
    if any(point.actual <= 0 or point.predicted <= 0 for point in points):
        return run  # a network of the target's own learns the values as they are
    errors = [abs(math.log10(point.predicted / point.actual)) for point in points]
    return replace(run, log_mae=sum(errors) / len(errors))


def _targets(dataset: str, runs: Iterable[Run]) -> tuple[Target, ...]:
    meanings = {name: item.description for name, item in load_card(dataset).properties.items()}
    return targets_of([run for run in runs if run.dataset == dataset and run.mae is not None], meanings)
