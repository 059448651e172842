"""The forward pass: the package's own layers and energies, and means over rows that are written out here."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from core.structure import InvalidStructure, Structure
from tests.crystals import random_structure, varied_structures
from zoo.backbones.engine import Engine
from zoo.backbones.registry import find

COUNT = 40


def structures() -> list[Structure]:
    """40 crystals, real ones where the providers' files are there."""
    raw = Path(os.environ.get("STRATA_RAW", "")) / "dielectric_constant.json.gz"
    if raw.is_file():
        table = json.loads(gzip.decompress(raw.read_bytes()))
        column = table["columns"].index("structure")
        candidates = [Structure.from_pymatgen(row[column]) for row in table["data"][::20]]
    else:
        candidates = [
            *varied_structures(),
            *(random_structure(np.random.default_rng(seed)) for seed in range(50, 80)),
        ]
    usual = [s for s in candidates if usable(s)][: COUNT - 1]
    return [*usual, Structure.from_ase(bulk("Ar", "fcc", a=5.3))]  # without an angle


def usable(structure: Structure) -> bool:
    try:
        find("chgnet")().prepare(structure)
    except InvalidStructure:
        return False
    return True


class Package:
    """The package's model; `layers` holds what each of its layers gave for the structure that ran last."""

    def __init__(self, model) -> None:
        self.model, self.layers = model, {}
        for depth, kinds in enumerate(zip(*self.updates(), strict=False)):
            for kind, layer in zip(("atom", "bond", "angle"), kinds, strict=True):
                self.watch(layer, f"{kind}_{depth}")
        self.watch(model.atom_conv_layers[-1], "atom_4")

    def updates(self):
        model = self.model
        yield model.atom_embedding, *model.atom_conv_layers
        yield model.bond_embedding, *model.bond_conv_layers
        yield model.angle_embedding, *model.angle_layers

    def watch(self, layer, name: str) -> None:
        layer.register_forward_hook(lambda _, __, rows: self.layers.__setitem__(name, rows.detach()))

    def run(self, structure: Structure) -> tuple[float, dict[str, np.ndarray]]:
        """Energy, eV/atom, and the rows of each layer; a layer that did not run has none."""
        self.layers.clear()
        with torch.no_grad():
            graph = self.model.graph_converter(structure.to_pymatgen())
            found = self.model.predict_graph(graph, task="e")
        return float(found["e"]), {name: rows.double().numpy() for name, rows in self.layers.items()}


def imported():
    reason = "the package chgnet, with what it depends on, does not import here"
    return pytest.importorskip("chgnet.model.model", reason=reason, exc_type=ImportError)


@pytest.fixture
def package() -> Package:
    """In double precision: in single, its rounding of straight angles is ten times what is allowed here."""
    model = imported()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chgnet.graph.converter.TORCH_DTYPE", torch.float64)
        loaded = model.CHGNet.load(use_device="cpu", verbose=False).double().eval()
        loaded.composition_model.float()  # it divides whole numbers, which gives float32 whatever the rest is
        yield Package(loaded)


def test_vectors_and_energies_are_those_of_the_package(engine: Engine, package: Package):
    chosen = structures()
    assert len(chosen) == COUNT
    found = engine(chosen)
    assert not found.errors
    results = [package.run(structure) for structure in chosen]
    np.testing.assert_allclose(found.prediction, [energy for energy, _ in results], rtol=0, atol=1e-5)
    for name, vectors in found.vectors.items():
        ran = [k for k, (_, rows) in enumerate(results) if name in rows]
        assert len(ran) >= COUNT - 5
        theirs = np.stack([results[k][1][name].mean(axis=0) for k in ran])
        spread = np.sqrt(theirs.var(axis=0).mean())  # of a number of this vector, over the structures
        off = np.abs(vectors[ran] - theirs).max() / spread
        assert off <= 1e-5, f"{name}: {off:.1e} of the spread"
    with_angles = [k for k, (_, rows) in enumerate(results) if "angle_0" in rows]
    assert found.counts["n_bonds"].tolist() == [len(rows["bond_0"]) for _, rows in results]
    assert found.counts["n_angles"][with_angles].tolist() == [
        len(results[k][1]["angle_0"]) for k in with_angles
    ]


def test_energies_are_those_of_predict_structure(engine: Engine):
    loaded = imported().CHGNet.load(use_device="cpu", verbose=False)
    chosen = structures()
    theirs = [float(loaded.predict_structure(s.to_pymatgen(), task="e")["e"]) for s in chosen]
    np.testing.assert_allclose(engine(chosen).prediction, theirs, rtol=0, atol=1e-5)


def test_depth_0_is_the_mean_of_what_the_embeddings_say(engine: Engine):
    """The basis functions as in the paper: Bessel functions under a polynomial cutoff, and Fourier terms."""
    structure = random_structure(np.random.default_rng(3), 5)
    graph = engine.backbone.prepare(structure)
    state = {name: tensor.double().numpy() for name, tensor in engine.runner._network._state.items()}
    x = graph.length[:, None] / 6
    smooth = 1 - 45 * x**8 + 80 * x**9 - 36 * x**10
    waves = np.sin(state["bond_basis_expansion.rbf_expansion_ag.frequencies"] * x)
    bonds = np.sqrt(2 / 6) * waves / graph.length[:, None] * smooth @ state["bond_embedding.weight"].T
    turns = graph.angle[:, None] * state["angle_basis_expansion.fourier_expansion.frequencies"]
    terms = np.hstack([np.full((len(turns), 1), np.sqrt(0.5)), np.sin(turns), np.cos(turns)]) / np.sqrt(np.pi)
    angles = terms @ state["angle_embedding.weight"].T
    atoms = state["atom_embedding.embedding.weight"][structure.numbers.astype(int) - 1]
    found = engine([structure]).vectors
    for name, rows in (("atom_0", atoms), ("bond_0", bonds), ("angle_0", angles)):
        np.testing.assert_allclose(found[name][0], rows.mean(axis=0), atol=2e-6, err_msg=name)


def test_without_angles_bonds_stay_and_angle_vectors_are_zero(engine: Engine):
    found = engine(
        [Structure.from_ase(bulk("Ar", "fcc", a=5.3)), random_structure(np.random.default_rng(3), 5)]
    )
    assert found.counts["n_angles"][0] == 0
    for depth in range(4):
        assert not found.vectors[f"angle_{depth}"][0].any()
        np.testing.assert_array_equal(found.vectors[f"bond_{depth}"][0], found.vectors["bond_0"][0])
    assert np.abs(found.vectors["bond_1"][1] - found.vectors["bond_0"][1]).max() > 1e-3
    assert np.abs(found.vectors["atom_4"][0] - found.vectors["atom_0"][0]).max() > 1e-3
