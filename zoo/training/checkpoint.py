"""A training that stopped, as one file: safetensors with the numbers in its header; no pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from core.atomic import explained, failpoint, remove, sync_file, sync_folder
from core.errors import StrataError
from zoo.backbones.alignn.network import Alignn

FILE = "checkpoint.safetensors"
_TEMPORARY = ".tmp-checkpoint"  # one writer at a time, so that a killed one's is simply written over
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Position:
    """How far a training is; with the weights, all that it needs to go on as if it had never stopped.

    `step` of `epoch` comes next. `error` and `rows` sum up the epoch's absolute errors (standardised) and
    values, by property; `history` has one row per epoch.
    """

    key: str
    epoch: int = 0
    step: int = 0
    seen: int = 0
    updates: int = 0
    error: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    best_epoch: int = -1
    best_score: float | None = None
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


def save(
    folder: Path,
    position: Position,
    network: Alignn,
    optimizer: Optimizer,
    best: Mapping[str, Tensor] | None,
    average: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint; the one before it stays in place until this one is whole on the disk."""
    from safetensors.torch import save as serialise

    tensors = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in (best or {}).items()}
    tensors |= {f"average.{name}": tensor for name, tensor in (average or {}).items()}
    for name, parameter in network.named_parameters():
        for moment in _MOMENTS:
            if moment in optimizer.state.get(parameter, {}):
                tensors[f"adam.{moment}.{name}"] = optimizer.state[parameter][moment]
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = serialise(tensors, {"position": json.dumps(asdict(position))})
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / _TEMPORARY
    try:
        with explained(folder, len(content)), temporary.open("wb") as file:
            file.write(content[: len(content) // 2])
            failpoint("checkpoint_partly_written")
            file.write(content[len(content) // 2 :])
            sync_file(file)
        temporary.replace(folder / FILE)
        sync_folder(folder)
    finally:
        remove(temporary)
    failpoint("checkpoint_written")


def load(
    folder: Path, key: str, network: Alignn, optimizer: Optimizer
) -> tuple[Position, dict[str, Tensor], dict[str, Tensor]]:
    """Restore network and optimizer; returns the position, the best weights so far and the moving average.

    The last two are empty at first; the average where there is none, too.

    Without a checkpoint the position is the beginning. Raises `StrataError` for a damaged file, and for one
    that another training (data or settings) wrote.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.exists():
        return Position(key), {}, {}
    try:
        with safe_open(path, "pt") as file:
            position = Position(**json.loads(file.metadata()["position"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StrataError(
            f"{path} is damaged ({error}); remove it, and the training starts again from its beginning"
        ) from None
    if position.key != key:
        raise StrataError(
            f"{path} belongs to another training ({position.key[:12]}…, this one is {key[:12]}…): data or "
            "settings have changed; finish it with its own settings, or remove it to start anew"
        )
    network.load(_under("model.", tensors), str(path))
    for name, parameter in network.named_parameters():
        if f"adam.{_MOMENTS[0]}.{name}" in tensors:
            moments = {m: tensors[f"adam.{m}.{name}"].to(parameter.device) for m in _MOMENTS}
            optimizer.state[parameter] = {"step": torch.tensor(float(position.updates)), **moments}
    return position, _under("best.", tensors), _under("average.", tensors)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
