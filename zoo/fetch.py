"""Source models that others published: their files, fetched, checked and kept as safetensors.

The SHA-256 of a wheel is on the card; that of an archive's first download is recorded beside it, and enforced
from then on.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
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
    load_state,
    weights_hash,
)
from zoo.wheels import downloaded

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 512 * 2**20  # a plain ALIGNN with its optimizer is 50 MB


def fetch(name: str, archive: Path | None = None, progress: Progress | None = None) -> SourceCard:
    """Bring a published model into the cache and return its card, hashes filled in.

    archive: a zip or wheel that is on this machine already. Raises `StrataError` for a card that names none,
    for what downloads raise, for what the backbone's reader refuses, and for tensors that hash to another
    value than the card's; nothing is kept then.
    """
    card = load_card(name)
    if not card.is_fetched:
        raise StrataError(f"source model {name} comes with the project; there is nothing to fetch")
    runner = runner_of(find(card.backbone))
    with ExitStack() as stack:
        if archive is None:
            if card.wheel is not None:
                archive = stack.enter_context(downloaded(card.wheel))
            else:
                archive = _download(card, progress)
        state, architecture = runner.read_published(archive, card)
    if card.wheel is not None and (found := weights_hash(state)) != card.weights_sha256:
        raise StrataError(f"{archive}: its tensors hash to {found}, the card says {card.weights_sha256}")
    _keep(card, state, architecture)
    return load_card(name)


def verify(name: str) -> str:
    """Check a model's weights against its card; returns their hash. Raises as `load_source` does."""
    card = load_card(name)
    load_state(card)
    return card.weights_sha256


def _download(card: SourceCard, progress: Progress | None) -> Path:
    """Download the archive that a card names into the cache."""
    assert card.published is not None  # what is fetched is an archive or a wheel
    source = Source(file=card.published.file, url=card.published.url, sha256=card.published.sha256)
    rules = Rules(max_bytes=MAX_BYTES, check=lambda path, _kind: _check(path))
    return download(source, cache_folder() / "models", rules, progress)[0]


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
