"""The stage `fit`: every head on every feature set of every property and split of a dataset.

A run's id is the hash of what decides its outcome, so a run that exists is skipped and a killed `fit`
goes on where it was. Targets of the test part are never read here: `evaluate` alone does.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.metrics import mean_absolute_error

from core.atomic import clear_unfinished, whole_folder
from core.checksums import write_checksums
from core.errors import StrataError, check_name
from core.params import Params
from core.progress import progress
from featurestore import current
from featurestore.query.store import FeatureStore, open_store
from featurestore.runs_import import Lenders
from featurestore.tables.layout import StoreLayout
from featurestore.tables.maintenance import require_sound, schema_of
from featurestore.tables.schema import SCHEMAS, completed, widest
from featurestore.tables.transactions import Together
from featurestore.tables.writer import TableWriter
from heads.base import Head, NotApplicable, takes_blocks
from heads.committee import form
from heads.fit_classes import fit_classes
from heads.folds import PLAIN, Choice, Groups, out_of_fold
from heads.on_log import OnLog, Predictor
from heads.plan import Data, Job, composition_set, jobs_of, lacking_of, read, run_id_of
from heads.registry import check_sections, resolve
from heads.rows import row_of
from heads.summary import FitReport, Run, Skipped

COMPOSITION_HEAD = "forest"  # on `fit.composition`
_KEEP_EVERY = 30.0  # seconds of work that a kill may lose


def fit(
    dataset: str, params: Params, store_root: str | Path = "store", lenders: Sequence[Path] = ()
) -> FitReport:
    """Fit what `params.fit` asks of `dataset`, keep runs, predictions and models, and say what was done.

    Writes `store/runs/<dataset>`: the tables runs and predictions, models/<run_id>/, and the ids of
    the runs that are asked for now, in current.json; runs asked for earlier stay as history. A run that
    one of the stores `lenders` has is copied from there.

    Raises `StrataError` for unknown names and settings, and where vectors or splits are missing.
    """
    check_name(dataset, "dataset")
    check_sections(params.heads)
    specs = [resolve(name, params.heads) for name in params.fit.heads]
    store = open_store(store_root)
    require_sound(store_root, ("entries", "targets", "splits", "features"), dataset)  # DVC does not look
    composition = composition_set(store, params)
    baseline = None if composition is None else (composition, resolve(COMPOSITION_HEAD, params.heads))
    jobs = list(jobs_of(store, dataset, params, specs, baseline))
    layout = StoreLayout(Path(store_root))
    # A table that has labels keeps them, also those of properties that are no longer asked for.
    schema = schema_of("predictions", layout.predictions(dataset))
    if any(job.classes for job in jobs):
        schema = widest("predictions")
    done: list[Run] = []
    skipped: list[Skipped] = []
    with (
        TableWriter(layout.runs(dataset), SCHEMAS["runs"], "fit", alone=True) as runs,
        TableWriter(layout.predictions(dataset), schema, "fit", alone=True) as predictions,
        Together(predictions, runs, joined=True) as batch,
    ):
        known = _known_runs(store, dataset)
        clear_unfinished(layout.models(dataset))
        others = Lenders(lenders, lambda store, kind: store.table(kind, dataset))
        data, loaded, groups = None, None, Groups(store)
        for job in progress(jobs, f"fit {dataset}"):
            batch.keep(_KEEP_EVERY)
            if job.refused:
                skipped.append(Skipped(job.target, job.spec.name, job.feature_set, job.split, job.refused))
                continue
            place = (job.target, job.vectors.blocks, job.split)
            if data is None or place != loaded:
                data, loaded = read(store, job), place
            # Classes are compared by the validation part: folds average numbers.
            choice = PLAIN if job.classes else Choice.of(params.fit, job.spec.cls, len(data.known))
            run_id = run_id_of(job, data, choice)
            if run_id in runs.committed and run_id in known:
                done.append(known[run_id])
                continue
            if row := others.lend(run_id, layout.root, predictions, runs):
                done.append(Run.from_row([row[name] for name in Run.stored()]))
                continue
            try:
                run = _run(
                    job,
                    data,
                    run_id,
                    choice,
                    groups,
                    layout=layout,
                    runs=runs,
                    predictions=predictions,
                )
            except NotApplicable as reason:
                skipped.append(Skipped(job.target, job.spec.name, job.feature_set, job.split, str(reason)))
                continue
            done.append(run)
        if params.fit.committee is not None:
            batch.commit()
            now = open_store(store_root)  # with the runs that were kept since
            done += form(now, dataset, done, params.fit.committee, runs, predictions)
        batch.commit()
        current.write(layout.runs(dataset), [run.run_id for run in done])
    return FitReport(
        dataset,
        tuple(done),
        tuple(skipped),
        lacking_of(store, dataset, jobs),
        params.fit.composition if composition is None else None,
    )


def _run(
    job: Job,
    data: Data,
    run_id: str,
    choice: Choice,
    groups: Groups,
    *,
    layout: StoreLayout,
    runs: TableWriter,
    predictions: TableWriter,
) -> Run:
    """Fit one head, save its model, and give its predictions and its run to be committed together."""
    job.spec.cls.import_stack()  # before the clock starts, so that the time is the fit's own
    vectors = job.spec.cls.needs_vectors
    try:
        if job.classes:
            return fit_classes(job, data, run_id, layout=layout, runs=runs, predictions=predictions)
        fitted = _fitted(job, data, choice, groups)
    except NotApplicable:
        raise
    except StrataError as error:
        raise StrataError(f"{job.name}: {error}") from error
    except Exception as error:
        error.add_note(f"while fitting {job.name}")
        raise
    y, y_val = data.part("train", vectors)[1], data.part("val", vectors)[1]
    run = Run(
        run_id=run_id,
        property=job.target,
        unit=data.known.unit,
        head=job.spec.name,
        label=" ".join(filter(None, [job.spec.label, job.transform, "refit" if choice.refit else ""])),
        feature_set=job.feature_set if vectors else None,
        source_model=data.known.source_model if vectors else None,
        split=job.split,
        n_train=len(y),
        n_val=len(y_val),
        n_test=len(data.test),
        train_mae=float(mean_absolute_error(y, fitted.values["train"])),
        val_mae=float(mean_absolute_error(y_val, fitted.values["val"])),
        fit_seconds=fitted.seconds,
        is_new=True,
        cv_mae=fitted.cv_mae,
        choice=choice.text,
    )
    with whole_folder(layout.models(job.dataset) / run_id) as folder:  # replaces one left by a killed fit
        fitted.head.save(folder)
        model_sha256 = write_checksums(folder)
    predictions.commit(run_id, completed(_predictions(job, data, run_id, fitted.values), predictions.schema))
    runs.commit(run_id, row_of(job, data, run, layout, model_sha256))
    return run


@dataclass(frozen=True, slots=True)
class _Fitted:
    """The head that is kept, and predictions (n,) by part; those of val and oof saw none of their rows."""

    head: Head | OnLog
    values: dict[str, np.ndarray]
    cv_mae: float | None
    seconds: float


def _fitted(job: Job, data: Data, choice: Choice, groups: Groups) -> _Fitted:
    """Fit a head to the training part, and as `choice` says over folds and to train + validation."""
    vectors = job.spec.cls.needs_vectors
    (X, y), (X_val, y_val) = data.part("train", vectors), data.part("val", vectors)
    X_test = data.test.X if vectors else np.zeros((len(data.test), 1))
    more = {"blocks": data.known.blocks} if takes_blocks(job.spec.make()) else {}
    started = time.perf_counter()
    head = job.make().fit(X, y, X_val, y_val, **more)
    values = {"val": head.predict(X_val)}
    cv_mae = None
    every, targets = data.known.X, data.known.y
    if choice.cv and targets is not None:

        def fit_to(rows: np.ndarray, watched: np.ndarray | None) -> Predictor:
            stop = () if watched is None else (every[watched], targets[watched])
            return job.make().fit(every[rows], targets[rows], *stop, **more)

        together = groups.of(job.split.scheme, data.known.structure_ids.tolist())
        stops = not job.spec.cls.shallow
        values["oof"], cv_mae = out_of_fold(every, targets, together, choice, fit_to, stops)
    if choice.refit and targets is not None:
        head = job.make().fit(every, targets, **more)
    seconds = time.perf_counter() - started
    values |= {"train": head.predict(X), "test": head.predict(X_test) if len(X_test) else np.empty(0)}
    return _Fitted(head, values, cv_mae, seconds)


def _predictions(job: Job, data: Data, run_id: str, values: Mapping[str, np.ndarray]) -> pa.Table:
    known, part = data.known.entry_ids, data.known.part
    of = {
        "train": known[part == "train"],
        "val": known[part == "val"],
        "test": data.test.entry_ids,
        "oof": known,
    }
    parts = [name for name in of if name in values]
    ids = [of[name] for name in parts]
    n = sum(map(len, ids))
    columns = {
        "run_id": [run_id] * n,
        "dataset": [job.dataset] * n,
        "property": [job.target] * n,
        "entry_id": np.concatenate(ids),
        "part": np.repeat(parts, [len(rows) for rows in ids]).astype(object),
        "prediction": np.concatenate([values[name] for name in parts]),
    }
    return pa.Table.from_pydict(columns, schema=SCHEMAS["predictions"])


def _known_runs(store: FeatureStore, dataset: str) -> dict[str, Run]:
    """Read the runs that the store has, by id."""
    names = ", ".join(Run.stored())
    rows = store.sql(f"SELECT {names} FROM runs WHERE dataset = ?", [dataset]).fetchall()  # noqa: S608 - ours
    return {run.run_id: run for run in (Run.from_row(row) for row in rows)}
