"""A store with two small datasets that share a structure, and a crystal in two settings."""

import json

import numpy as np

from core import download, source
from core.params import Params
from core.structure import Structure
from etl import cards
from etl.ingest import ingest
from tests.crystals import random_rotation


def settings_of(structure, rng):
    """The same crystal: rotated and shifted, doubled, left-handed, and with another choice of vectors."""
    lattice, coords, numbers = structure.lattice, structure.frac_coords, structure.numbers
    order = rng.permutation(len(numbers))
    yield Structure(lattice @ random_rotation(rng), numbers[order], (coords + rng.random(3))[order])
    double = np.concatenate([coords / [1, 1, 2], coords / [1, 1, 2] + [0, 0, 0.5]])
    yield Structure(lattice * [[1], [1], [2]], np.tile(numbers, 2), double)
    yield Structure(lattice[[1, 0, 2]], numbers, coords[:, [1, 0, 2]])
    change = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    yield Structure(change @ lattice, numbers, coords @ np.linalg.inv(change))


CARD = """
name: {name}
title: t
note: n
provider: jarvis
source: {{file: {name}.json, url: "https://example.org", unverified: true}}
id_column: id
structure: {{column: atoms, format: jarvis}}
material_class: 3D
null_tokens: [na]
properties:
  gap: {{column: gap, unit: eV, description: d, origin: measured}}
  K: {{column: K, unit: GPa, description: d, origin: measured}}
licence: l
citation: c
"""


def salt(edge, factor=1):
    coords = [[0, 0, 0], [0.5, 0.5, 0.5]]
    structure = Structure(edge * np.eye(3), [11, 17], coords)
    if factor == 1:
        return structure.to_jarvis_dict()
    rng = np.random.default_rng(5)
    return next(iter(settings_of(structure, rng))).to_jarvis_dict()


def ingested(tmp_path, monkeypatch):
    """`one`: five records; `two`: one structure of `one`, one of its crystals rotated, one of its own."""
    monkeypatch.setenv(source.RAW_VARIABLE, str(tmp_path))
    monkeypatch.setenv(cards.CARDS_VARIABLE, str(tmp_path))
    monkeypatch.setenv(download.OFFLINE_VARIABLE, "1")
    bad = salt(4.0) | {"elements": ["D", "Cl"]}
    rows = {
        "one": [
            {"id": "a", "atoms": salt(4.0), "gap": 1.0, "K": 5},
            {"id": "b", "atoms": salt(5.0), "gap": 2.0, "K": "na"},
            {"id": "c", "atoms": salt(6.0), "gap": 4.0, "K": float("nan")},
            {"id": "d", "atoms": salt(7.0), "gap": "na", "K": 7},
            {"id": "e", "atoms": bad, "gap": 9, "K": 9},
        ],
        "two": [
            {"id": "x", "atoms": salt(4.0), "gap": 1.0, "K": 1},
            {"id": "y", "atoms": salt(5.0, 2), "gap": 1.0, "K": 1},
            {"id": "z", "atoms": salt(9.0), "gap": 1.0, "K": 1},
        ],
    }
    for name, records in rows.items():
        (tmp_path / f"{name}.yaml").write_text(CARD.format(name=name))
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
        ingest(name, Params(), tmp_path / "store")
    return tmp_path / "store"
