"""Splits that came with a dataset: which property has one, and the file that says who lies where."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import StrataError
from featurestore.splits.draws import NONE, TEST, TRAIN, VAL, Parts


class File(NamedTuple):
    """A JSON file with the entry ids of each part."""

    name: str
    url: str
    keys: tuple[tuple[str, str], ...] = (("id_train", TRAIN), ("id_val", VAL), ("id_test", TEST))


FILES: dict[tuple[str, str], File] = {
    ("megnet", "formation_energy"): File(
        "megnet_e_form.ids_train_val_test.json", "https://github.com/usnistgov/jarvis_leaderboard"
    ),
}


@dataclass(frozen=True, slots=True)
class Split:
    """A published split: the part of each entry, and the hash of the file that says so."""

    part_of: dict[str, str]
    sha256: str

    def parts(self, entry_ids: Sequence[str]) -> Parts:
        """Return the part of each entry, '' where the file does not name it.

        Raises `StrataError` where a part would be empty.
        """
        found = np.array([self.part_of.get(entry, NONE) for entry in entry_ids], dtype="<U5")
        for name in (TRAIN, VAL, TEST):
            if not (found == name).any():
                raise StrataError(f"none of {len(entry_ids)} entries lies in the published part {name}")
        return found


def need(dataset: str, properties: Iterable[str]) -> None:
    """Raise `StrataError` where no property of a dataset has a published split."""
    if not any((dataset, name) in FILES for name in properties):
        listed = ", ".join("/".join(key) for key in FILES)
        raise StrataError(f"no split of {dataset} was published; there are those of: {listed}")


def find(dataset: str, property_name: str) -> Split | None:
    """Read the published split of a property, None where there is none.

    The file is looked for where raw files lie, and its hash is checked against the lock beside it.
    """
    file = FILES.get((dataset, property_name))
    if file is None:
        return None
    from etl import raw
    from etl.cards import Source, load_card

    found = raw.find(load_card(dataset), Source(file=file.name, url=file.url))
    return read(found.path, found.sha256, file.keys)


def read(path: Path, sha256: str, keys: Sequence[tuple[str, str]]) -> Split:
    """Read a file of ids; raises `StrataError` naming an entry that lies in two parts."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = {part: [str(entry) for entry in content[key]] for key, part in keys}
    except (ValueError, KeyError, TypeError) as error:
        raise StrataError(
            f"{path}: expected lists of ids under {', '.join(k for k, _ in keys)} ({error})"
        ) from None
    part_of: dict[str, str] = {}
    for part, entries in parts.items():
        for entry in entries:
            if part_of.setdefault(entry, part) != part:
                raise StrataError(f"{path}: {entry} lies in {part_of[entry]} and in {part}")
    return Split(part_of, sha256)
