"""One run of `fit`: its data read, its head fitted and saved; in this process or in a worker of its own.

A run comes out the same wherever it is made, so libraries that multiply matrices have one thread each.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import mean_absolute_error
from threadpoolctl import threadpool_limits

from core.errors import StrataError
from core.params import Fit
from featurestore.query.store import FeatureStore, open_store
from featurestore.tables.layout import StoreLayout
from featurestore.tables.schema import SCHEMAS
from heads.base import Head, NotApplicable, takes_blocks
from heads.fit_classes import fit_classes
from heads.folds import PLAIN, Choice, Groups, out_of_fold
from heads.on_log import OnLog, Predictor
from heads.plan import Data, Job, read, run_id_of
from heads.rows import run_of, saved
from heads.summary import Run

_worker: "Worker | None" = None  # a process has one for all its jobs, set by `start`


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a job. Without a run and a reason: it was there already, and nothing was done."""

    run_id: str
    run: Run | None = None
    predictions: pa.Table | None = None
    row: pa.Table | None = None  # of the table runs
    reason: str | None = None  # why the head is not applicable


class Worker:
    """Makes runs over one store. known: ids of runs that are not to be made."""

    def __init__(self, root: Path, settings: Fit, known: frozenset[str]) -> None:
        self._store: FeatureStore = open_store(root)
        self._layout = StoreLayout(root)
        self._settings = settings
        self._known = known
        self._groups = Groups(self._store)
        self._place: Any = None
        self._data: Data | None = None  # of the last job: jobs of the same data come one after another

    def make(self, job: Job, anew: bool = False) -> Made:
        """Fit, save the model and return what is to be committed. anew: also where the run is known."""
        if job.refused:
            return Made("", reason=job.refused)
        place = (job.target, job.vectors.blocks, job.split)
        if self._data is None or place != self._place:
            self._data, self._place = None, place  # the old one goes first
            self._data = read(self._store, job)
        # Classes are compared by the validation part: folds average numbers.
        choice = PLAIN if job.classes else Choice.of(self._settings, job.spec.cls, len(self._data.known))
        run_id = run_id_of(job, self._data, choice)
        if run_id in self._known and not anew:
            return Made(run_id)
        try:
            return _run(job, self._data, run_id, choice, self._groups, self._layout)
        except NotApplicable as reason:
            return Made(run_id, reason=str(reason))


def start(root: Path, settings: Fit, known: frozenset[str]) -> None:
    """Begin a process that makes runs by `make`."""
    global _worker  # noqa: PLW0603 - the process's own
    _worker = Worker(root, settings, known)


def make(job: Job) -> Made:
    """Make one run in a process that was begun by `start`."""
    if _worker is None:
        raise RuntimeError("start was not called")
    return _worker.make(job)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let matrix products be made as in a worker, by one thread: with more, the last bits differ."""
    with threadpool_limits(1):
        yield


def _run(
    job: Job,
    data: Data,
    run_id: str,
    choice: Choice,
    groups: Groups,
    layout: StoreLayout,
) -> Made:
    """Fit one head, save its model, and return its predictions and its run, to be committed together."""
    job.spec.cls.import_stack()  # before the clock starts, so that the time is the fit's own
    vectors = job.spec.cls.needs_vectors
    try:
        if job.classes:
            return Made(run_id, *fit_classes(job, data, run_id, layout))
        fitted = _fitted(job, data, choice, groups)
    except NotApplicable:
        raise
    except StrataError as error:
        raise StrataError(f"{job.name}: {error}") from error
    except Exception as error:
        error.add_note(f"while fitting {job.name}")
        raise
    y, y_val = data.part("train", vectors)[1], data.part("val", vectors)[1]
    run = run_of(
        job,
        data,
        run_id,
        label=" ".join(filter(None, [job.spec.label, job.transform, "refit" if choice.refit else ""])),
        train_mae=float(mean_absolute_error(y, fitted.values["train"])),
        val_mae=float(mean_absolute_error(y_val, fitted.values["val"])),
        fit_seconds=fitted.seconds,
        cv_mae=fitted.cv_mae,
        choice=choice.text,
    )
    said = _predictions(job, data, run_id, fitted.values)
    return Made(run_id, run, said, saved(job, data, run, fitted.head, layout))


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
