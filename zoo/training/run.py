"""One training of an ALIGNN of a target's own: what is asked for, its key, and the work of a process."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.atomic import whole_folder
from core.params import Finetune, Train
from featurestore import FeatureStore, SplitKey
from zoo.backbones.alignn.graph import GraphSettings
from zoo.hub import SourceModel, load_card, load_source
from zoo.training.data import Rows, read, with_graphs
from zoo.training.examples import Scale
from zoo.training.initial import alignn_of, initial
from zoo.training.loop import train
from zoo.training.trained import TrainedModel, predict, write_history
from zoo.training.watch import Show

# What `freeze` and `layer_decay` are matters where there are weights to go on from: see `_key`.
CODE = 1  # raised by hand when a training with the same settings comes out otherwise
TRAINING = ".training"  # in the store: checkpoints of trainings that are not done
_DECIDE_NOTHING = {
    "device", "threads", "engine", "workers", "checkpoint_seconds", "properties", "methods", "source_models",
    "label", "freeze", "layer_decay"
}  # fmt: skip


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
        what = f"{self.method} {self.source}" if self.source else self.method
        return f"{what} {self.dataset}/{'+'.join(self.properties)} {'-'.join(map(str, self.split))}"


@dataclass(frozen=True, slots=True)
class Job:
    """A training that is to be done, under its key."""

    ask: Ask
    key: str


@dataclass(frozen=True, eq=False, slots=True)
class Learned:
    """What a training leaves beside its saved model.

    `learned` (n, p): which values were learned from; `values` (n, p): predictions for all rows, in units.
    """

    rows: Rows
    learned: np.ndarray
    values: np.ndarray
    epochs: int
    best_epoch: int
    seconds: float


def key_of(store: FeatureStore, ask: Ask) -> str:
    """Return the hash of what decides a training's outcome. Raises `StrataError` for unknown names."""
    source = load_source(ask.source) if ask.source else None
    rows = read(store, ask.dataset, ask.properties, ask.split)
    return _key(ask, rows, alignn_of(load_card(ask.graph_of))[1], source)


def learn(
    store: FeatureStore,
    job: Job,
    show: Show,
    asked: Callable[[], bool] = lambda: False,
    seconds: float | None = None,
) -> Learned:
    """Train, and save the model whole or not at all under store/finetune/<dataset>/models/<key>.

    See `loop.train` for show, asked and seconds, and for what is raised. The checkpoint stays until the
    caller has put the outcome into the tables.
    """
    ask = job.ask
    source = load_source(ask.source) if ask.source else None
    _, graph = alignn_of(load_card(ask.graph_of))
    rows, examples = with_graphs(store, read(store, ask.dataset, ask.properties, ask.split), graph)
    freeze = ask.settings.freeze if source else "none"
    network = initial(source, rows.units, Scale.of(examples), ask.settings.seed, freeze)
    trained = train(
        network, examples, ask.settings, checkpoint_of(store, job), job.key,
        title=ask.title, seconds=seconds, show=show, asked=asked,
        layer_decay=ask.settings.layer_decay if source else 1.0,
    )  # fmt: skip
    graphs = [examples.graphs[i] for i in examples.graph]
    values = predict(trained.state, trained.architecture, network.features.cpu(), graphs)
    model = TrainedModel(trained.state, trained.architecture, graph, rows.names, rows.units)
    # a model without its runs, left by a killed training, is replaced
    with whole_folder(store.layout.trained("models", ask.dataset) / job.key) as folder:
        model.save(folder)
        for k, name in enumerate(rows.names):
            write_history(folder / f"{name}.csv", trained.history, k)
    return Learned(
        rows, examples.train, values, len(trained.history), trained.best_epoch, trained.seconds
    )  # fmt: skip


def checkpoint_of(store: FeatureStore, job: Job) -> Path:
    """Return the folder of a training's checkpoint."""
    return Path(store.path) / TRAINING / job.key


def _key(ask: Ask, rows: Rows, graph: GraphSettings, source: SourceModel | None) -> str:
    facts = {
        "code": CODE,
        "rows": rows.sha256,
        "graph": graph.model_dump(mode="json"),
        "settings": keyed(ask.settings),
        "source": [source.card.weights_sha256, *_of_finetuning(ask.settings)] if source else None,
    }
    return sha(facts)


def _of_finetuning(settings: Finetune) -> list[str | float]:
    """Return what decides where a training goes on from weights; nothing of what keeps the paper's recipe."""
    return [settings.freeze, *([settings.layer_decay] if settings.layer_decay < 1 else [])]


def keyed(settings: Train) -> dict:
    """Return the settings that decide what a training ends with."""
    kept = settings.model_dump(mode="json", exclude=_DECIDE_NOTHING)
    if not settings.moving_average:
        del kept["moving_average"]  # a setting that came later, and changes no training without it
    return kept


def sha(*facts: object) -> str:
    """Hash facts that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
