"""Networks as a training begins: random, or a source model with a head for the new target."""

from collections.abc import Sequence

import torch

from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.inference import Architecture
from zoo.backbones.alignn.network import Alignn
from zoo.hub import SourceModel
from zoo.training.examples import Scale, standardise
from zoo.training.freeze import freeze


def initial(
    source: SourceModel | None, units: Sequence[str], scale: Scale, seed: int, plan: str = "none"
) -> Alignn:
    """Return the network that a training of properties with these units starts from.

    The source model's head is kept where its target has the same unit, scaled to the standardised target;
    else the head is drawn at random, as all layers are without a source model.
    """
    architecture = source.card.architecture if source else Architecture()
    one = architecture.model_copy(update={"output_features": len(units), "link": "identity"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Alignn(torch.from_numpy(atom_features()), one)
    if source is not None:
        keeps = list(units) == [source.card.target.unit] and architecture == one
        own = {} if keeps else {name: t for name, t in network.state_dict().items() if name.startswith("fc.")}
        network.load({name: tensor.float() for name, tensor in source.state.items()} | own, source.card.name)
        if keeps:
            standardise(network, scale)
    freeze(network, plan)
    return network
