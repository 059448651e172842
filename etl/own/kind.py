"""What every kind of a user's data offers: its columns, the cells of its rows, and its records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from core.errors import StrataError
from core.params import Ingest
from core.structure import InvalidStructure, Structure
from etl.cards import DatasetCard
from etl.providers import Record

COMPOSITION_NAMES = ("formula", "composition")  # in capitals, too
SPLIT_NAME = "split"  # likewise
ID_NAMES = ("id", "entry_id", "material_id", "jid", "mp_id", "name", "index")
INDEX_OF_PANDAS = "__index_level_0__"  # in a Parquet file


class Columns(NamedTuple):
    """What a user's data offers: columns with values, and where ids, structures, formulas stand, if there."""

    values: list[str]
    named: bool  # False: the table has no header, and `values` are names given here, in its order
    id_column: str | None = None
    structure_column: str | None = None
    composition_column: str | None = None

    @property
    def split_column(self) -> str | None:
        """The column that says which part each row lies in, if there is one."""
        return next((name for name in self.values if self.named and name.lower() == SPLIT_NAME), None)


class Kind(NamedTuple):
    """How one kind of data is read."""

    columns: Callable[[Path], Columns]
    values: Callable[[Path], Iterator[Mapping[str, object]]]
    records: Callable[[DatasetCard, Path, Ingest], Iterator[Record]]


def first_of(wanted: Sequence[str], names: Sequence[str] | Mapping[str, object]) -> str | None:
    """Return the first of the wanted names that is there."""
    return next((name for name in wanted if name in names), None)


def composition_of(names: Sequence[str]) -> str | None:
    """Return the column that has formulas, if there is one."""
    return next((name for name in names if name.lower() in COMPOSITION_NAMES), None)


def is_index(name: str) -> bool:
    """Tell whether a column is the numbering that pandas writes before a table.

    >>> is_index("Unnamed: 0"), is_index(""), is_index("unnamed")
    (True, True, False)
    """
    return name == "" or name.startswith("Unnamed: ")


def refuse_twice(header: Sequence[str], path: Path) -> None:
    """Raise `StrataError` where two columns have one name."""
    twice = sorted({name for name in header if header.count(name) > 1 and not is_index(name)})
    if twice:
        raise StrataError(f"{path}: two columns are named {', '.join(map(repr, twice))}; rename one")


def entry_id_of(card: DatasetCard, values: Mapping[str, object], otherwise: str, where: str) -> str:
    """Return the id of a row: that of the card's column of ids, or `otherwise` where it names none."""
    if card.id_column is None:
        return otherwise
    found = values.get(card.id_column)
    if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
        raise StrataError(f"{where}: {card.id_column!r} holds {found!r}, no id")
    return str(found)


def record_of(entry_id: str, values: Mapping[str, object], read: Callable[[], Structure]) -> Record:
    """Read a record's structure; where that cannot be used, the record has the reason."""
    try:
        return Record(entry_id, read(), values)
    except InvalidStructure as error:
        return Record(entry_id, None, values, error)
