"""Bundles on the Hugging Face hub, by an address such as `hf://ORG/NAME@REVISION`."""

import tempfile
from pathlib import Path

from core.errors import StrataError
from core.model_hub import PREFIX, parse_address, send, snapshot
from core.source import cache_folder
from zoo.bundle import save_bundle
from zoo.bundle_files import MAX_BYTES, MAX_FILES, NOT_OURS, check_names
from zoo.model import Model


def download(text: str) -> Path:
    """Return the folder of a bundle of the hub, in the user's cache (see `core.model_hub.snapshot`).

    Files that a bundle does not have are refused by name before anything is fetched.
    """

    def check(names: list[str]) -> None:
        check_names(names, text)
        if len(names) > MAX_FILES:
            raise StrataError(f"{text}: {len(names)} files, which no bundle has")

    return snapshot(parse_address(text), cache_folder() / "bundles" / "hf", check, MAX_BYTES, NOT_OURS)


def upload(model: Model, text: str, *, without_data: bool = False, force: bool = False) -> str:
    """Write a model as a bundle and send it to the hub (see `core.model_hub.send`); returns its address."""
    address = parse_address(text)
    with tempfile.TemporaryDirectory() as place:
        folder = save_bundle(
            model, Path(place) / address.name, without_data=without_data, name=f"{PREFIX}{address.repository}"
        )
        return send(folder, address, f"Publish {model.card.name}", force=force)
