"""The contract of a backbone: the code that runs one kind of pretrained network.

A backbone has two halves. The light one (`Backbone`) says what the network offers and turns structures into
what it reads; it works in processes that never import torch. The heavy one (`Runner`) holds the weights and
runs them. A module or package of `zoo/backbones/` names its light half as `BACKBONE`, and that names its
runner.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError
from core.lazy import need
from core.params import Section, section
from core.precision import BFLOAT16, FLOAT32, TF32
from core.structure import Structure
from featurestore.tables.schema import Checkpoint
from zoo.backbones.rows import Rows

__all__ = ["Backbone", "Checkpoint", "NoSettings", "Output", "Rows", "Runner", "by_cost"]


class NoSettings(Section):
    """The section of a backbone that has none."""


class Output(NamedTuple):
    """What a network says about n structures.

    `vectors` (n, width) float32 by checkpoint, never NaN; `prediction` (n,) float32, the network's own first
    output in its unit, NaN where it has none; `counts` (n,) int64 by the names that the backbone declares.
    """

    vectors: Mapping[str, NDArray[np.float32]]
    prediction: NDArray[np.float32]
    counts: Mapping[str, NDArray[np.int64]]


class Backbone(ABC):
    """The light half: what a network offers, and structures as it reads them.

    A subclass sets the class variables and writes `checkpoints`, `prepare` and `cost`. `architecture` and
    `graph` come from the source model's card, `settings` from `extract.backbones` in params.yaml.
    """

    name: ClassVar[str]
    runner: ClassVar[str]  # "module:Class" of the heavy half
    Architecture: ClassVar[type[Section]] = NoSettings  # sizes of the network, on the card
    Graph: ClassVar[type[Section]] = NoSettings  # how it sees a structure, on the card; keys the vectors
    Settings: ClassVar[type[Section]] = NoSettings  # how it is run, in params.yaml; never changes a vector
    code_schema: ClassVar[int] = 1  # raised by hand when the vectors change
    pooling: ClassVar[str] = "mean"
    cost_unit: ClassVar[str] = "units of its own"  # what `cost` counts, for people
    counts: ClassVar[tuple[str, ...]] = ()  # whole numbers beside the vectors, such as n_bonds
    has_weights: ClassVar[bool] = True
    needs_positions: ClassVar[bool] = True  # False: it also takes a `Composition`
    offers_rows: ClassVar[bool] = False  # True: the runner also gives rows before pooling
    precisions: ClassVar[tuple[str, ...]] = (FLOAT32, TF32)  # of its matrix products; (): it has none
    stack: ClassVar[tuple[tuple[str, str], ...]] = (("torch", "extract"),)  # (module, extra) it runs on

    def __init__(
        self, architecture: Any = None, graph: Any = None, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.architecture = architecture if architecture is not None else self.Architecture()
        self.graph = graph if graph is not None else self.Graph()
        self.settings = section(self.Settings, settings or {}, f"params.yaml, extract.backbones.{self.name}")

    @property
    @abstractmethod
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The places inside the network where features are read, by kind and depth."""

    @property
    def invariances(self) -> frozenset[str]:
        """What the vectors do not depend on, beyond the order of atoms: `rotation`, `cell`."""
        return frozenset({"rotation", "cell"})

    @property
    def batch_cost(self) -> int:
        """The cost of a batch at most; a structure that alone costs more is run alone."""
        return 8_000

    @abstractmethod
    def prepare(self, structure: Structure) -> Any:
        """Turn a validated structure into what the runner reads; no torch.

        A `Composition` comes only where `needs_positions` is False.
        Raises `InvalidStructure`, and nothing else, for a structure that this network cannot take.
        """

    @abstractmethod
    def cost(self, prepared: Any) -> int:
        """Return how much of a batch a prepared structure takes, such as its angles."""

    def describe(self, prepared: Any) -> str:
        """Say how large a prepared structure is, for the reject of one that does not fit into memory."""
        return f"a cost of {self.cost(prepared):,}"

    def collisions(self, numbers: Sequence[int]) -> list[tuple[int, ...]]:
        """Return groups of atomic numbers that this network cannot tell apart."""
        del numbers
        return []

    def mode(self, precision: str) -> str:
        """Return the numeric mode that its vectors are made in where `precision` is asked for.

        A backbone without matrix products has but one, float32. Raises `StrataError` for one it has not.
        """
        if not self.precisions:
            return FLOAT32
        if precision not in self.precisions:
            raise StrataError(
                f"extract.precision is {precision}, and {self.name} has {', '.join(self.precisions)}: choose "
                "one of these, or leave the network out of extract.source_models"
            )
        return precision

    def key(self, weights_sha256: str, precision: str) -> dict[str, Any]:
        """Return what decides the vectors; its hash is the extraction's id.

        Of float32 and tf32 it says what it said before there was bfloat16, so that ids of older vectors stay.
        """
        mode = self.mode(precision)
        named = {"precision": mode} if mode == BFLOAT16 else {}
        return named | {
            "backbone": self.name,
            "architecture": self.architecture.model_dump(mode="json"),
            "weights_sha256": weights_sha256,
            "graph": self.graph.model_dump(mode="json"),
            "pooling": self.pooling,
            "tf32": mode == TF32,
            "code_schema": self.code_schema,
        }

    @classmethod
    def runs_on_torch(cls) -> bool:
        """Tell whether there is a device to choose, and torch to be imported for it."""
        return any(module == "torch" for module, _ in cls.stack)

    @classmethod
    def import_stack(cls) -> None:
        """Import what it runs on; a missing library raises `StrataError` that says how to get it."""
        for module, extra in cls.stack:
            need(module, extra)


