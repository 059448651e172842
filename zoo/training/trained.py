"""A trained ALIGNN in a folder: weights as safetensors, what they are for as JSON, the history as CSV."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.errors import StrataError
from core.structure import InvalidStructure, Structure
from zoo.backbones.alignn.backbone import prepare
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import GraphSettings
from zoo.backbones.alignn.inference import Architecture, check_state
from zoo.training.inference import predict
from zoo.training.loop import Trained

WEIGHTS, FACTS, HISTORY = "model.safetensors", "model.json", "history.csv"
_MAX_ANGLES = 4_000_000


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
        """Read what `save` wrote; raises `StrataError` for a damaged one."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            state = load_file(folder / WEIGHTS)
            architecture = Architecture.model_validate(facts["architecture"])
            graph = GraphSettings.model_validate(facts["graph"])
            names, units = zip(*facts["properties"].items(), strict=True)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise StrataError(f"{folder} holds no model that can be read ({error})") from None
        check_state(state, architecture, str(folder / WEIGHTS))
        return cls(state, architecture, graph, names, units)

    def __call__(self, structures: Sequence[Structure]) -> tuple[np.ndarray, dict[int, InvalidStructure]]:
        """Predict (n, p) float64 for validated structures; NaN, and an error, where one has no graph."""
        found = np.full((len(structures), len(self.names)), np.nan)
        quotients, errors = {}, {}
        for i, structure in enumerate(structures):
            try:
                quotients[i] = prepare(structure, self.graph, True, _MAX_ANGLES).quotient
            except InvalidStructure as error:
                errors[i] = error
        if quotients:
            features = torch.from_numpy(atom_features())
            found[list(quotients)] = predict(
                self.state, self.architecture, features, list(quotients.values())
            )
        return found, errors


def write_history(path: Path, trained: Trained, k: int) -> None:
    """Write one property's curve: epoch, learning rate, and MAE of both parts in its unit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("epoch", "learning_rate", "train", "val"))
        for row in trained.history:
            errors = (row["train_mae"][k], row["val_mae"][k])
            writer.writerow((row["epoch"], *(f"{value:.6g}" for value in (row["learning_rate"], *errors))))
