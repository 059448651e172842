"""Published ALIGNN models: their archives, fetched, checked and kept as safetensors.

An archive holds a checkpoint (`checkpoint_300.pt`, a dictionary with the key `model`) and alignn's
`config.json`. The first download's SHA-256 is recorded beside it, and enforced from then on.
"""

import hashlib
import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from core.archive import read_members
from core.download import Progress, Rules
from core.download import fetch as download
from core.errors import StrataError
from etl.cards import Source
from etl.raw import cache_folder
from zoo.backbones.alignn.inference import Architecture, check_state
from zoo.hub import (
    FETCHED_RECORD,
    FETCHED_WEIGHTS,
    Fetched,
    SourceCard,
    fetched_folder,
    load_card,
    read_weights,
    weights_hash,
    weights_path,
)

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
MAX_BYTES = 512 * 2**20  # a plain ALIGNN with its optimizer is 50 MB
_CHECKPOINT = re.compile(r"checkpoint_(\d+)\.pt|best_model\.pt")
# What config.json must say for our graphs to be those that the model learned from; absent: alignn's default.
_GRAPH = {
    "atom_features": ("cgcnn",), "neighbor_strategy": ("k-nearest",), "use_canonize": (True, None),
    "target_multiplication_factor": (None, 1, 1.0), "classification_threshold": (None,),
    "standard_scalar_and_pca": (False, None),
}  # fmt: skip


def fetch(name: str, archive: Path | None = None, progress: Progress | None = None) -> SourceCard:
    """Bring a published model into the cache and return its card, hashes filled in.

    archive: a zip that is on this machine already. Raises `StrataError` for a card that names no archive, for
    what downloads raise, and for what `read_archive` refuses; nothing is kept then.
    """
    card = load_card(name)
    if card.published is None:
        raise StrataError(f"source model {name} comes with the project; there is nothing to fetch")
    if archive is None:
        source = Source(file=card.published.file, url=card.published.url, sha256=card.published.sha256)
        rules = Rules(max_bytes=MAX_BYTES, check=lambda path, _kind: _check(path))
        archive, _ = download(source, cache_folder() / "models", rules, progress)
    state, architecture = read_archive(archive, card)
    _keep(card, state, architecture)
    return load_card(name)


def read_archive(path: Path, card: SourceCard) -> "tuple[dict[str, Tensor], Architecture]":
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


def verify(name: str) -> str:
    """Check a model's file against its card; returns the weights' hash. Raises as `load_source` does."""
    card = load_card(name)
    read_weights(weights_path(card), card)
    return card.weights_sha256


def _check(path: Path) -> None:
    """Tell an archive from an error page that a server sent in its place."""
    read_members(path, lambda _name: True, MAX_BYTES)


def _epoch(name: str) -> float:
    match = _CHECKPOINT.fullmatch(name)
    return float(match[1]) if match and match[1] else -1.0


def _architecture(text: bytes, where: str, card: SourceCard) -> Architecture:
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


def _state(content: bytes, where: str) -> "dict[str, Tensor]":
    import torch

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


def _keep(card: SourceCard, state: "Mapping[str, Tensor]", architecture: Architecture) -> None:
    """Write weights and record; the folder has its name only when both are whole."""
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in state.items()})
    record = Fetched(
        file_sha256=hashlib.sha256(content).hexdigest(),
        weights_sha256=weights_hash(state),
        architecture=architecture,
    )
    folder = fetched_folder(card.name)
    unfinished = folder.with_name(f".tmp-{os.getpid()}-{card.name}")
    unfinished.mkdir(parents=True)
    try:
        (unfinished / FETCHED_WEIGHTS).write_bytes(content)
        (unfinished / FETCHED_RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
