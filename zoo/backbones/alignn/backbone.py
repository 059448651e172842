"""ALIGNN's light half: from a structure to the compressed graph that the network reads, without torch."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from core.params import Section
from core.precision import BFLOAT16, FLOAT32, TF32
from core.structure import InvalidStructure, Structure
from zoo.backbones.alignn.architecture import Architecture as Sizes
from zoo.backbones.alignn.elements import collisions
from zoo.backbones.alignn.graph import Graph, GraphSettings, build, line_graph
from zoo.backbones.alignn.quotient import Quotient, compress, uncompressed
from zoo.backbones.base import Backbone, Checkpoint

MAX_ANGLES = 4_000_000


class AlignnSettings(Section):
    """How ALIGNN is run; the vectors are the same to float32 rounding."""

    backend: Literal["torch", "dgl"] = Field("torch", description="our forward pass, or alignn's own by DGL")
    compression: bool = Field(True, description="run the network once per symmetry class")
    angles_per_batch: int = Field(8_000, ge=1, description="(compressed) angles run together")
    max_angles: int = Field(MAX_ANGLES, ge=1, description="a structure with more angles is rejected")


class Prepared(NamedTuple):
    """A structure's graph and its quotient, with the sizes that the store records."""

    graph: Graph
    quotient: Quotient
    n_bonds: int
    n_angles: int


class ALIGNN(Backbone):
    """The atomistic line graph neural network (Choudhary & DeCost 2021, npj Comput. Mater. 7, 185).

    With batch normalisation, or (`alignn_atomwise`) layer normalisation in its place.
    """

    name = "alignn"
    runner = "zoo.backbones.alignn.runner:AlignnRunner"
    Architecture = Sizes
    Graph = GraphSettings
    Settings = AlignnSettings
    cost_unit = "angles"
    offers_rows = True
    precisions = (FLOAT32, BFLOAT16, TF32)
    counts = ("n_bonds", "n_angles", "n_distinct_atoms", "n_distinct_bonds", "n_distinct_angles")
    architecture: Sizes
    graph: GraphSettings
    settings: AlignnSettings

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The 23 places: atoms and bonds after the embedding and eight layers, angles after four."""
        return self.architecture.checkpoints

    @property
    def invariances(self) -> frozenset[str]:
        """With the published rules, ties in the k-th shell are decided by rounding: nothing is claimed."""
        whole_shells = self.graph.shell_tolerance > 0
        found = {"rotation"} if whole_shells else set()
        return frozenset(found | ({"cell"} if whole_shells and self.graph.self_image == "once" else set()))

    @property
    def batch_cost(self) -> int:
        """Angles that are run together; sets the memory, and what stays in the processor's cache."""
        return self.settings.angles_per_batch

    def prepare(self, structure: Structure) -> Prepared:
        """Build, limit and compress one structure's graph."""
        return prepare(structure, self.graph, self.settings.compression, self.settings.max_angles)

    def cost(self, prepared: Prepared) -> int:
        """Count the angles that the network sees."""
        return len(prepared.quotient.cosine)

    def describe(self, prepared: Prepared) -> str:
        """Say how many angles there are without compression."""
        return f"{prepared.n_angles:,} angles"

    def collisions(self, numbers: Sequence[int]) -> list[tuple[int, ...]]:
        """Elements that share one row of CGCNN features."""
        return collisions(numbers)

    def key(self, weights_sha256: str, precision: str) -> dict[str, Any]:
        """Leave out the backbone and its sizes, which follow from the weights: ids of older stores stay."""
        found = super().key(weights_sha256, precision)
        return {name: value for name, value in found.items() if name not in ("backbone", "architecture")}


def prepare(
    structure: Structure, settings: GraphSettings, compression: bool = True, max_angles: int = MAX_ANGLES
) -> Prepared:
    """Build, limit and compress one structure's graph.

    Raises `InvalidStructure` with code `too_large`, before the angles are made, if there are more than
    `max_angles` of them.
    """
    graph = build(structure, settings)
    if (angles := graph.most_angles) > max_angles:
        raise InvalidStructure(
            "too_large",
            f"{structure.n_atoms} atoms make {len(graph.src):,} bonds and {angles:,} angles, "
            f"allowed are {max_angles:,} angles (extract.backbones.alignn.max_angles)",
        )
    line = line_graph(graph, settings)
    quotient = compress(graph, line) if compression else uncompressed(graph, line)
    return Prepared(graph, quotient, len(graph.src), len(line.src))