class Runner(ABC):
    """The heavy half: weights on a device, run on batches of prepared structures.

    device: of torch; None where the backbone does not run on torch. A backbone that has bfloat16 among its
    `precisions` has a runner that takes `precision` besides; tf32 is the engine's business.
    """

    def __init__(self, backbone: Any, state: Mapping[str, Any], device: Any) -> None:
        del state
        self.backbone, self.device = backbone, device

    @abstractmethod
    def run(self, prepared: Sequence[Any], checkpoints: Sequence[str]) -> Output:
        """Run one batch; results keep its order, and only the checkpoints named are in `vectors`."""

    def rows(self, prepared: Any, checkpoints: Sequence[str]) -> dict[str, Rows]:
        """Return the rows of one prepared structure before pooling, by checkpoint; `offers_rows` says so.

        Their mean is what `run` gives as the vector, to float32 rounding. Raises `StrataError` where rows are
        not offered: for vectors that are no means over a structure, and for a backbone without this method.
        """
        del prepared, checkpoints
        raise StrataError(
            f"rows are not offered by {self.backbone.name}: it says nothing of single atoms, bonds or angles"
        )

    @classmethod
    def check_state(cls, state: Mapping[str, Any], architecture: Any, where: str) -> None:
        """Raise `StrataError` unless `state` has exactly the tensors of the architecture, all finite."""
        del architecture
        if not state:
            raise StrataError(f"{where}: no tensors in it")

    @classmethod
    def read_published(cls, path: Path, card: Any) -> tuple[dict[str, Any], Any]:
        """Read weights and architecture from the file that others published, running nothing of it."""
        raise StrataError(f"{path}: source models of the backbone of {card.name} are not read from files")


def by_cost(costs: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Cut rows into batches of at most `limit` in all, small ones first; a larger one goes alone.

    >>> list(by_cost([30, 90, 10, 20, 200], 100))
    [[2, 3, 0], [1], [4]]
    """
    batch: list[int] = []
    total = 0
    for index in sorted(range(len(costs)), key=costs.__getitem__):
        if batch and total + costs[index] > limit:
            yield batch
            batch, total = [], 0
        batch.append(index)
        total += costs[index]
    if batch:
        yield batch
