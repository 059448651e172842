"""The stage `finetune`: ALIGNNs of a target's own, from random weights and from the source model's.

As in `fit`, a run's id is the hash of what decides its outcome, so a run that exists is skipped; a training
that was killed goes on from its checkpoint (under store/.training). Test targets are never read.
"""

import json
import platform
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.atomic import clear_unfinished
from core.errors import StrataError, check_name, unknown
from core.params import Finetune, Params
from featurestore import FeatureStore, SplitKey, StoreLayout, TableWriter, current, open_store
from featurestore.runs_import import Lenders
from featurestore.tables.maintenance import require_sound
from featurestore.tables.models import model_folder, sealed
from featurestore.tables.schema import SCHEMAS
from featurestore.tables.transactions import Together
from zoo.training.data import Rows
from zoo.training.run import Ask, Job, Learned, checkpoint_of, key_of, sha
from zoo.training.trained import write_history
from zoo.training.workers import run_trainings


@dataclass(frozen=True, slots=True)
class Done:
    """One property of one training; MAE in `unit`."""

    run_id: str
    method: str
    property: str
    unit: str
    split: SplitKey
    epochs: int
    best_epoch: int
    train_mae: float
    val_mae: float
    seconds: float
    is_new: bool
    source: str | None = None


def finetune(
    dataset: str,
    params: Params,
    store_root: str | Path = "store",
    plots: Path | None = None,
    lenders: Sequence[Path] = (),
) -> list[Done]:
    """Train what `params.finetune` asks of a dataset, keep runs, predictions and models.

    Writes `store/finetune/<dataset>`; with `plots` also one curve per run there. A training that one
    of the stores `lenders` has is copied from there. Raises `StrataError` for unknown names, a constant
    target, and a training that diverges.
    """
    check_name(dataset, "dataset")
    require_sound(store_root, ("entries", "targets", "splits", "structures"), dataset)  # DVC does not look
    store = open_store(store_root)
    asks = list(_asked(store, dataset, params))
    done = train_all(store, dataset, asks, lenders=lenders)
    runs = store.layout.trained("runs", dataset)
    current.write(runs, {run.run_id for run in done} | _valid_by_hand(store, dataset))
    if plots is not None:
        write_plots(store.layout, dataset, done, plots / check_name(dataset, "dataset"))
    return done


def train_one(ask: Ask, store_root: str | Path = "store", seconds: float | None = None) -> list[Done]:
    """Train by hand: the runs join those that `evaluate` looks at, as long as the data and the split stay.

    Raises `zoo.training.loop.Paused` when `seconds` are over; the same call goes on.
    """
    store = open_store(store_root)
    done = train_all(store, ask.dataset, [ask], seconds)
    runs = store.layout.trained("runs", ask.dataset)
    current.write(runs, (current.read(runs) or set()) | {run.run_id for run in done})
    asked = {run.run_id: _as_json(ask) for run in done}
    current.write_by_hand(runs, current.read_by_hand(runs) | asked)
    return done


def _valid_by_hand(store: FeatureStore, dataset: str) -> set[str]:
    """Return the runs that were trained by hand and would come out the same: what they read is unchanged."""
    asked = current.read_by_hand(store.layout.trained("runs", dataset))
    stored, valid = _stored(store, dataset), set()
    for run_id, facts in asked.items():
        ask = _from_json(facts)
        try:
            job = Job(ask, key_of(store, ask))
        except StrataError:  # its property, split or source model is gone
            continue
        if run_id in stored and run_id in _ids(job):
            valid.add(run_id)
    return valid


def _as_json(ask: Ask) -> dict[str, Any]:
    return {**asdict(ask), "split": list(ask.split), "settings": ask.settings.model_dump(mode="json")}


def _from_json(facts: dict[str, Any]) -> Ask:
    split, settings = SplitKey(*facts["split"]), Finetune.model_validate(facts["settings"])
    return Ask(**facts | {"properties": tuple(facts["properties"]), "split": split, "settings": settings})


