"""A small store with vectors and splits, and the settings that fit it."""

from pathlib import Path

import pytest

from core.params import Params, parse
from tests.stores import small_store


@pytest.fixture(scope="session")
def pristine_store(tmp_path_factory) -> Path:
    """The synthetic store, as nobody has fitted on it."""
    return small_store(tmp_path_factory.mktemp("pristine") / "store")


@pytest.fixture
def store_root(pristine_store, tmp_path) -> Path:
    """A copy of the synthetic store that a test may write to."""
    import shutil

    return Path(shutil.copytree(pristine_store, tmp_path / "store"))


@pytest.fixture
def ask():
    """Build params for the synthetic store: ask(heads=[...], sections={...}, **fit)."""

    def build(*heads: str, sections: dict | None = None, **fit) -> Params:
        return parse(
            {
                "extract": {"source_models": ["synthetic"]},
                "fit": {"heads": list(heads), **fit},
                "heads": sections or {},
            }
        )

    return build
