"""The sizes of ALIGNN, the tensors of its state dictionary, and its checkpoints, as data."""

from typing import Literal

from pydantic import Field

from core.params import Section
from featurestore.tables.schema import Checkpoint

# Where alignn's own model holds each checkpoint: module, and which of its outputs.
MODULES: dict[str, tuple[str, int]] = {
    "atom_0": ("atom_embedding", 0),
    "bond_0": ("edge_embedding", 0),
    "angle_0": ("angle_embedding", 0),
    **{
        f"{kind}_{i + 1}": (f"alignn_layers.{i}", output)
        for i in range(4)
        for output, kind in enumerate(("atom", "bond", "angle"))
    },
    **{
        f"{kind}_{i + 5}": (f"gcn_layers.{i}", k) for i in range(4) for k, kind in enumerate(("atom", "bond"))
    },
}


class Architecture(Section):
    """Sizes of the network, under the names of alignn's `config.json`."""

    name: Literal["alignn", "alignn_atomwise"] = Field(
        "alignn", description="normalised over batches, or (alignn_atomwise) row by row"
    )
    alignn_layers: Literal[4] = Field(4, description="4 give the 23 checkpoints their meaning")
    gcn_layers: Literal[4] = 4
    atom_input_features: Literal[92] = 92
    edge_input_features: int = Field(80, ge=2)
    triplet_input_features: int = Field(40, ge=2)
    embedding_features: int = Field(64, ge=1)
    hidden_features: Literal[256] = 256
    output_features: int = Field(1, ge=1)
    link: Literal["identity", "log", "logit"] = "identity"

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Depth 0 is the embedding; then come the ALIGNN layers, and the GCN layers, which have no angles."""
        layers = self.alignn_layers + self.gcn_layers
        depths = {"atom": layers, "bond": layers, "angle": self.alignn_layers}
        return tuple(
            Checkpoint(f"{kind}_{depth}", kind, depth, self.hidden_features)
            for kind, deepest in depths.items()
            for depth in range(deepest + 1)
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the state dictionary."""
        wide, narrow = self.hidden_features, self.embedding_features
        found: dict[str, tuple[int, ...]] = {
            "edge_embedding.0.centers": (self.edge_input_features,),
            "angle_embedding.0.centers": (self.triplet_input_features,),
        }
        found |= self._mlp_shapes("atom_embedding", self.atom_input_features, wide)
        for kind, bins in (("edge", self.edge_input_features), ("angle", self.triplet_input_features)):
            found |= self._mlp_shapes(f"{kind}_embedding.1", bins, narrow)
            found |= self._mlp_shapes(f"{kind}_embedding.2", narrow, wide)
        for prefix in conv_names(self):
            for linear in ("src_gate", "dst_gate", "edge_gate", "src_update", "dst_update"):
                found |= {f"{prefix}.{linear}.weight": (wide, wide), f"{prefix}.{linear}.bias": (wide,)}
            found |= self._norm_shapes(f"{prefix}.bn_edges", wide)
            found |= self._norm_shapes(f"{prefix}.bn_nodes", wide)
        return found | {"fc.weight": (self.output_features, wide), "fc.bias": (self.output_features,)}

    def _mlp_shapes(self, prefix: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
        linear = {f"{prefix}.layer.0.weight": (outputs, inputs), f"{prefix}.layer.0.bias": (outputs,)}
        return linear | self._norm_shapes(f"{prefix}.layer.1", outputs)

    def _norm_shapes(self, prefix: str, width: int) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {f"{prefix}.weight": (width,), f"{prefix}.bias": (width,)}
        if self.name == "alignn_atomwise":  # layer norm keeps no statistics
            return found
        statistics = {f"{prefix}.{name}": (width,) for name in ("running_mean", "running_var")}
        return found | statistics | {f"{prefix}.num_batches_tracked": ()}


def conv_names(architecture: Architecture) -> list[str]:
    layers = [f"alignn_layers.{i}" for i in range(architecture.alignn_layers)]
    updates = [f"{layer}.{part}" for layer in layers for part in ("node_update", "edge_update")]
    return updates + [f"gcn_layers.{i}" for i in range(architecture.gcn_layers)]
