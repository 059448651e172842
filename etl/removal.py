"""`strata datasets remove`: a user's own dataset leaves the project."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import StrataError, check_name, unknown
from core.params import PARAMS_FILE, load
from etl.cards import DatasetCard, list_cards, own_folder
from etl.own_cards import drop_from_params, is_own
from featurestore import current
from featurestore.tables.layout import PER_DATASET, StoreLayout
from featurestore.tables.log import snapshot
from featurestore.tables.schema import widest
from featurestore.tables.transactions import Together
from featurestore.tables.writer import TableWriter


@dataclass
class Removed:
    """What was taken away, and what of it is left, in words."""

    name: str
    params: Path
    files: list[Path] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)  # by table
    was_listed: bool = False
    still_named: list[str] = field(default_factory=list)  # keys of params.yaml

    def __str__(self) -> str:
        lines = [f"{self.name}: removed {path}" for path in self.files]
        if self.was_listed:
            lines.append(f"{self.name}: taken out of datasets in {self.params}")
        if self.rows:
            listed = ", ".join(f"{rows:,} of {table}" for table, rows in self.rows.items())
            lines.append(f"{self.name}: rows dropped from the store: {listed}")
        lines.append(
            "what stays: your own files; vectors, which other datasets may share; the dropped rows, as "
            "versions of the past, and fitted models until `strata store gc`"
        )
        if self.still_named:
            lines.append(
                f"{self.params} still names it under {', '.join(self.still_named)}: take it out there"
            )
        lines.append(
            "the stages of DVC that were its own are gone with its name; `dvc repro` scores the others again "
            "and draws the page without it"
        )
        return "\n".join(lines)


def remove_dataset(name: str, store: str | Path = "store", params: Path = PARAMS_FILE) -> Removed:
    """Take a user's own dataset out of the project: its card, its name in the params, its rows in the store.

    A frame that `strata.ingest` kept beside the card goes with it; other files of the user are not touched.

    Raises `StrataError` for an unknown name, and for a dataset that comes with Strata: that one is taken out
    of `datasets` in params.yaml.
    """
    check_name(name, "dataset")
    card = next((card for card in list_cards() if card.name == name), None)
    layout = StoreLayout(Path(store))
    tables = list(_tables(layout, name))
    if card is None and not tables:
        raise unknown(
            "dataset", name, [card.name for card in list_cards() if is_own(card)], "your own datasets"
        )
    if card is not None and not is_own(card):
        raise StrataError(
            f"dataset {name} comes with Strata ({card.title}); its card is part of the program. To "
            "leave it out, take it out of `datasets` in params.yaml"
        )
    found = Removed(name, params)
    found.was_listed = params.exists() and drop_from_params(name, params)
    found.still_named = _named_in(params, name)
    found.rows = _drop_rows(tables)
    for path in _files(card, name):
        path.unlink()
        found.files.append(path)
    return found


def _files(card: DatasetCard | None, name: str) -> list[Path]:
    """The card, and the frame beside it that it names."""
    paths = [own_folder() / f"{name}.yaml"]
    kept = own_folder() / f"{name}.parquet"
    if card is not None and card.path is not None and Path(card.path).absolute() == kept.absolute():
        paths.append(kept)
    return [path for path in paths if path.is_file()]


def _tables(layout: StoreLayout, name: str) -> Iterator[tuple[str, Path]]:
    for kind in PER_DATASET:
        for folder in layout.tables(kind):
            if layout.dataset_of(folder) == name:
                yield kind, folder


def _drop_rows(tables: Sequence[tuple[str, Path]]) -> dict[str, int]:
    """Drop every row of these tables in one transaction; return how many each had."""
    rows: dict[str, int] = {}
    with ExitStack() as stack:
        writers = []
        for kind, folder in tables:
            found = snapshot(folder)
            if found.rows:
                rows[kind] = rows.get(kind, 0) + found.rows
            if found.shards:
                writer = TableWriter(folder, widest(kind), "remove", alone=True, damaged=True)
                writers.append(stack.enter_context(writer))
        if writers:
            with Together(*writers):
                for writer in writers:
                    writer.retain([])
    for kind, folder in tables:
        if kind == "runs" and current.read(folder) is not None:
            current.write(folder, ())
            if current.read_by_hand(folder):
                current.write_by_hand(folder, {})
    return rows


def _named_in(params: Path, name: str) -> list[str]:
    """Return the keys of the params that name a dataset still, such as fit.properties."""
    if not params.exists():
        return []
    return list(dict.fromkeys(_keys(load(params).model_dump(mode="json"), name)))


def _keys(section: Any, name: str, above: str = "") -> Iterator[str]:
    if isinstance(section, Mapping):
        for key, value in section.items():
            if key == name:
                yield above
            yield from _keys(value, name, f"{above}.{key}" if above else str(key))
    elif section == name:
        yield above
