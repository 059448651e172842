"""Published ALIGNN models: weights and configuration read from their archives, running nothing of them.

An archive holds a checkpoint (`checkpoint_300.pt`, a dictionary with the key `model`) and alignn's
`config.json`.
"""

import hashlib
import io
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from core.archive import read_members
from core.errors import StrataError
from zoo.backbones.alignn.architecture import Architecture
from zoo.backbones.alignn.inference import check_state

CONFIG = "config.json"
MAX_BYTES = 512 * 2**20  # a plain ALIGNN with its optimizer is 50 MB
_CHECKPOINT = re.compile(r"checkpoint_(\d+)\.pt|best_model\.pt")
# What config.json must say for our graphs to be those that the model learned from; absent: alignn's default.
_GRAPH = {
    "atom_features": ("cgcnn",), "neighbor_strategy": ("k-nearest",), "use_canonize": (True, None),
    "target_multiplication_factor": (None, 1, 1.0), "classification_threshold": (None,),
    "standard_scalar_and_pca": (False, None),
}  # fmt: skip


def read_archive(path: Path, card: Any) -> tuple[dict[str, Tensor], Architecture]:
    """Read weights and architecture from a published zip, strictly.

    Raises `StrataError`: a zip that is damaged, too large or points outside itself; no checkpoint or config;
    another model than a plain ALIGNN, or graph settings that are not the card's; a pickle that holds anything
    but tensors and plain data, which is not run; a missing, misshapen or not finite tensor.
    """
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
    architecture = _architecture(members[CONFIG], f"{path}, {CONFIG}", card)
    state = _state(members[member], where)
    check_state(state, architecture, where)
    return state, architecture


def _epoch(name: str) -> float:
    match = _CHECKPOINT.fullmatch(name)
    return float(match[1]) if match and match[1] else -1.0


def _architecture(text: bytes, where: str, card: Any) -> Architecture:
    try:
        config = json.loads(text)
        model = dict(config["model"])
    except (ValueError, KeyError, TypeError) as error:
        raise StrataError(f"{where}: not a config.json of alignn ({error})") from None
    if model.get("name") != "alignn":
        raise StrataError(
            f"{where}: the model is {model.get('name')!r}; only the plain 'alignn' is supported"
        )
    for key, allowed in _GRAPH.items():
        if (value := config.get(key, allowed[0])) not in allowed:
            raise StrataError(
                f"{where}: {key} is {value!r}, expected {allowed[0]!r}; not a model for our graphs"
            )
    for key, ours in (("cutoff", card.graph.cutoff), ("max_neighbors", card.graph.max_neighbours)):
        if config.get(key, ours) != ours:
            raise StrataError(f"{where}: {key} is {config[key]}, the card of {card.name} says {ours}")
    if model.get("classification") or model.get("zero_inflated") or model.get("extra_features"):
        raise StrataError(f"{where}: a classifier, or a network with further inputs, is no plain ALIGNN")
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
