"""Stores in which experiments run: a made-up one, and the elements with networks of their own."""

from pathlib import Path

import pytest

from core.params import Params, parse
from tests.stores import add_dataset, small_store


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory) -> Path:
    """The synthetic store."""
    root = small_store(tmp_path_factory.mktemp("synthetic") / "store", splits=False)
    add_dataset(root, "tiny", range(4), ["energy"])
    return root


@pytest.fixture
def ask():
    """Build params whose experiments run on the synthetic store: ask(checkpoints={...})."""

    def build(**experiments: dict) -> Params:
        return parse(
            {
                "datasets": ["alpha", "beta"],
                "extract": {"source_models": ["synthetic"]},
                "evaluate": {"bootstrap": 20},
                "experiments": experiments,
            }
        )

    return build


@pytest.fixture(scope="session")
def elements(tmp_path_factory) -> Path:
    """The elements with vectors of the embedded source model."""
    pytest.importorskip("torch")
    from etl.extract import extract
    from etl.ingest import ingest

    root = tmp_path_factory.mktemp("elements") / "store"
    params = parse({"datasets": ["ase_elements"], "extract": {"workers": 0, "threads": 1}})
    ingest("ase_elements", params, root)
    extract(params, root)
    return root


QUICK = {"epochs": 2, "batch_size": 64, "threads": 1, "workers": 0}


@pytest.fixture
def ask_elements():
    """Build params whose experiments train networks on the elements, for two epochs."""

    def build(**experiments: dict) -> Params:
        sections = {name: {"training": QUICK, **section} for name, section in experiments.items()}
        return parse({"datasets": ["ase_elements"], "evaluate": {"bootstrap": 20}, "experiments": sections})

    return build
