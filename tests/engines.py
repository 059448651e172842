"""ALIGNN's engine as tests want it: the embedded weights, one thread, any settings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.params import Extract
from zoo.backbones.alignn.architecture import Architecture
from zoo.backbones.alignn.graph import GraphSettings
from zoo.backbones.engine import Engine, Extracted
from zoo.hub import backbone_of, load_source

SOURCE = "alignn_mp_eform"
CHECKPOINTS = Architecture().checkpoints


def alignn_engine(
    graph: GraphSettings | None = None,
    state: Mapping[str, Any] | None = None,
    device: str = "cpu",
    **settings: Any,
) -> Engine:
    """Return the engine of the embedded source model, or of one with other graphs or weights."""
    source = load_source(SOURCE)
    card = source.card if graph is None else source.card.model_copy(update={"graph": graph})
    extract = Extract(threads=1, device=device, backbones={"alignn": settings})
    return Engine(backbone_of(card, extract.backbones), state or source.state, extract)


def stacked(found: Extracted) -> NDArray[np.float32]:
    """Return all vectors as one array (n, checkpoints, width), for comparisons."""
    return np.stack(list(found.vectors.values()), axis=1)


def relative(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest difference over largest value, a structure and checkpoint (n, checkpoints)."""
    return np.abs(a - b).max(axis=2) / np.maximum(np.abs(b).max(axis=2), 1e-12)
