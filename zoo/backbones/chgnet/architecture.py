"""The sizes of CHGNet, the tensors of its state dictionary, and its checkpoints, as data."""

from pydantic import Field

from core.params import Section
from featurestore.tables.schema import Checkpoint

ELEMENTS = 94  # hydrogen to plutonium have an embedding and a reference energy


class Architecture(Section):
    """Sizes of the network, under the names of chgnet's `model_args` where it has one."""

    width: int = Field(64, ge=1, description="of atoms, bonds, angles and every hidden layer")
    n_conv: int = Field(4, ge=2, description="updates of the atoms; bonds and angles have one less")
    num_radial: int = Field(31, ge=1, description="Bessel functions of a bond's length")
    num_angular: int = Field(31, ge=3, description="Fourier terms of an angle, an odd number")
    cutoff_coeff: int = Field(8, ge=1, description="power of the smooth cutoff")

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Depth 0 is the embedding; the last convolution updates atoms only."""
        depths = {"atom": self.n_conv, "bond": self.n_conv - 1, "angle": self.n_conv - 1}
        return tuple(
            Checkpoint(f"{kind}_{depth}", kind, depth, self.width)
            for kind, deepest in depths.items()
            for depth in range(deepest + 1)
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the state dictionary."""
        wide, radial = self.width, self.num_radial
        expansion = "bond_basis_expansion.rbf_expansion_"
        found: dict[str, tuple[int, ...]] = {
            "composition_model.fc.weight": (1, ELEMENTS),
            "atom_embedding.embedding.weight": (ELEMENTS, wide),
            f"{expansion}ag.frequencies": (radial,),
            f"{expansion}bg.frequencies": (radial,),
            "bond_embedding.weight": (wide, radial),
            "bond_weights_ag.weight": (wide, radial),
            "bond_weights_bg.weight": (wide, radial),
            "angle_basis_expansion.fourier_expansion.frequencies": ((self.num_angular - 1) // 2,),
            "angle_embedding.weight": (wide, self.num_angular),
            "readout_norm.weight": (wide,),
            "readout_norm.bias": (wide,),
        }
        for layer in range(self.n_conv):
            found |= _gated_shapes(f"atom_conv_layers.{layer}.twoBody_atom", 3 * wide, wide, (0, 3))
            found[f"atom_conv_layers.{layer}.mlp_out.layers.1.weight"] = (wide, wide)
        for layer in range(self.n_conv - 1):
            found |= _gated_shapes(f"bond_conv_layers.{layer}.twoBody_bond", 4 * wide, wide, (0, 3))
            found[f"bond_conv_layers.{layer}.mlp_out.layers.1.weight"] = (wide, wide)
            found |= _gated_shapes(f"angle_layers.{layer}.twoBody_bond", 4 * wide, wide, (1,))
        for place, out in ((0, wide), (2, wide), (4, wide), (7, 1)):
            found |= _linear_shapes(f"mlp.layers.{place}", wide, out)
        return found | _linear_shapes("site_wise", wide, 1)  # of magnetic moments, not read here


def _linear_shapes(prefix: str, wide: int, out: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.weight": (out, wide), f"{prefix}.bias": (out,)}


def _gated_shapes(prefix: str, wide: int, out: int, places: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Two perceptrons of one or two layers, and the layer normalisation behind each."""
    found: dict[str, tuple[int, ...]] = {}
    for half, norm in (("mlp_core", "bn1"), ("mlp_gate", "bn2")):
        for k, place in enumerate(places):
            found |= _linear_shapes(f"{prefix}.{half}.layers.{place}", out if k else wide, out)
        found |= {f"{prefix}.{norm}.weight": (out,), f"{prefix}.{norm}.bias": (out,)}
    return found
