"""The source models of a bundle: one's own go with it, all others are known by name and hash."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from core.atomic import write_whole
from core.errors import StrataError
from core.params import Extract
from zoo import hub
from zoo.backbones.registry import find
from zoo.bundle_config import Config, environment
from zoo.card_text import card_text
from zoo.extraction import extraction_id
from zoo.hub import card_path, load_card, load_source
from zoo.model import NETWORK, Model, Reads


def with_own_inside(model: Model, folder: Path) -> tuple[Model, dict[str, str]]:
    """Copy source models of one's own into a bundle's folder.

    Returns the model that reads them there, and the hash of the weights of every source model.
    """
    sources, hashes = dict(model.sources), {}
    for name, reads in model.sources.items():
        if name == NETWORK or reads.columns:
            continue
        card = load_card(name, reads.folder)
        hashes[name] = card.weights_sha256
        if reads.folder is None and card_path(name).parent == hub.MODELS:
            continue
        if find(card.backbone).has_weights:
            from safetensors.torch import save

            source = load_source(name, reads.folder)
            content = save({key: tensor.contiguous() for key, tensor in source.state.items()})
            card = card.model_copy(
                update={
                    "weights": f"{name}.safetensors",
                    "file_sha256": hashlib.sha256(content).hexdigest(),
                    "published": None,
                    "installed": None,
                    "wheel": None,
                }
            )
            write_whole(folder / f"{name}.safetensors", content)
        write_whole(folder / f"{name}.yaml", card_text(card))
        sources[name] = replace(reads, folder=folder)
    return replace(model, sources=sources), hashes


def licences(model: Model) -> list[tuple[str, str]]:
    """Return name and licence of each source model that has a card."""
    return [
        (name, load_card(name, reads.folder).licence)
        for name, reads in model.sources.items()
        if name != NETWORK and not reads.columns
    ]


def check_here(config: Config, sources: Mapping[str, Reads], settings: Extract) -> None:
    """Raise `StrataError` where a source model here is another, or read otherwise, than a bundle says."""
    for one in config.sources:
        reads = sources[one.name]
        if one.name == NETWORK or reads.columns:
            continue
        card, of = load_card(one.name, reads.folder), f"{config.card.dataset}/{config.card.property}"
        if not card.is_here:
            raise StrataError(
                f"this bundle reads the source model {one.name}, which is not on this machine yet; get it "
                f"with: strata zoo fetch {one.name}"
            )
        if card.weights_sha256 != one.weights_sha256:
            raise StrataError(
                f"the bundle of {of} learned from {one.name} with the weights {one.weights_sha256[:16]}…; "
                f"those here are {card.weights_sha256[:16]}…, another model of that name"
            )
        here = extraction_id(card, settings.precision)
        if here != one.extraction_id:
            there, now = (found.get("strata", "unknown") for found in (config.environment, environment()))
            raise StrataError(
                f"the bundle of {of} learned from vectors of {one.name} that this version of strata makes "
                f"otherwise (extraction {one.extraction_id} there, {here} here; strata {there} there, {now} "
                "here): install the version that it was saved with"
            )