def train_all(
    store: FeatureStore,
    dataset: str,
    asks: Sequence[Ask],
    seconds: float | None = None,
    lenders: Sequence[Path] = (),
) -> list[Done]:
    """Do the trainings that neither this store nor a lender has, as many at a time as `workers` says.

    Returns the runs in the order of `asks`. See `zoo.training.workers.run_trainings` for what is raised.
    """
    layout = store.layout
    with (
        TableWriter(layout.trained("runs", dataset), SCHEMAS["runs"], "finetune", alone=True) as runs,
        TableWriter(
            layout.trained("predictions", dataset), SCHEMAS["predictions"], "finetune", alone=True
        ) as predictions,
        Together(predictions, runs, joined=True) as batch,
    ):
        clear_unfinished(layout.trained("models", dataset))
        jobs = [Job(ask, _key_of(store, ask)) for ask in asks]
        stored = {name: run for name, run in _stored(store, dataset).items() if name in runs.committed}
        others = Lenders(lenders, lambda other, kind: other.trained(kind, dataset))
        for run_id in (run_id for job in jobs for run_id in _ids(job) if run_id not in stored):
            if row := others.lend(run_id, Path(store.path), predictions, runs):
                stored[run_id] = _done([row[name] for name in _DONE])
        todo = {job.key: job for job in jobs if not stored.keys() >= set(_ids(job))}
        for job, learned in run_trainings(store, list(todo.values()), seconds):
            for run in _commit(store, job, learned, runs, predictions):
                stored[run.run_id] = run
            batch.commit()  # a training takes long
            shutil.rmtree(checkpoint_of(store, job), ignore_errors=True)
    return [stored[run_id] for job in jobs for run_id in _ids(job)]


def _key_of(store: FeatureStore, ask: Ask) -> str:
    try:
        return key_of(store, ask)
    except StrataError as error:
        raise StrataError(f"{ask.title}: {error}") from error


def _ids(job: Job) -> list[str]:
    """Return the id of each property's run."""
    names = job.ask.properties
    return [job.key] if len(names) == 1 else [sha(job.key, name) for name in names]


def _asked(store: FeatureStore, dataset: str, params: Params) -> Iterable[Ask]:
    section, default = params.finetune, params.extract.default
    sources = section.source_models or (default,)
    names = section.properties.get(dataset, ())
    known = store.properties(dataset)
    for name in names:
        if name not in known:
            raise unknown("property", name, known, f"params.yaml, finetune.properties.{dataset}")
        splits = store.splits(dataset, name)
        if not splits:
            raise StrataError(f"{dataset}/{name} has no split yet; run: strata split {dataset}")
        for split in splits:
            for method in section.methods:
                if method == "scratch":
                    yield Ask(dataset, (name,), split, None, default, section)
                    continue
                for source in sources:
                    yield Ask(dataset, (name,), split, source, source, section)


def _commit(
    store: FeatureStore, job: Job, learned: Learned, runs: TableWriter, predictions: TableWriter
) -> list[Done]:
    """Give the predictions and runs of a training, whose model is saved, to be committed together."""
    model = store.layout.trained("models", job.ask.dataset) / job.key
    model_sha256 = sealed(model)
    done = []
    for k, run_id in enumerate(_ids(job)):
        predictions.commit(run_id, _predictions(learned.rows, run_id, k, learned.values[:, k]))
        run, row = _run(job.ask, learned, run_id, k)
        row |= {"model_path": model.relative_to(store.path).as_posix(), "model_sha256": model_sha256}
        runs.commit(run_id, pa.Table.from_pylist([row], schema=SCHEMAS["runs"]))
        done.append(run)
    return done


