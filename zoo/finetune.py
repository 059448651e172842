"""The stage `finetune`: ALIGNNs of a target's own, from random weights and from the source model's.

As in `fit`, a run's id is the hash of what decides its outcome, so a run that exists is skipped; a training
that was killed goes on from its checkpoint (under store/.training). Test targets are never read.
"""

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from etl.errors import StrataError, check_name, unknown
from etl.params import Finetune, Params, Train
from featurestore import FeatureStore, SplitKey, StoreLayout, TableWriter, open_store
from featurestore.durable import sync_file, sync_folder
from featurestore.schema import SCHEMAS

if TYPE_CHECKING:
    from etl.graph import GraphSettings
    from zoo.hub import SourceModel
    from zoo.rows import Rows
    from zoo.train import Trained
    from zoo.trained import TrainedModel

CODE = 1  # raised by hand when a training with the same settings comes out otherwise
CURRENT_FILE = "current.json"  # beside the tables: ids of the runs that were asked for last
TRAINING = ".training"  # in the store: checkpoints of trainings that are not done
_UNFINISHED = ".tmp-"
_DECIDE_NOTHING = {"device", "threads", "checkpoint_seconds", "properties", "methods", "label", "freeze"}


@dataclass(frozen=True, slots=True)
class Ask:
    """One training that is asked for; without a source model it starts from scratch.

    `graph_of` is the source model whose graph settings are used in either case.
    """

    dataset: str
    properties: tuple[str, ...]
    split: SplitKey
    source: str | None
    graph_of: str
    settings: Finetune

    @property
    def method(self) -> str:
        """Return the word of the table runs."""
        return "scratch" if self.source is None else "finetune"

    @property
    def title(self) -> str:
        """Say in a bar and in errors which training this is."""
        return f"{self.method} {self.dataset}/{'+'.join(self.properties)} {'-'.join(map(str, self.split))}"


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


def finetune(
    dataset: str, params: Params, store_root: str | Path = "store", plots: Path | None = None
) -> list[Done]:
    """Train what `params.finetune` asks of a dataset, keep runs, predictions and models.

    Writes `store/finetune/<dataset>`; with `plots` also a curve a run into that folder. Raises `StrataError`
    for unknown names, a constant target, and a training that diverges.
    """
    check_name(dataset, "dataset")
    store = open_store(store_root)
    asks = list(_asked(store, dataset, params))
    done = train_all(store, dataset, asks)
    _write_current(StoreLayout(Path(store_root)), dataset, {run.run_id for run in done})
    if plots is not None:
        _write_plots(StoreLayout(Path(store_root)), dataset, done, plots / check_name(dataset, "dataset"))
    return done


def train_one(ask: Ask, store_root: str | Path = "store", seconds: float | None = None) -> list[Done]:
    """Train by hand: the runs join those that `evaluate` looks at, until the stage runs again.

    Raises `zoo.train.Paused` when `seconds` are over; the same call goes on.
    """
    done = train_all(open_store(store_root), ask.dataset, [ask], seconds)
    layout = StoreLayout(Path(store_root))
    _write_current(layout, ask.dataset, current(layout, ask.dataset) | {run.run_id for run in done})
    return done


def current(layout: StoreLayout, dataset: str) -> set[str]:
    """Return the ids of the trained runs that are asked for now."""
    path = layout.trained("runs", dataset).parent / CURRENT_FILE
    return set(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else set()


def train_all(
    store: FeatureStore, dataset: str, asks: Sequence[Ask], seconds: float | None = None
) -> list[Done]:
    """Do the trainings that are not done yet, one after another."""
    layout = store.layout
    ends = None if seconds is None else time.monotonic() + seconds
    with (
        TableWriter(layout.trained("runs", dataset), SCHEMAS["runs"], "finetune") as runs,
        TableWriter(
            layout.trained("predictions", dataset), SCHEMAS["predictions"], "finetune"
        ) as predictions,
    ):
        for path in layout.trained("models", dataset).glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path)
        done: list[Done] = []
        for ask in asks:
            try:
                done += _do(store, ask, runs, predictions, ends)
            except StrataError as error:
                raise StrataError(f"{ask.title}: {error}") from error
    return done


def _asked(store: FeatureStore, dataset: str, params: Params) -> Iterable[Ask]:
    section, source = params.finetune, params.extract.source_model
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
                yield Ask(dataset, (name,), split, source if method == "finetune" else None, source, section)


def _do(
    store: FeatureStore, ask: Ask, runs: TableWriter, predictions: TableWriter, ends: float | None
) -> list[Done]:
    from zoo.hub import load_card, load_source
    from zoo.rows import read

    rows = read(store, ask.dataset, ask.properties, ask.split)
    source = load_source(ask.source) if ask.source else None
    graph = load_card(ask.graph_of).graph
    training = _training_id(ask, rows, graph, source)
    ids = [training if len(rows.names) == 1 else _sha(training, name) for name in rows.names]
    stored = _stored(store, ask.dataset)
    if all(run_id in runs.committed and run_id in stored for run_id in ids):
        return [stored[run_id] for run_id in ids]
    return _train(store, ask, rows, graph, source, training, ids, runs, predictions, ends)


