"""Stores with models: three of made-up vectors, whose networks are stood in for, and one of real ones."""

from pathlib import Path

import pytest

from etl.extract import extract
from etl.ingest import ingest
from evaluation.evaluate import evaluate
from featurestore import Reject
from featurestore.splits.schemes import split_dataset
from heads.fit import fit
from tests import models
from tests.models import BOTH, ELEMENTS, FOLDED, PARAMS, REAL
from tests.stores import add_other_features, small_store, structure_id


@pytest.fixture
def stand_in(monkeypatch) -> list[str]:
    """Have made-up vectors in place of the networks'; says which were loaded, in order."""
    return models.stand_in(monkeypatch)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory) -> Path:
    """A store in which heads were chosen for alpha/energy by validation, in two repetitions; none for gap."""
    root = small_store(tmp_path_factory.mktemp("fitted") / "store")
    fit("alpha", PARAMS, root)
    evaluate(PARAMS, root, root.parent)
    return root


@pytest.fixture(scope="session")
def folded(tmp_path_factory) -> Path:
    """A store in which a ridge was chosen by cross-validation, and fitted to train and validation."""
    root = small_store(tmp_path_factory.mktemp("folded") / "store")
    fit("alpha", FOLDED, root)
    evaluate(FOLDED, root, root.parent)
    return root


@pytest.fixture(scope="session")
def committee(tmp_path_factory) -> Path:
    """A store with a committee on two source models; the second has no vectors of structures 0 and 1."""
    root = small_store(tmp_path_factory.mktemp("committee") / "store")
    refused = [Reject(structure_id(number), "too_large", "") for number in range(2)]
    add_other_features(root, range(2, 50), refused)
    fit("alpha", BOTH, root)
    evaluate(BOTH, root, root.parent)
    return root


@pytest.fixture(scope="session")
def elements(tmp_path_factory) -> Path:
    """The store of the elements' crystals with vectors by the embedded network, fitted and scored."""
    root = tmp_path_factory.mktemp("elements") / "store"
    ingest(ELEMENTS, REAL, root)
    extract(REAL, root)
    split_dataset(root, ELEMENTS, ["random"], [0])
    fit(ELEMENTS, REAL, root)
    evaluate(REAL, root, root.parent)
    return root


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """A crystal, a metal and a molecule in the three kinds of file."""
    return models.write_files(tmp_path)
