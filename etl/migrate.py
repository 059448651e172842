"""Stores that earlier versions made, brought up to date; nothing is computed again and no vector changes.

Until version 0.1 the vectors of all source models lay in one table, `store/features`. Each source model has a
table of its own now. Its shards are moved as they are, and the log is written anew with the same steps.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.atomic import failpoint
from core.errors import StrataError
from etl.extract import describe
from featurestore.tables import log
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Entry, Shard
from featurestore.tables.schema import EXTRACTIONS
from featurestore.tables.vectors import read_columns
from featurestore.tables.writer import TableWriter
from zoo.backbones.registry import find
from zoo.hub import list_models, load_card

_BACKBONE = "alignn"  # of every store that needs this: there was no other
_UNFINISHED = ".migrating"
_RETIRED = ".migrated"  # the old log, when nothing needs it any more


def migrate(store_root: Path, default: str) -> list[str]:
    """Move the vectors of an older store to a table per source model; returns what was done, line by line.

    default: the source model that is meant where none is named. A killed migration goes on when it is called
    again. Raises `StrataError` for a folder that is no store, and for a shard that is not what its log says.
    """
    layout = StoreLayout(store_root)
    if not layout.root.is_dir():
        raise StrataError(f"there is no store at {layout.root.resolve()}")
    old = layout.older_features.parent
    if not layout.older_features.is_dir():
        _clear(old)
        return ["nothing to do: each source model has a table of its own already"]
    entries = log.history(old)
    log.replay(old, entries).check()
    source_of = _sources(old, [shard for entry in entries for shard in entry.added], default)
    done = []
    for source in sorted(set(source_of.values())):
        mine = [_of(entry, source, source_of) for entry in entries]
        steps = [entry for entry in mine if entry.added or entry.removed]
        _write(old, layout.features(source), steps)
        extraction, count = _describe(layout, source, steps, is_default=source == default)
        done.append(f"{source}: {count:,} structures under extraction {extraction}")
    failpoint("tables_moved")
    layout.older_features.rename(old / _RETIRED)  # in one step: what is left of half a log cannot be read
    failpoint("log_retired")
    _clear(old)
    return done


def _clear(old: Path) -> None:
    """Remove what the older layout left; the new tables have shards and logs of their own."""
    shutil.rmtree(old / _RETIRED, ignore_errors=True)
    for path in old.glob("*.parquet"):
        path.unlink()


def _sources(folder: Path, shards: Sequence[Shard], default: str) -> dict[str, str]:
    """Return the source model of each shard by its path: as its provenance says, or its rows.

    One without rows, or of the past and collected, has that of the other shards of its extraction.
    """
    found = {shard.path: _source_of(folder, shard) for shard in shards}
    by_extraction = {
        shard.provenance.get("extraction_id"): source for shard in shards if (source := found[shard.path])
    }
    return {
        shard.path: found[shard.path] or by_extraction.get(shard.provenance.get("extraction_id")) or default
        for shard in shards
    }


def _source_of(folder: Path, shard: Shard) -> str | None:
    if "source_model" in shard.provenance:
        return shard.provenance["source_model"]
    if shard.rows == 0 or not (folder / shard.path).exists():
        return None
    found = read_columns(folder / shard.path, ["source_model"])["source_model"].unique().to_pylist()
    if len(found) != 1:
        raise StrataError(
            f"{folder / shard.path} has vectors of {len(found)} source models; extract them again"
        )
    return str(found[0])


def _of(entry: Entry, source: str, source_of: dict[str, str]) -> Entry:
    added = tuple(shard for shard in entry.added if source_of[shard.path] == source)
    removed = tuple(path for path in entry.removed if source_of.get(path) == source)
    return replace(entry, added=added, removed=removed)


def _write(old: Path, folder: Path, steps: list[Entry]) -> None:
    """Link the shards into a new table and write its log; the folder has its name only when it is whole."""
    if (folder / log.LOG).is_dir():
        return
    unfinished = folder.with_name(f"{_UNFINISHED}-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / log.LOG).mkdir(parents=True)
    for shard in (shard for entry in steps for shard in entry.added):
        if (old / shard.path).exists():  # one of the past may have been collected
            _link(old / shard.path, unfinished / shard.path)
    for version, entry in enumerate(steps, 1):
        log.entry_path(unfinished, version).write_bytes(log.encode(replace(entry, version=version)))
    folder.parent.mkdir(exist_ok=True)
    failpoint("table_written")
    unfinished.rename(folder)


def _link(source: Path, target: Path) -> None:
    """Give a shard a second name, so that a kill loses nothing; it is copied where links are refused."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _describe(layout: StoreLayout, source: str, steps: list[Entry], *, is_default: bool) -> tuple[str, int]:
    """Write the row that says what the vectors are: those of the extraction that was committed last."""
    live = log.snapshot(layout.features(source)).shards
    facts = {"source_model": source, **(live or [s for entry in steps for s in entry.added])[-1].provenance}
    backbone = find(_BACKBONE)(load_card(source).architecture if source in list_models() else None)
    with TableWriter(layout.extractions(source), EXTRACTIONS, "migrate") as writer:
        describe(writer, backbone, facts, is_default=is_default)
    return facts["extraction_id"], sum(shard.rows for shard in live)
