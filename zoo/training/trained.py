"""A trained ALIGNN: what it predicts, and its folder of weights (safetensors), facts (JSON), curves (CSV)."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.checksums import check_checksums
from core.errors import StrataError
from core.structure import InvalidStructure, Structure
from featurestore.query.feature_sets import kinds_of
from featurestore.tables.schema import Checkpoint
from zoo.backbones.alignn.backbone import prepare
from zoo.backbones.alignn.batch import by_angles, collate
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import GraphSettings
from zoo.backbones.alignn.inference import Architecture, Network, check_state
from zoo.backbones.alignn.quotient import Quotient
from zoo.training.examples import Examples, Scale

WEIGHTS, FACTS = "model.safetensors", "model.json"
_MAX_ANGLES = 4_000_000
_ANGLES_PER_BATCH = 8_000  # what stays in the cache


class Described(NamedTuple):
    """What a network says of n structures: `values` (n, p), `vectors` (n, d); NaN, and an error, for some."""

    values: np.ndarray
    vectors: np.ndarray
    errors: dict[int, InvalidStructure]


@dataclass(frozen=True, eq=False, slots=True)
class TrainedModel:
    """A network that predicts properties, in their units."""

    state: dict[str, Tensor]
    architecture: Architecture
    graph: GraphSettings
    names: tuple[str, ...]
    units: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write weights and facts into a folder that is there."""
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in self.state.items()}, folder / WEIGHTS)
        facts = {
            "architecture": self.architecture.model_dump(mode="json"),
            "graph": self.graph.model_dump(mode="json"),
            "properties": dict(zip(self.names, self.units, strict=True)),
        }
        (folder / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TrainedModel":
        """Read what `save` wrote; raises `StrataError` for a damaged one (see `core.checksums`)."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        check_checksums(folder)
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            state = load_file(folder / WEIGHTS)
            architecture = Architecture.model_validate(facts["architecture"])
            graph = GraphSettings.model_validate(facts["graph"])
            names, units = zip(*facts["properties"].items(), strict=True)
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
            SafetensorError,
        ) as error:
            raise StrataError(f"{folder} holds no model that can be read ({error})") from None
        check_state(state, architecture, str(folder / WEIGHTS))
        return cls(state, architecture, graph, names, units)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Its deepest checkpoint of each kind, whose pooled vectors `described` gives."""
        every = self.architecture.checkpoints
        return tuple([c for c in every if c.kind == kind][-1] for kind in kinds_of(every))

    def __call__(self, structures: Sequence[Structure]) -> tuple[np.ndarray, dict[int, InvalidStructure]]:
        """Predict (n, p) float64 for validated structures; NaN, and an error, where one has no graph."""
        found = self.described(structures)
        return found.values, found.errors

    def described(self, structures: Sequence[Structure]) -> Described:
        """Predict as the call does, with the pooled vectors of `checkpoints` side by side."""
        found = np.full((len(structures), len(self.names)), np.nan)
        vectors = np.full((len(structures), sum(c.width for c in self.checkpoints)), np.nan, np.float32)
        quotients, errors = {}, {}
        for i, structure in enumerate(structures):
            try:
                quotients[i] = prepare(structure, self.graph, True, _MAX_ANGLES).quotient
            except InvalidStructure as error:
                errors[i] = error
        if quotients:
            features = torch.from_numpy(atom_features())
            names = [checkpoint.name for checkpoint in self.checkpoints]
            rows = list(quotients)
            found[rows], vectors[rows] = _run(
                self.state, self.architecture, features, list(quotients.values()), names
            )
        return Described(found, vectors, errors)


def write_history(path: Path, history: Sequence[Mapping[str, Any]], k: int) -> None:
    """Write one property's curve, one row per epoch: epoch, learning rate, MAE of both parts in its unit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("epoch", "learning_rate", "train", "val"))
        for row in history:
            errors = (row["train_mae"][k], row["val_mae"][k])
            writer.writerow((row["epoch"], *(f"{value:.6g}" for value in (row["learning_rate"], *errors))))


def predict(
    state: Mapping[str, Tensor],
    architecture: Architecture,
    features: Tensor,
    graphs: Sequence[Quotient],
    device: torch.device | None = None,
) -> np.ndarray:
    """Predict (n, p) float64 for quotient graphs, by the inference engine's own forward pass."""
    return _run(state, architecture, features, graphs, (), device)[0]


def _run(
    state: Mapping[str, Tensor],
    architecture: Architecture,
    features: Tensor,
    graphs: Sequence[Quotient],
    checkpoints: Sequence[str],
    device: torch.device | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, p) float64 predictions and (n, d) float32 vectors of the checkpoints."""
    network = Network(state, features, architecture, device)
    found = np.empty((len(graphs), architecture.output_features))
    vectors = np.empty((len(graphs), len(checkpoints) * architecture.hidden_features), np.float32)
    read = [graphs[i] for i in range(len(graphs))]
    for chosen in by_angles(read, _ANGLES_PER_BATCH):
        output = network(collate([read[i] for i in chosen]), checkpoints)
        found[chosen] = output.prediction.double().cpu().numpy()
        vectors[chosen] = output.vectors.flatten(1).cpu().numpy()
    return found, vectors


def validate(
    state: Mapping[str, Tensor],
    architecture: Architecture,
    features: Tensor,
    examples: Examples,
    scale: Scale,
) -> np.ndarray:
    """Validation MAE (p,) in units, of a network that predicts standardised values."""
    rows = np.flatnonzero(examples.val.any(axis=1))
    graphs = [examples.graphs[i] for i in examples.graph[rows]]
    found = predict(state, architecture, features, graphs, features.device)
    values = np.where(examples.val[rows], examples.values[rows], np.nan)
    return np.nanmean(np.abs(found * scale.deviation + scale.mean - values), axis=0)
