"""The source model: trained on one large dataset, in steps as the machine's time allows.

`evaluation/source_model.py` measures and publishes it.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import StrataError
from core.params import Params, Source
from featurestore import FeatureStore, open_store
from featurestore.tables.address import located
from featurestore.tables.maintenance import require_sound
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED, GraphSettings
from zoo.hub import load_source
from zoo.training.data import Rows, read, with_graphs
from zoo.training.examples import Examples, Scale
from zoo.training.initial import alignn_of, initial
from zoo.training.loop import Trained, train
from zoo.training.run import CODE, TRAINING, keyed

GRAPHS = {"invariant": INVARIANT, "published": PUBLISHED}


@dataclass(frozen=True, eq=False, slots=True)
class SourceTraining:
    """A source model that is being trained, or is done: where it stands, and what it learns from.

    `graph` of all rows; `examples` leaves out the training and validation rows that cost too much.
    """

    section: Source
    graph: GraphSettings
    rows: Rows
    examples: Examples
    everything: Examples
    folder: Path
    key: str

    def run(self, seconds: float | None = None) -> Trained:
        """Train to the end, or raise `zoo.training.loop.Paused` when `seconds` are over."""
        scale = Scale.of(self.examples)
        source = None if self.section.init == "scratch" else load_source(self.section.init)
        network = initial(source, self.rows.units, scale, self.section.seed)
        title = f"source {self.section.dataset}/{'+'.join(self.rows.names)}"
        return train(
            network, self.examples, self.section, self.folder, self.key,
            title=title, curriculum=self.section.curriculum, seconds=seconds,
        )  # fmt: skip


def prepare(
    params: Params, store_root: str | Path = "store", watch: Any = lambda _done, _of: None
) -> SourceTraining:
    """Read what the section `source` names, make missing graphs, and find the checkpoint's place."""
    section = params.source
    require_sound(store_root, ("entries", "targets", "splits", "structures"), section.dataset)
    store: FeatureStore = open_store(store_root)
    graph = _graph(section)
    rows = read(store, section.dataset, section.properties, section.split)
    rows, everything = with_graphs(store, rows, graph, watch)
    cheap = np.ones(len(rows.entry_ids), bool)
    if section.max_cost is not None:
        cheap = everything.costs[everything.graph] <= section.max_cost
    examples = Examples(
        everything.names, everything.graphs, everything.costs, everything.graph, everything.values,
        everything.train & cheap[:, None], everything.val & cheap[:, None],
    )  # fmt: skip
    facts = [CODE, rows.sha256, graph.model_dump(mode="json"), keyed(section)]
    if section.init != "scratch":
        facts.append(load_source(section.init).card.weights_sha256)
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    folder = located(store_root) / TRAINING / f"source-{key[:16]}"
    return SourceTraining(section, graph, rows, examples, everything, folder, key)


def _graph(section: Source) -> GraphSettings:
    if section.graph in GRAPHS:
        return GRAPHS[section.graph]
    if section.init == "scratch":
        raise StrataError("source.graph is `source`, and source.init names no model to take the rules from")
    return alignn_of(load_source(section.init).card)[1]
