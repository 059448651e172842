"""A network without weights and without a name for atoms or bonds: what tests put beside ALIGNN.

It has one kind of checkpoint, of two widths, and takes no structure of more than a few atoms.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from core.params import Section
from core.structure import InvalidStructure, Structure
from zoo.backbones.base import Backbone, Checkpoint, Output, Runner


class ToyGraph(Section):
    """How it sees a structure."""

    max_atoms: int = Field(4, ge=1, description="a structure with more is refused")


class Toy(Backbone):
    """What is known of a cell without looking at any distance: its composition and its density."""

    name = "toy"
    runner = "zoo.backbones.toy:ToyRunner"
    Graph = ToyGraph
    counts = ("n_sites",)
    has_weights = False
    stack = ()

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Two depths of one kind, each of a width of its own."""
        return (Checkpoint("cell_0", "cell", 0, 3), Checkpoint("cell_1", "cell", 1, 5))

    @property
    def batch_cost(self) -> int:
        """Few, so that there are several batches."""
        return 10

    def prepare(self, structure: Structure) -> np.ndarray:
        """Return the sorted atomic numbers, and the volume an atom (Å³) before them."""
        if structure.n_atoms > self.graph.max_atoms:
            raise InvalidStructure(
                "too_large", f"{structure.n_atoms} atoms, the toy takes {self.graph.max_atoms} at most"
            )
        per_atom = structure.volume / structure.n_atoms
        return np.concatenate([[per_atom], np.sort(structure.numbers)]).astype(np.float64)

    def cost(self, prepared: np.ndarray) -> int:
        """Count the atoms."""
        return len(prepared) - 1


class ToyRunner(Runner):
    """Means over the cell, so that a larger cell of the same crystal has the same."""

    def __init__(self, backbone: Any, state: Mapping[str, Any], device: Any) -> None:
        super().__init__(backbone, state, device)
        assert not state

    def run(self, prepared: Sequence[np.ndarray], checkpoints: Sequence[str]) -> Output:
        """Run one batch."""
        volume = np.array([p[0] for p in prepared])
        mean = np.array([p[1:].mean() for p in prepared])
        spread = np.array([p[1:].std() for p in prepared])
        first = np.stack([volume / 10, mean / 10, spread / 10], axis=1)
        vectors = {"cell_0": first, "cell_1": np.concatenate([np.tanh(first), first[:, :2] ** 2], axis=1)}
        return Output(
            {name: vectors[name].astype(np.float32) for name in checkpoints},
            np.full(len(prepared), np.nan, np.float32),
            {"n_sites": np.array([len(p) - 1 for p in prepared], np.int64)},
        )


BACKBONE = Toy
