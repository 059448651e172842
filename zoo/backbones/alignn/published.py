"""Published ALIGNN models: weights and configuration read from their archives, running nothing of them.

A zip holds a checkpoint (`checkpoint_300.pt`, a dictionary with the key `model`) and alignn's `config.json`;
for a wheel the card names both.
"""

import hashlib
import io
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor

from core.archive import read_members
from core.errors import StrataError
from zoo.backbones.alignn.architecture import Architecture
from zoo.backbones.alignn.inference import check_state
from zoo.wheels import read_wheel

CONFIG = "config.json"
MAX_BYTES = 512 * 2**20  # a plain ALIGNN with its optimizer is 50 MB
_CHECKPOINT = re.compile(r"checkpoint_(\d+)\.pt|best_model\.pt")
# What config.json must say for our graphs to be those that the model learned from; absent: alignn's default.
_GRAPH = {
    "atom_features": ("cgcnn",), "neighbor_strategy": ("k-nearest",),
    "target_multiplication_factor": (None, 1, 1.0), "classification_threshold": (None,),
    "standard_scalar_and_pca": (False, None),
}  # fmt: skip
_FURTHER = ("classification", "zero_inflated", "extra_features", "use_cutoff_function")


class _Files(NamedTuple):
    """The two files of a model, and where they lie, for messages."""

    weights: bytes
    weights_in: str
    config: bytes
    config_in: str


def read_archive(path: Path, card: Any) -> tuple[dict[str, Tensor], Architecture]:
    """Read weights and architecture from a published zip or wheel, strictly.

    Raises `StrataError`: an archive that is damaged, too large or points outside itself; no checkpoint or
    config; another model or other graph settings than the card's; a pickle that holds anything but tensors
    and plain data, which is not run; a missing, misshapen or not finite tensor.
    """
    files = _of_zip(path, card) if card.wheel is None else _of_wheel(path, card)
    architecture = _architecture(files.config, files.config_in, card)
    state = _state(files.weights, files.weights_in)
    check_state(state, architecture, files.weights_in)
    return state, architecture


def _of_wheel(path: Path, card: Any) -> _Files:
    weights, config = read_wheel(path, card.wheel, card.name)
    return _Files(weights, f"{path}, {card.wheel.member}", config, f"{path}, {card.wheel.config}")


def _of_zip(path: Path, card: Any) -> _Files:
    members = read_members(path, lambda name: name == CONFIG or bool(_CHECKPOINT.fullmatch(name)), MAX_BYTES)
    if CONFIG not in members:
        raise StrataError(f"{path}: no {CONFIG} in the archive")
    member = max((name for name in members if name != CONFIG), key=_epoch, default=None)
    if member is None:
        raise StrataError(f"{path}: no checkpoint_*.pt and no best_model.pt in the archive")
    where = f"{path}, {member}"
    expected = card.published.member_sha256 if card.published else None
    found = hashlib.sha256(members[member]).hexdigest()
    if expected and found != expected:
        raise StrataError(f"{where}: its SHA-256 is {found}, the card of {card.name} says {expected}")
    return _Files(members[member], where, members[CONFIG], f"{path}, {CONFIG}")


def _epoch(name: str) -> float:
    match = _CHECKPOINT.fullmatch(name)
    return float(match[1]) if match and match[1] else -1.0


def _architecture(text: bytes, where: str, card: Any) -> Architecture:
    try:
        config = json.loads(text)
        model = dict(config["model"])
    except (ValueError, KeyError, TypeError) as error:
        raise StrataError(f"{where}: not a config.json of alignn ({error})") from None
    if model.get("name") != card.architecture.name:
        raise StrataError(
            f"{where}: the model is {model.get('name')!r}, "
            f"the card of {card.name} says {card.architecture.name!r}"
        )
    for key, allowed in _GRAPH.items():
        if (value := config.get(key, allowed[0])) not in allowed:
            raise StrataError(
                f"{where}: {key} is {value!r}, expected {allowed[0]!r}; not a model for our graphs"
            )
    graph = {
        "cutoff": card.graph.cutoff,
        "max_neighbors": card.graph.max_neighbours,
        "use_canonize": card.graph.chosen_twice == "once",
    }
    for key, ours in graph.items():
        if config.get(key) not in (ours, None):
            raise StrataError(f"{where}: {key} is {config[key]}, the card of {card.name} says {ours}")
    for key in _FURTHER:
        if model.get(key):
            raise StrataError(f"{where}: {key} is {model[key]!r}; that is no plain ALIGNN")
    known = {key: value for key, value in model.items() if key in Architecture.model_fields}
    try:
        return Architecture.model_validate(known)
    except ValidationError as error:
        first = error.errors()[0]
        raise StrataError(
            f"{where}, model.{first['loc'][0]}: {first['msg']}, got {first['input']!r}"
        ) from None


def _state(content: bytes, where: str) -> dict[str, Tensor]:
    try:
        loaded: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise StrataError(
            f"{where}: refused, it holds more than tensors and nothing of it was run ({reason})"
        ) from None
    except Exception as error:  # noqa: BLE001 - what reading damaged bytes raises is without limit
        raise StrataError(f"{where}: not a checkpoint that torch reads ({error})") from None
    state = loaded.get("model", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise StrataError(f"{where}: no dictionary of tensors under the key 'model'")
    return dict(state)
