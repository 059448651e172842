"""CHGNet's forward pass for inference, in plain torch, with every checkpoint pooled on the way.

Deng et al. 2023: atoms gather messages from their bonds, bonds from their angles, and angles follow; a last
convolution updates atoms only. Nothing here scatters: every sum is over contiguous rows, or over a list of
rows sorted by their target.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.backbones.chgnet import gates
from zoo.backbones.chgnet.architecture import Architecture
from zoo.backbones.chgnet.batch import Batch
from zoo.backbones.chgnet.graph import GraphSettings

# What is done with the rows of atoms, bonds and angles at a depth; they are written over afterwards.
_Keep = Callable[[int, Tensor, Tensor, Tensor], None]


class Network:
    """The network ready to run: weights stacked once, then called on batches.

    It runs where the tensors of `state` are, and in their precision. Same inputs give the same outputs on one
    machine; across batch sizes and machines they agree to rounding.
    """

    def __init__(self, state: Mapping[str, Tensor], architecture: Architecture, graph: GraphSettings) -> None:
        self.architecture, self.graph, self._state = architecture, graph, state
        convs, updates = range(architecture.n_conv), range(architecture.n_conv - 1)
        self._atom = [gates.of_atoms(state, f"atom_conv_layers.{k}.twoBody_atom") for k in convs]
        self._bond = [gates.of_angles(state, f"bond_conv_layers.{k}.twoBody_bond", 2) for k in updates]
        self._angle = [gates.of_angles(state, f"angle_layers.{k}.twoBody_bond", 1) for k in updates]

    @torch.inference_mode()
    def __call__(self, batch: Batch, checkpoints: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Run a batch; returns energies (s,) in eV/atom and the pooled checkpoints named, (s, width) each."""
        found: dict[str, Tensor] = {}
        bond_count = batch.short_bonds.count + batch.long_bonds.count
        unchanged: Tensor | None = None  # sums of the long bonds, the same at every depth

        def keep(depth: int, atoms: Tensor, bonds: Tensor, angles: Tensor) -> None:
            nonlocal unchanged
            if f"atom_{depth}" in checkpoints:
                found[f"atom_{depth}"] = batch.atoms.mean(atoms)
            if f"bond_{depth}" in checkpoints:
                if unchanged is None:
                    unchanged = batch.long_bonds.sums(bonds[batch.short :])
                found[f"bond_{depth}"] = (
                    batch.short_bonds.sums(bonds[: batch.short]) + unchanged
                ) / bond_count
            if f"angle_{depth}" in checkpoints:
                found[f"angle_{depth}"] = batch.angles.mean(angles)

        return self._forward(batch, keep), found

    @torch.inference_mode()
    def rows(self, batch: Batch, checkpoints: Sequence[str]) -> dict[str, Tensor]:
        """Return the rows (r, width) of the checkpoints named, in the order of the batch, unpooled."""
        found: dict[str, Tensor] = {}

        def keep(depth: int, atoms: Tensor, bonds: Tensor, angles: Tensor) -> None:
            for kind, rows in (("atom", atoms), ("bond", bonds), ("angle", angles)):
                if f"{kind}_{depth}" in checkpoints:
                    found[f"{kind}_{depth}"] = rows.clone()

        self._forward(batch, keep)
        return found

    def _forward(self, batch: Batch, keep: _Keep) -> Tensor:
        """Run a batch, hand over the rows at every depth, and return energies (s,) in eV/atom."""
        state, last = self._state, self.architecture.n_conv
        radial = self._radial(batch.length, "ag", self.graph.atom_graph_cutoff)
        near = self._radial(batch.length[: batch.short], "bg", self.graph.bond_graph_cutoff)
        atoms = state["atom_embedding.embedding.weight"][batch.element]
        bonds = F.linear(radial, state["bond_embedding.weight"])
        angles = F.linear(self._angular(batch.angle), state["angle_embedding.weight"])
        atom_weights = F.linear(radial, state["bond_weights_ag.weight"])
        bond_weights = F.linear(near, state["bond_weights_bg.weight"])
        other_weights = bond_weights[batch.other]
        short = bonds[: batch.short]  # the others have no angles, and nothing changes them
        keep(0, atoms, bonds, angles)
        for k in range(last - 1):
            atoms = self._convolved(k, atoms, bonds, atom_weights, batch)
            messages = self._bond[k].messages(self._bond[k].table(atoms, short), batch.angle_rows, angles)
            order = torch.arange(len(messages), device=messages.device)
            total = F.embedding_bag(order, messages.mul_(other_weights), batch.bond_start, mode="sum")
            short.addmm_(total.mul_(bond_weights), state[f"bond_conv_layers.{k}.mlp_out.layers.1.weight"].t())
            angles += self._angle[k].messages(self._angle[k].table(atoms, short), batch.angle_rows, angles)
            keep(k + 1, atoms, bonds, angles)
        atoms = self._convolved(last - 1, atoms, bonds, atom_weights, batch)
        keep(last, atoms, bonds, angles)
        return self._energy(atoms, batch)

    def _convolved(self, k: int, atoms: Tensor, bonds: Tensor, weights: Tensor, batch: Batch) -> Tensor:
        """Add to each atom the sum of the messages along its bonds, weighted by the bonds' lengths."""
        messages = self._atom[k].messages(self._atom[k].table(atoms, bonds), batch.atom_rows)
        messages.view(2, *weights.shape).mul_(weights)  # the same for both directions of a bond
        total = F.embedding_bag(batch.incoming, messages, batch.atom_start, mode="sum")
        return torch.addmm(atoms, total, self._state[f"atom_conv_layers.{k}.mlp_out.layers.1.weight"].t())

    def _energy(self, atoms: Tensor, batch: Batch) -> Tensor:
        """Mean over the atoms of what a perceptron says and of the elements' references, eV/atom."""
        state = self._state
        rows = F.layer_norm(atoms, atoms.shape[1:], state["readout_norm.weight"], state["readout_norm.bias"])
        for place in (0, 2, 4, 7):
            rows = F.linear(rows, state[f"mlp.layers.{place}.weight"], state[f"mlp.layers.{place}.bias"])
            rows = rows if place == 7 else F.silu(rows, inplace=True)
        rows += state["composition_model.fc.weight"][0, batch.element, None]
        return batch.atoms.mean(rows)[:, 0]

    def _radial(self, length: Tensor, which: str, cutoff: float) -> Tensor:
        """Bessel functions of lengths (b,) in Å under a smooth cutoff, (b, num_radial)."""
        p = self.architecture.cutoff_coeff
        x = length[:, None] / cutoff
        smooth = 1 + x**p * (-(p + 1) * (p + 2) / 2 + p * (p + 2) * x - p * (p + 1) / 2 * x * x)
        scale = torch.where(x < 1, smooth, 0) * (2 / cutoff) ** 0.5 / length[:, None]
        frequencies = self._state[f"bond_basis_expansion.rbf_expansion_{which}.frequencies"]
        return torch.sin(frequencies * x).mul_(scale).to(frequencies.dtype)

    def _angular(self, angle: Tensor) -> Tensor:
        """Fourier terms of angles (z,) in radians, (z, num_angular)."""
        frequencies = self._state["angle_basis_expansion.fourier_expansion.frequencies"]
        waves = angle[:, None] * frequencies
        constant = torch.full_like(angle[:, None], 0.5**0.5)
        terms = torch.cat([constant, torch.sin(waves), torch.cos(waves)], dim=1)
        return terms.div_(torch.pi**0.5).to(frequencies.dtype)