def _run(ask: Ask, learned: Learned, run_id: str, k: int) -> tuple[Done, dict]:
    rows = learned.rows
    error = np.abs(learned.values[:, k] - rows.values[:, k])
    is_train, is_val = learned.learned[:, k], rows.part[:, k] == "val"
    train_mae, val_mae = float(error[is_train].mean()), float(error[is_val].mean())
    run = Done(
        run_id, ask.method, rows.names[k], rows.units[k], ask.split, learned.epochs, learned.best_epoch,
        train_mae, val_mae, learned.seconds, True, ask.source,
    )  # fmt: skip
    settings = ask.settings.model_dump(
        mode="json", exclude={"properties", "methods", "source_models", "label", "engine"}
    )
    facts = {"epochs_run": run.epochs, "best_epoch": run.best_epoch, "properties": list(rows.names)}
    return run, {
        "run_id": run_id,
        "method": ask.method,
        "dataset": ask.dataset,
        "property": rows.names[k],
        "unit": rows.units[k],
        **ask.split._asdict(),
        "source_model": ask.source,
        "n_train": int(is_train.sum()),
        "n_val": int(is_val.sum()),
        "n_test": int((rows.part[:, k] == "test").sum()),
        "train_mae": train_mae,
        "val_mae": val_mae,
        "fit_seconds": learned.seconds,
        "label": ask.settings.label,
        "settings": json.dumps(settings | facts, sort_keys=True),
        "versions": json.dumps(_versions(), sort_keys=True),
        "created_at": datetime.now(UTC),
    }


_DONE = (
    "run_id", "method", "property", "unit", "scheme", "seed", "fold", "settings", "train_mae", "val_mae",
    "fit_seconds", "source_model",
)  # fmt: skip


def _stored(store: FeatureStore, dataset: str) -> dict[str, Done]:
    rows = store.sql(
        f"SELECT {', '.join(_DONE)} FROM runs "  # noqa: S608 - ours
        "WHERE dataset = ? AND method IN ('scratch', 'finetune')",
        [dataset],
    ).fetchall()
    return {run.run_id: run for run in map(_done, rows)}


def _done(row: Sequence[Any]) -> Done:
    """Build a run that is there already from the values of `_DONE`."""
    run_id, method, name, unit, scheme, seed, fold, settings, train_mae, val_mae, seconds, source = row
    facts = json.loads(settings)
    epochs = facts["epochs_run"], facts["best_epoch"]
    split = SplitKey(scheme, seed, fold)
    return Done(run_id, method, name, unit, split, *epochs, train_mae, val_mae, seconds, False, source)


def _predictions(rows: Rows, run_id: str, k: int, values: np.ndarray) -> pa.Table:
    there = rows.part[:, k] != ""
    n = int(there.sum())
    columns = {
        "run_id": [run_id] * n,
        "dataset": [rows.dataset] * n,
        "property": [rows.names[k]] * n,
        "entry_id": rows.entry_ids[there],
        "part": rows.part[there, k].astype(object),
        "prediction": values[there],
    }
    return pa.Table.from_pydict(columns, schema=SCHEMAS["predictions"])


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("strata", "numpy", "torch"):
        with suppress(metadata.PackageNotFoundError):  # a checkout that is run without being installed
            found[name] = metadata.version(name)
    return found


def write_plots(layout: StoreLayout, dataset: str, done: Sequence[Done], folder: Path) -> None:
    """Copy the curves of the runs that are asked for now to where `dvc plots` finds them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for run in done:
        model = layout.trained("models", dataset) / run.run_id
        source = model_folder(layout.root, model.relative_to(layout.root).as_posix()) / f"{run.property}.csv"
        several = [run.source] if len({other.source for other in done if other.source}) > 1 else []
        name = "-".join(map(str, (run.property, run.method, *filter(None, several), *run.split)))
        shutil.copyfile(source, folder / f"{name}.csv")
    if not done:
        write_history(folder / "none.csv", [], 0)  # DVC warns of an output that is empty
