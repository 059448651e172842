"""A small store with a chosen model, the map of it, and names that try to become markup."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from core.params import Params
from core.structure import Structure
from evaluation.evaluate import evaluate
from evaluation.explorer.build import Request, store_map
from evaluation.explorer.structure_map import PROPERTIES, Column, Crystals, Shares, StructureMap
from featurestore.query.store import open_store
from heads.fit import fit
from tests.models import FOLDED
from tests.stores import small_store
from zoo.model import Model

HOSTILE = (
    "<script>globalThis.run = 1</script>",
    "</script><img src=x onerror='globalThis.run = 1'>",
    '"><svg onload="globalThis.run = 1">',
    "' onclick='globalThis.run = 1",
    "<!--<script>",
    "x" * 300,
    "\u202eכמו שם\u202c",
    "=HYPERLINK(1)",
    "{{ 7 * 7 }} {% for %}",
)


@pytest.fixture(scope="session")
def chosen(tmp_path_factory) -> Path:
    """A store in which a ridge was chosen for alpha/energy, and no model for the other properties."""
    root = small_store(tmp_path_factory.mktemp("explorer") / "store")
    fit("alpha", FOLDED, root)
    evaluate(FOLDED, root, root.parent)
    return root


@pytest.fixture(scope="session")
def params() -> Params:
    """The settings with which the store was made."""
    return FOLDED


@pytest.fixture(scope="session")
def mapped(chosen) -> StructureMap:
    """The map of both datasets, with the model of alpha/energy."""
    with pytest.MonkeyPatch.context() as patched, open_store(chosen) as store:
        patched.setattr(Model, "check_sources", lambda self: None)  # made-up networks have no cards
        return store_map(store, Request(properties=["alpha/energy", "beta/gap"], shares=0), FOLDED)


@pytest.fixture(scope="session")
def hostile() -> StructureMap:
    """A map whose every text is one of those that must stay texts."""
    n = len(HOSTILE)
    structures = [Structure(np.eye(3) * 4, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.25]]) for _ in HOSTILE]
    columns = [Column(text, np.arange(n, dtype=float), text, PROPERTIES, text) for text in HOSTILE]
    columns += [
        dataclasses.replace(Column.of_words(f"{text} words", HOSTILE), about=text) for text in HOSTILE[:2]
    ]
    return StructureMap(
        title=" ".join(HOSTILE),
        names=HOSTILE,
        entries=HOSTILE,
        formulas=HOSTILE,
        crystals=Crystals.of(structures),
        columns=tuple(columns),
        x=HOSTILE[0],
        y=HOSTILE[1],
        colour=f"{HOSTILE[0]} words",
        near=np.array([[(i + 1) % n] for i in range(n)], np.int32),
        far=np.ones((n, 1), np.float32),
        near_by=HOSTILE[0],
        shares=Shares({0: np.array([0.5, -0.25])}, HOSTILE[0], HOSTILE[1]),
        notes=HOSTILE,
        rejects=HOSTILE,
    )
