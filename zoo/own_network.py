"""The network of a target's own that a folder holds; torch is imported with it, and for it alone."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from core.lazy import need

if TYPE_CHECKING:
    from zoo.training.trained import TrainedModel


def load_network(folder: Path) -> "TrainedModel":
    """Read it; raises `StrataError` for files that are damaged, and where torch is not installed."""
    need("torch", "extract")  # seconds, which a model of heads does not wait for
    return cast("TrainedModel", import_module("zoo.training.trained").TrainedModel.load(folder))
