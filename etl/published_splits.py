"""Splits that came with a dataset: which property has one, and the file that says who lies where."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from core.errors import StrataError
from core.source import Source, at_hand, checked
from etl.cards import DatasetCard
from featurestore.splits.draws import TEST, TRAIN, VAL
from featurestore.tables.schema import PUBLISHED
from featurestore.tables.writer import TableWriter

_NONE = "none"  # key of the shard without rows, so that the table is there: DVC wants every output


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


def keep(card: DatasetCard, writer: TableWriter, own: Mapping[str, str] | None = None) -> list[str]:
    """Keep the splits that were published with a dataset; return in words which files are not at hand.

    own: the part, or the number of the fold, of each entry, where the dataset's table says so; it is that
    of every property.

    They are looked for where raw files lie, and their hashes are checked against the lock beside them. What
    an earlier ingest kept stays where a file is not at hand any more.

    Raises `StrataError` for a file that is not the right one, and for what `read` refuses.
    """
    told: list[str] = []
    tables: dict[str, tuple[pa.Table, dict[str, str]]] = {}
    stay: list[str] = []
    for (dataset, name), file in FILES.items():
        if dataset != card.name:
            continue
        source = Source(file=file.name, url=file.url)
        path = at_hand(source)
        if path is None:
            told.append(
                f"no published split of {name}: {file.name} is not at hand; save it from {file.url} where "
                "raw files lie, and ingest again"
            )
            kept = writer.committed.items()
            stay += [key for key, shard in kept if shard.provenance.get("property") == name]
            continue
        found = checked(path, source, f"the published split of {name}")
        part_of = read(path, file.keys)
        facts = {"property": name, "file": file.name, "file_sha256": found.sha256}
        tables[f"{name}-{found.sha256}"] = (_table(dataset, name, part_of), facts)
    if own:
        sha256 = hashlib.sha256(json.dumps(dict(own)).encode()).hexdigest()
        for name in card.properties:
            facts = {"property": name, "column": card.split_column or "", "file_sha256": sha256}
            tables[f"{name}-{sha256}"] = (_table(card.name, name, own), facts)
    if not tables and not stay:
        tables[_NONE] = (PUBLISHED.empty_table(), {})
    writer.retain([*tables, *stay])
    for key, (table, facts) in tables.items():
        writer.commit(key, table, provenance=facts)
    return told


def _table(dataset: str, name: str, part_of: Mapping[str, str]) -> pa.Table:
    rows = {
        "dataset": [dataset] * len(part_of),
        "property": [name] * len(part_of),
        "entry_id": list(part_of),
        "part": list(part_of.values()),
    }
    return pa.Table.from_pydict(rows, PUBLISHED)


def read(path: Path, keys: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Read a file of ids; returns the part of each entry.

    Raises `StrataError` naming the file where it is not made so, and an entry that lies in two parts.
    """
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
    return part_of
