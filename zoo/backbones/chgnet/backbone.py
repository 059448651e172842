"""CHGNet's light half: from a structure to the graph that the network reads, without torch."""

from pydantic import Field

from core.params import Section
from core.structure import Structure
from zoo.backbones.base import Backbone, Checkpoint
from zoo.backbones.chgnet.architecture import Architecture as Sizes
from zoo.backbones.chgnet.graph import CrystalGraph, GraphSettings, build


class RunSettings(Section):
    """How CHGNet is run; the vectors are the same to float32 rounding."""

    rows_per_batch: int = Field(8_000, ge=1, description="bonds (both directions) and angles run together")
    max_rows: int = Field(4_000_000, ge=1, description="a structure with more of them is rejected")


class CHGNet(Backbone):
    """The crystal Hamiltonian graph network (Deng et al. 2023, Nature Machine Intelligence 5, 1031)."""

    name = "chgnet"
    runner = "zoo.backbones.chgnet.runner:ChgnetRunner"
    Architecture = Sizes
    Graph = GraphSettings
    Settings = RunSettings
    cost_unit = "bonds and angles"
    offers_rows = True
    counts = ("n_bonds", "n_short_bonds", "n_angles")
    architecture: Sizes
    graph: GraphSettings
    settings: RunSettings

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The 13 places: all kinds after the embedding and three convolutions, atoms after a fourth."""
        return self.architecture.checkpoints

    @property
    def batch_cost(self) -> int:
        """Rows that are run together; sets the memory, and what stays in the processor's cache."""
        return self.settings.rows_per_batch

    def prepare(self, structure: Structure) -> CrystalGraph:
        """Build one structure's graph."""
        return build(structure, self.graph, self.settings.max_rows)

    def cost(self, prepared: CrystalGraph) -> int:
        """Count the rows that the network works on."""
        return prepared.rows

    def describe(self, prepared: CrystalGraph) -> str:
        """Say how many bonds and angles there are."""
        return f"{len(prepared.length):,} bonds and {len(prepared.angle):,} angles"
