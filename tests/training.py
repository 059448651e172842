"""Small things to train on: crystals whose symmetry leaves them few angles."""

from pathlib import Path

import numpy as np
import torch

from core.params import Train
from core.structure import Structure
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import INVARIANT
from zoo.backbones.alignn.network import Alignn
from zoo.training.examples import Examples
from zoo.training.graph_cache import GraphCache

QUICK = Train(epochs=3, batch_size=4, device="cpu", threads=1, checkpoint_seconds=0)


def metals() -> list[Structure]:
    """Twelve elements in their own crystals, one or two atoms each."""
    from ase.build import bulk

    names = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Fe", "Cr", "W", "Mg", "Zn", "Si")
    return [Structure.from_ase(bulk(name)) for name in names]


def examples(folder: Path, properties: int = 1) -> Examples:
    """Volume an atom (Å³) of the metals, and multiples of it; a third of all values but the first is missing.

    Rows 0 to 7 train, 8 and 9 validate, 10 and 11 have no values that may be seen.
    """
    found = metals()
    ids = [structure.structure_id for structure in found]
    by_id = dict(zip(ids, found, strict=True))
    graphs = GraphCache(folder, INVARIANT).load(ids, lambda names: [by_id[name] for name in names], workers=0)
    row = np.arange(len(found))[:, None]
    volume = np.array([[structure.volume / structure.n_atoms] for structure in found])
    values = volume * (1 + np.arange(properties)) ** 2
    values[(row + np.arange(properties)) % 3 * np.arange(properties) == 2] = np.nan
    there = ~np.isnan(values)
    values[10:] = np.nan
    return Examples(
        names=[f"p{k}" for k in range(properties)],
        graphs=graphs,
        costs=graphs.costs,
        graph=np.arange(len(found)),
        values=values,
        train=there & (row < 8),
        val=there & (row >= 8) & (row < 10),
    )


def network(outputs: int = 1, seed: int = 0, kind: str = "alignn") -> Alignn:
    """A network with random weights, normalised over batches, or (alignn_atomwise) row by row."""
    from zoo.backbones.alignn.inference import Architecture

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Alignn(torch.from_numpy(atom_features()), Architecture(name=kind, output_features=outputs))
