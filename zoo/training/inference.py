"""A trained network applied to quotient graphs, by the extraction engine's forward pass."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from zoo.backbones.alignn.batch import by_angles, collate
from zoo.backbones.alignn.inference import Architecture, Network
from zoo.backbones.alignn.quotient import Quotient
from zoo.training.examples import Examples, Scale

_ANGLES_PER_BATCH = 8_000  # what stays in the cache


def predict(
    state: Mapping[str, Tensor],
    architecture: Architecture,
    features: Tensor,
    graphs: Sequence[Quotient],
    device: torch.device | None = None,
) -> np.ndarray:
    """Predict (n, p) float64 for quotient graphs, by the inference engine's own forward pass."""
    network = Network(state, features, architecture, device)
    found = np.empty((len(graphs), architecture.output_features))
    read = [graphs[i] for i in range(len(graphs))]
    for chosen in by_angles(read, _ANGLES_PER_BATCH):
        output = network(collate([read[i] for i in chosen]), ())
        found[chosen] = output.prediction.double().cpu().numpy()
    return found


def validate(
    state: Mapping[str, Tensor],
    architecture: Architecture,
    features: Tensor,
    examples: Examples,
    scale: Scale,
) -> np.ndarray:
    """Validation MAE (p,) in units, of a network that predicts standardised values."""
    rows = np.flatnonzero(examples.val.any(axis=1))
    graphs = [examples.graphs[i] for i in examples.graph[rows]]
    found = predict(state, architecture, features, graphs, features.device)
    values = np.where(examples.val[rows], examples.values[rows], np.nan)
    return np.nanmean(np.abs(found * scale.deviation + scale.mean - values), axis=0)
