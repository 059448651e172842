"""Plans of what fine-tuning leaves as it is."""

from typing import Literal

from core.errors import unknown
from zoo.backbones.alignn.network import Alignn, Norm

Freeze = Literal["none", "embeddings", "all_but_last", "head"]

_EMBEDDINGS = ("atom_embedding", "edge_embedding", "angle_embedding")
_LAST = ("gcn_layers.3", "fc")
_HEAD = ("fc",)
PLANS: dict[str, str] = {
    "none": "every layer learns",
    "embeddings": "the embeddings of atoms, bonds and angles stay",
    "all_but_last": "only the last GCN layer and the head learn",
    "head": "only the head learns",
}


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