def _train(
    store: FeatureStore,
    ask: Ask,
    rows: "Rows",
    graph: "GraphSettings",
    source: "SourceModel | None",
    training: str,
    ids: Sequence[str],
    runs: TableWriter,
    predictions: TableWriter,
    ends: float | None,
) -> list[Done]:
    """Train and commit: the model first, then the predictions, and the runs last."""
    from zoo.examples import Scale
    from zoo.inference import predict
    from zoo.initial import initial
    from zoo.rows import with_graphs
    from zoo.train import train
    from zoo.trained import TrainedModel

    rows, examples = with_graphs(store, rows, graph)
    scale = Scale.of(examples)
    network = initial(source, rows.units, scale, ask.settings.seed, ask.settings.freeze if source else "none")
    folder = Path(store.path) / TRAINING / training
    left = None if ends is None else max(ends - time.monotonic(), 0.0)
    trained = train(network, examples, ask.settings, folder, training, title=ask.title, seconds=left)
    graphs = [examples.graphs[i] for i in examples.graph]
    values = predict(trained.state, trained.architecture, network.features.cpu(), graphs)
    model = TrainedModel(trained.state, trained.architecture, graph, rows.names, rows.units)
    models = store.layout.trained("models", ask.dataset)
    _save(model, trained, models, training, rows.names)
    done = []
    for k, run_id in enumerate(ids):
        predictions.commit(run_id, _predictions(rows, run_id, k, values[:, k]))
        run, row = _run(ask, rows, examples.train, trained, run_id, k, values[:, k])
        row["model_path"] = (models / training).relative_to(store.path).as_posix()
        runs.commit(run_id, pa.Table.from_pylist([row], schema=SCHEMAS["runs"]))
        done.append(run)
    shutil.rmtree(folder, ignore_errors=True)
    return done


def _run(
    ask: Ask, rows: "Rows", learned: np.ndarray, trained: "Trained", run_id: str, k: int, values: np.ndarray
) -> tuple[Done, dict]:
    error = np.abs(values - rows.values[:, k])
    is_val = rows.part[:, k] == "val"
    train_mae, val_mae = float(error[learned[:, k]].mean()), float(error[is_val].mean())
    run = Done(
        run_id, ask.method, rows.names[k], rows.units[k], ask.split, len(trained.history), trained.best_epoch,
        train_mae, val_mae, trained.seconds, True,
    )  # fmt: skip
    settings = ask.settings.model_dump(mode="json", exclude={"properties", "methods", "label"})
    facts = {"epochs_run": run.epochs, "best_epoch": run.best_epoch, "properties": list(rows.names)}
    return run, {
        "run_id": run_id,
        "method": ask.method,
        "dataset": ask.dataset,
        "property": rows.names[k],
        "unit": rows.units[k],
        **ask.split._asdict(),
        "source_model": ask.source,
        "n_train": int(learned[:, k].sum()),
        "n_val": int(is_val.sum()),
        "n_test": int((rows.part[:, k] == "test").sum()),
        "train_mae": train_mae,
        "val_mae": val_mae,
        "fit_seconds": trained.seconds,
        "label": ask.settings.label,
        "settings": json.dumps(settings | facts, sort_keys=True),
        "versions": json.dumps(_versions(), sort_keys=True),
        "created_at": datetime.now(UTC),
    }


def _training_id(ask: Ask, rows: "Rows", graph: "GraphSettings", source: "SourceModel | None") -> str:
    facts = {
        "code": CODE,
        "rows": rows.sha256,
        "graph": graph.model_dump(mode="json"),
        "settings": keyed(ask.settings),
        "source": [source.card.weights_sha256, ask.settings.freeze] if source else None,
    }
    return _sha(facts)


def keyed(settings: Train) -> dict:
    """Return the settings that decide what a training ends with."""
    return settings.model_dump(mode="json", exclude=_DECIDE_NOTHING)


def _sha(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _stored(store: FeatureStore, dataset: str) -> dict[str, Done]:
    found = store.sql(
        "SELECT run_id, method, property, unit, scheme, seed, fold, settings, train_mae, val_mae, "
        "fit_seconds FROM runs WHERE dataset = ? AND method IN ('scratch', 'finetune')",
        [dataset],
    ).fetchall()
    runs = {}
    for run_id, method, name, unit, scheme, seed, fold, settings, train_mae, val_mae, seconds in found:
        facts = json.loads(settings)
        split = SplitKey(scheme, seed, fold)
        epochs = facts["epochs_run"], facts["best_epoch"]
        runs[run_id] = Done(run_id, method, name, unit, split, *epochs, train_mae, val_mae, seconds, False)
    return runs


def _predictions(rows: "Rows", run_id: str, k: int, values: np.ndarray) -> pa.Table:
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


def _save(
    model: "TrainedModel", trained: "Trained", models: Path, training: str, names: Sequence[str]
) -> None:
    """Save a model whole or not at all; one without its runs, left by a killed training, is replaced."""
    from zoo.trained import write_history

    unfinished = models / f"{_UNFINISHED}{training}"
    unfinished.mkdir(parents=True)
    model.save(unfinished)
    for k, name in enumerate(names):
        write_history(unfinished / f"{name}.csv", trained, k)
    for path in unfinished.iterdir():
        with path.open("rb+") as file:
            sync_file(file)
    shutil.rmtree(models / training, ignore_errors=True)
    unfinished.rename(models / training)
    sync_folder(models)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("strata", "numpy", "torch"):
        with suppress(metadata.PackageNotFoundError):  # a checkout that is run without being installed
            found[name] = metadata.version(name)
    return found


def _write_current(layout: StoreLayout, dataset: str, run_ids: set[str]) -> None:
    path = layout.trained("runs", dataset).parent / CURRENT_FILE
    unfinished = path.with_name(f"{_UNFINISHED}{path.name}")
    unfinished.write_text(json.dumps(sorted(run_ids), indent=0) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _write_plots(layout: StoreLayout, dataset: str, done: Sequence[Done], folder: Path) -> None:
    """Copy the curves of the runs that are asked for now to where `dvc plots` finds them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for run in done:
        source = layout.trained("models", dataset) / run.run_id / f"{run.property}.csv"
        name = "-".join(map(str, (run.property, run.method, *run.split)))
        shutil.copyfile(source, folder / f"{name}.csv")
