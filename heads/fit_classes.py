"""Heads fitted to classes: probabilities of every label for every entry, compared by log loss."""

import math
import time

import numpy as np
import pyarrow as pa
from sklearn.metrics import log_loss

from core.errors import StrataError
from featurestore.tables.layout import StoreLayout
from featurestore.tables.schema import widest
from heads.plan import Data, Job
from heads.rows import run_of, saved
from heads.summary import Run


def fit_classes(job: Job, data: Data, run_id: str, layout: StoreLayout) -> tuple[Run, pa.Table, pa.Table]:
    """Fit one head to the training part and save it; return its run, its probabilities and the run's row.

    The targets are codes, places in `job.classes`. Raises `NotApplicable` where the head has nothing to say.
    """
    vectors, count = job.spec.cls.needs_vectors, len(job.classes)
    (X, y), (X_val, y_val) = data.part("train", vectors), data.part("val", vectors)
    X_test = data.test.X if vectors else np.zeros((len(data.test), 1))
    started = time.perf_counter()
    head = job.spec.make().fit(X, y, X_val, y_val)
    give = getattr(head, "predict_proba", None)
    if give is None:
        raise StrataError(f"{job.spec.name} says that it predicts classes, and has no predict_proba")
    values = {"train": give(X, count), "val": give(X_val, count)}
    seconds = time.perf_counter() - started
    values["test"] = give(X_test, count) if len(X_test) else np.empty((0, count))
    run = run_of(
        job,
        data,
        run_id,
        label=job.spec.label,
        train_mae=math.nan,
        val_mae=math.nan,
        fit_seconds=seconds,
        train_log_loss=_loss(y, values["train"]),
        val_log_loss=_loss(y_val, values["val"]),
    )
    part = np.asarray(data.known.part)
    ids = {"train": data.known.entry_ids[part == "train"], "val": data.known.entry_ids[part == "val"]}
    ids["test"] = data.test.entry_ids
    tables = [_rows(job, run_id, name, ids[name], values[name]) for name in values]
    said = pa.concat_tables(tables).combine_chunks()
    return run, said, saved(job, data, run, head, layout)


def _loss(codes: np.ndarray, chances: np.ndarray) -> float:
    return float(log_loss(codes.astype(int), chances, labels=range(chances.shape[1])))


def _rows(job: Job, run_id: str, part: str, ids: np.ndarray, chances: np.ndarray) -> pa.Table:
    """Return a row for each entry and class: its probability (n, classes)."""
    count = len(job.classes)
    n = len(ids) * count
    columns = {
        "run_id": [run_id] * n,
        "dataset": [job.dataset] * n,
        "property": [job.target] * n,
        "entry_id": np.repeat(ids, count).astype(object),
        "part": [part] * n,
        "prediction": chances.ravel(),
        "label": list(job.classes) * len(ids),
    }
    return pa.Table.from_pydict(columns, schema=widest("predictions"))
