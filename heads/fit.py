"""The stage `fit`: every head on every feature set of every property and split of a dataset.

A run's id is the hash of what decides its outcome, so a run that exists is skipped and a killed `fit`
goes on where it was. Targets of the test part are never read here: `evaluate` alone does.
"""

import json
import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.metrics import mean_absolute_error

from core.atomic import clear_unfinished, whole_folder
from core.errors import StrataError, check_name
from core.params import Params
from core.progress import progress
from featurestore import current
from featurestore.query.store import FeatureStore, open_store
from featurestore.runs_import import Lenders
from featurestore.tables.layout import StoreLayout
from featurestore.tables.maintenance import require_sound
from featurestore.tables.schema import SCHEMAS
from featurestore.tables.writer import TableWriter
from heads.base import NotApplicable, takes_blocks
from heads.plan import Data, Job, composition_set, jobs_of, lacking_of, read, run_id_of
from heads.registry import HeadSpec, check_sections, resolve
from heads.summary import FitReport, Run, Skipped

COMPOSITION_HEAD = "forest"  # on `fit.composition`


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
    done: list[Run] = []
    skipped: list[Skipped] = []
    with (
        TableWriter(layout.runs(dataset), SCHEMAS["runs"], "fit") as runs,
        TableWriter(layout.predictions(dataset), SCHEMAS["predictions"], "fit") as predictions,
    ):
        known = _known_runs(store, dataset)
        clear_unfinished(layout.models(dataset))
        others = Lenders(lenders, lambda store, kind: store.table(kind, dataset))
        data, loaded = None, None
        for job in progress(jobs, f"fit {dataset}"):
            place = (job.target, job.vectors.blocks, job.split)
            if data is None or place != loaded:
                data, loaded = read(store, job), place
            run_id = run_id_of(job, data)
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
                    layout=layout,
                    runs=runs,
                    predictions=predictions,
                )
            except NotApplicable as reason:
                skipped.append(Skipped(job.target, job.spec.name, job.feature_set, job.split, str(reason)))
                continue
            done.append(run)
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
    *,
    layout: StoreLayout,
    runs: TableWriter,
    predictions: TableWriter,
) -> Run:
    """Fit one head and commit: the model first, then the predictions, and the run last."""
    job.spec.cls.import_stack()  # before the clock starts, so that the time is the fit's own
    vectors = job.spec.cls.needs_vectors
    (X, y), (X_val, y_val) = data.part("train", vectors), data.part("val", vectors)
    X_test = data.test.X if vectors else np.zeros((len(data.test), 1))
    head = job.spec.make()
    started = time.perf_counter()
    try:
        head.fit(X, y, X_val, y_val, **({"blocks": data.known.blocks} if takes_blocks(head) else {}))
        seconds = time.perf_counter() - started
        values = np.split(head.predict(np.concatenate([X, X_val, X_test])), [len(y), len(y) + len(y_val)])
    except NotApplicable:
        raise
    except StrataError as error:
        raise StrataError(f"{job.name}: {error}") from error
    except Exception as error:
        error.add_note(f"while fitting {job.name}")
        raise
    run = Run(
        run_id=run_id,
        property=job.target,
        unit=data.known.unit,
        head=job.spec.name,
        label=job.spec.label,
        feature_set=job.feature_set if vectors else None,
        source_model=data.known.source_model if vectors else None,
        split=job.split,
        n_train=len(y),
        n_val=len(y_val),
        n_test=len(data.test),
        train_mae=float(mean_absolute_error(y, values[0])),
        val_mae=float(mean_absolute_error(y_val, values[1])),
        fit_seconds=seconds,
        is_new=True,
    )
    with whole_folder(layout.models(job.dataset) / run_id) as folder:  # replaces one left by a killed fit
        head.save(folder)
    predictions.commit(run_id, _predictions(job, data, run_id, values))
    row = {
        **run.columns(),
        "method": job.method,
        "dataset": job.dataset,
        "extraction_id": data.known.extraction_id if vectors else None,
        "settings": json.dumps(dict(job.spec.settings), sort_keys=True),
        "versions": json.dumps(_versions(job.spec), sort_keys=True),
        "model_path": (layout.models(job.dataset) / run_id).relative_to(layout.root).as_posix(),
        "created_at": datetime.now(UTC),
    }
    runs.commit(run_id, pa.Table.from_pylist([row], schema=SCHEMAS["runs"]))
    return run


def _predictions(job: Job, data: Data, run_id: str, values: Sequence[np.ndarray]) -> pa.Table:
    part = data.known.part
    ids = [data.known.entry_ids[part == "train"], data.known.entry_ids[part == "val"], data.test.entry_ids]
    n = sum(map(len, ids))
    columns = {
        "run_id": [run_id] * n,
        "dataset": [job.dataset] * n,
        "property": [job.target] * n,
        "entry_id": np.concatenate(ids),
        "part": np.repeat(["train", "val", "test"], [len(rows) for rows in ids]).astype(object),
        "prediction": np.concatenate(values),
    }
    return pa.Table.from_pydict(columns, schema=SCHEMAS["predictions"])


def _versions(spec: HeadSpec) -> dict[str, str]:
    names = ["strata", "numpy", "scikit-learn", *(module for module, _ in spec.cls.stack)]
    found = {"python": platform.python_version()}
    for name in names:
        with suppress(metadata.PackageNotFoundError):  # a checkout that is run without being installed
            found[name] = metadata.version(name)
    return found


def _known_runs(store: FeatureStore, dataset: str) -> dict[str, Run]:
    """Read the runs that the store has, by id."""
    names = ", ".join(Run.stored())
    rows = store.sql(f"SELECT {names} FROM runs WHERE dataset = ?", [dataset]).fetchall()  # noqa: S608 - ours
    return {run.run_id: run for run in (Run.from_row(row) for row in rows)}
