"""Source models that others published: their files, fetched, checked and kept as safetensors.

The first download's SHA-256 is recorded beside it, and enforced from then on.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.archive import read_members
from core.download import Progress, Rules
from core.download import fetch as download
from core.errors import StrataError
from core.params import Section
from core.source import Source, cache_folder
from zoo.backbones.registry import find, runner_of
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

MAX_BYTES = 512 * 2**20  # a plain ALIGNN with its optimizer is 50 MB


def fetch(name: str, archive: Path | None = None, progress: Progress | None = None) -> SourceCard:
    """Bring a published model into the cache and return its card, hashes filled in.

    archive: a zip that is on this machine already. Raises `StrataError` for a card that names no archive, for
    what downloads raise, and for what the backbone's reader refuses; nothing is kept then.
    """
    card = load_card(name)
    if card.published is None:
        raise StrataError(f"source model {name} comes with the project; there is nothing to fetch")
    if archive is None:
        source = Source(file=card.published.file, url=card.published.url, sha256=card.published.sha256)
        rules = Rules(max_bytes=MAX_BYTES, check=lambda path, _kind: _check(path))
        archive, _ = download(source, cache_folder() / "models", rules, progress)
    state, architecture = runner_of(find(card.backbone)).read_published(archive, card)
    _keep(card, state, architecture)
    return load_card(name)


def verify(name: str) -> str:
    """Check a model's file against its card; returns the weights' hash. Raises as `load_source` does."""
    card = load_card(name)
    read_weights(weights_path(card), card)
    return card.weights_sha256


def _check(path: Path) -> None:
    """Tell an archive from an error page that a server sent in its place."""
    read_members(path, lambda _name: True, MAX_BYTES)


def _keep(card: SourceCard, state: "Mapping[str, Tensor]", architecture: Section) -> None:
    """Write weights and record; the folder has its name only when both are whole."""
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in state.items()})
    record = Fetched(
        file_sha256=hashlib.sha256(content).hexdigest(),
        weights_sha256=weights_hash(state),
        architecture=architecture.model_dump(mode="json"),
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
