"""Networks as a training begins: random, or a source model with a head for the new target; what is frozen."""

from collections.abc import Sequence

import torch

from core.errors import StrataError, unknown
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.alignn.graph import GraphSettings
from zoo.backbones.alignn.inference import Architecture
from zoo.backbones.alignn.network import Alignn, Norm
from zoo.hub import SourceCard, SourceModel
from zoo.training.examples import Scale, standardise

_EMBEDDINGS = ("atom_embedding", "edge_embedding", "angle_embedding")
_LAST = ("gcn_layers.3", "fc")
_HEAD = ("fc",)
PLANS: dict[str, str] = {
    "none": "every layer learns",
    "embeddings": "the embeddings of atoms, bonds and angles stay",
    "all_but_last": "only the last GCN layer and the head learn",
    "head": "only the head learns",
}


def alignn_of(card: SourceCard) -> tuple[Architecture, GraphSettings]:
    """Return sizes and graph settings of a source model that is an ALIGNN; only those can be trained on.

    Raises `StrataError` for a source model of another kind.
    """
    if not (isinstance(card.architecture, Architecture) and isinstance(card.graph, GraphSettings)):
        raise StrataError(
            f"source model {card.name} is a {card.backbone}, and networks are trained from ALIGNNs; "
            "name one of those (strata zoo list) as init, or first in extract.source_models"
        )
    return card.architecture, card.graph


def initial(
    source: SourceModel | None, units: Sequence[str], scale: Scale, seed: int, plan: str = "none"
) -> Alignn:
    """Return the network that a training of properties with these units starts from.

    The source model's head is kept where its target has the same unit, scaled to the standardised target;
    else the head is drawn at random, as all layers are without a source model.
    """
    architecture = alignn_of(source.card)[0] if source else Architecture()
    one = architecture.model_copy(update={"output_features": len(units), "link": "identity"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Alignn(torch.from_numpy(atom_features()), one)
    if source is not None:
        keeps = list(units) == [target.unit for target in source.card.targets[:1]] and architecture == one
        own = {} if keeps else {name: t for name, t in network.state_dict().items() if name.startswith("fc.")}
        network.load({name: tensor.float() for name, tensor in source.state.items()} | own, source.card.name)
        if keeps:
            standardise(network, scale)
    freeze(network, plan)
    return network


def freeze(network: Alignn, plan: str) -> list[str]:
    """Freeze a network's layers by plan; returns the names of the parameters that still learn.

    A frozen batch normalisation uses, and keeps, the source model's running statistics.
    Raises `StrataError` for an unknown plan.
    """
    if plan not in PLANS:
        raise unknown("freeze plan", plan, PLANS)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(_learns(name, plan))
    for name, module in network.named_modules():
        if isinstance(module, Norm):
            module.frozen = not _learns(name, plan)
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


def _learns(name: str, plan: str) -> bool:
    def lies_in(modules: tuple[str, ...]) -> bool:
        return any(name == module or name.startswith(f"{module}.") for module in modules)

    if plan == "embeddings":
        return not lies_in(_EMBEDDINGS)
    if plan == "all_but_last":
        return lies_in(_LAST)
    return lies_in(_HEAD) if plan == "head" else True
