"""Models for tests: a network that is stood in for, settings of small fits, files of structures."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from core.params import Params, parse
from core.structure import InvalidStructure, Structure
from tests.crystals import cif
from tests.engines import SOURCE as EMBEDDED
from tests.stores import OTHER, SOURCE, vectors_of
from zoo import predict as module
from zoo.backbones.engine import Extracted
from zoo.model import Model

ELEMENTS, MODULUS = "ase_elements", "bulk_modulus"
CIF = cif("NaCl", 5.64, "Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1")
POSCAR = "Al\n1.0\n4.05 0 0\n0 4.05 0\n0 0 4.05\nAl\n1\ndirect\n0 0 0\n"
WATER = "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
TOO_MANY = 10  # atoms for the network that is stood in for


class StandIn:
    """A network that knows the made-up vectors of a store's structures, and others by their atoms."""

    made: ClassVar[list[str]] = []

    def __init__(self, name: str, *_: object) -> None:
        self.name = name
        self.made.append(name)

    def __call__(self, structures: Sequence[Structure], names: Sequence[str]) -> Extracted:
        found = [self.vectors(structure) for structure in structures]
        widths = {name: len(array) for name, array in vectors_of(0, source=self.name).items()}
        vectors = {name: np.full((len(structures), widths[name]), np.nan, np.float32) for name in names}
        errors = {}
        for i, one in enumerate(found):
            if structures[i].n_atoms >= TOO_MANY:
                errors[i] = InvalidStructure("too_large", "ten atoms")
                continue
            for name in names:
                vectors[name][i] = one[name]
        return Extracted({}, np.zeros(len(structures), np.float32), vectors, errors)

    def vectors(self, structure: Structure) -> dict[str, np.ndarray]:
        number = 5000 + int(structure.numbers.sum()) + structure.n_atoms
        if structure.formula == "Si" and structure.n_atoms == 1:
            number = round(structure.frac_coords[0, 2] * 1000)
        return vectors_of(number, source=self.name)


def of_store(number: int) -> Structure:
    """Return a structure of the store of made-up vectors, as `tests.stores` has it."""
    return Structure(np.eye(3) * 3, [14], [[0, 0, number / 1000]])


def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have made-up vectors in place of the networks'; returns what will say which were loaded, in order."""
    made: list[str] = []
    monkeypatch.setattr(StandIn, "made", made)
    monkeypatch.setattr(module, "make_engine", StandIn)
    monkeypatch.setattr(Model, "check_sources", lambda _: None)
    return made


def settings(**fit_settings: object) -> Params:
    """Return settings for the store of made-up vectors: one linear head, one property."""
    asked = {"heads": ["mean", "ridge"], "properties": {"alpha": ["energy"]}, "composition": None}
    return parse(
        {
            "datasets": ["alpha"],
            "extract": {"source_models": [SOURCE], "workers": 0},
            "fit": {**asked, "committee": None, "workers": 0, **fit_settings},
            "evaluate": {"bootstrap": 0},
        }
    )


PARAMS = settings()
FOLDED = settings(choose_by="cv", repeats=1, refit=True, feature_sets=["last"])
BOTH = settings(
    heads=["ridge", "svr"],
    choose_by="cv",
    repeats=1,
    refit=True,
    committee="mean",
    feature_sets=["last", f"{OTHER}/all"],
)
REAL = parse(
    {
        "datasets": [ELEMENTS],
        "extract": {"source_models": [EMBEDDED], "workers": 0, "threads": 1, "device": "cpu"},
        "fit": {
            "heads": ["ridge", "svr"],
            "feature_sets": ["last"],
            "properties": {ELEMENTS: [MODULUS]},
            "composition": None,
            "choose_by": "cv",
            "repeats": 1,
            "refit": True,
            "committee": "greedy",
            "workers": 0,
        },
        "evaluate": {"bootstrap": 0},
    }
)


def write_files(folder: Path) -> list[Path]:
    """Write a crystal, a metal and a molecule in the three kinds of file."""
    for name, text in (("salt.cif", CIF), ("POSCAR", POSCAR), ("water.xyz", WATER)):
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / "salt.cif", folder / "POSCAR", folder / "water.xyz"]
