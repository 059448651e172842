"""Records of a provider, checked one by one, on their way to the tables of the store."""

import math
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from numbers import Real

from core.composition import Composition
from core.errors import StrataError, unknown
from core.params import Ingest
from core.structure import InvalidStructure, Structure
from core.text import parse_number
from core.validation import validate
from etl import formulas
from etl.cards import DatasetCard, Property
from etl.ingest_report import DROPPED, IngestReport
from etl.limits import is_limit, label_of
from etl.own_split import check_parts, in_words, part_of
from etl.providers import Record
from etl.tables import Chunk
from featurestore.tables.log import Reject

_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of pairs, ends of lines

Values = tuple[float | None, ...]


class Reader:
    """Checks records one by one, and remembers what must agree across all of them."""

    def __init__(self, card: DatasetCard, limits: Ingest, where: str) -> None:
        self.card, self.limits, self.where = card, limits, where
        self.report = IngestReport(card)
        self._formulas = {
            name: formulas.parse(item.formula) for name, item in card.properties.items() if item.formula
        }
        self._seen: dict[str, tuple[str, Values]] = {}  # entry_id → structure_id or reject, values
        self._stored: set[str] = set()
        self._first: dict[str, str] = {}  # of the rejects of each code
        self._columns: set[str] = set()
        self.parts: dict[str, str] = {}  # of the table's own split, by entry

    def read(self, records: Iterable[Record]) -> list[Chunk]:
        """Turn the records into chunks of checked rows."""
        chunks = [Chunk()]
        for position, record in enumerate(records):
            if position and position % self.limits.chunk == 0:
                chunks.append(Chunk())
            self._add(chunks[-1], record, position)
        if self.report.records == 0:
            raise StrataError(f"{self.where}: no records in it; is this the file of {self.card.name}?")
        for name, item in self.card.properties.items():
            if item.column not in self._columns:
                if not item.optional:
                    raise unknown("column", item.column, self._columns, self.where)
                self.report.absent.append(name)
        if self.card.split_column is not None and self.report.entries:
            where = f"{self.where}, column {self.card.split_column!r}"
            if self.card.split_column not in self._columns:
                raise unknown("column", self.card.split_column, self._columns, self.where)
            check_parts(self.parts, where)
            self.report.own_split = in_words(self.parts)
        return chunks

    def refuse_nothing_usable(self) -> None:
        """Raise `StrataError` where no record is left, with the first of each kind of reject."""
        if self.report.entries:
            return
        reasons = "; ".join(
            f"{self.report.rejects[code]:,} {code}, the first: {first}" for code, first in self._first.items()
        )
        raise StrataError(
            f"{self.where}: none of {self.report.records:,} records can be used, and nothing was kept. "
            f"{reasons}"
        )

    def _add(self, chunk: Chunk, record: Record, position: int) -> None:
        self.report.records += 1
        self._columns.update(record.values)
        if any(unicodedata.category(letter) in _UNSEEN for letter in record.entry_id):
            raise StrataError(
                f"{self.where}, record {position}: the id {record.entry_id!r} has a character that cannot be "
                "shown; take it out of the file"
            )
        values, reasons = self._values(record, position)
        try:
            structure = self._usable(record)
        except InvalidStructure as error:
            if not self._came_before(record.entry_id, f"rejected as {error.code}", values, position):
                chunk.rejects.append(Reject(record.entry_id, error.code, str(error)))
                self.report.rejects[error.code] += 1
                self._first.setdefault(error.code, f"{record.entry_id}: {error}")
            return
        structure_id = structure.structure_id
        if self._came_before(record.entry_id, structure_id, values, position):
            return
        chunk.entries.append((record.entry_id, structure_id, position))
        self.report.entries += 1
        if self.card.split_column is not None:
            cell = record.values.get(self.card.split_column)
            where = f"{self.where}, record {position} ({record.entry_id}), column {self.card.split_column!r}"
            if part := part_of(cell, where):
                self.parts[record.entry_id] = part
        if structure_id not in self._stored:
            self._stored.add(structure_id)
            self.report.structures += 1
            self.report.compositions += isinstance(structure, Composition)
            chunk.structures.append((structure_id, structure))
        for name, value, reason in zip(self.card.properties, values, reasons, strict=True):
            self.report.values[name][reason] += 1
            if reason in DROPPED:
                cell = record.values[self.card.properties[name].column]
                self.report.first.setdefault((name, reason), f"{cell} of {record.entry_id}")
            if value is not None:
                chunk.targets.append((name, record.entry_id, structure_id, value))

    def _usable(self, record: Record) -> Structure | Composition:
        if record.error is not None:
            raise record.error
        if record.structure is None:
            raise InvalidStructure("no_structure", "the provider gives no structure")
        validate(record.structure, self.limits)
        return record.structure

    def _came_before(self, entry_id: str, content: str, values: Values, position: int) -> bool:
        before = self._seen.get(entry_id)
        if before is None:
            self._seen[entry_id] = (content, values)
            return False
        here = f"{self.where}, record {position}: id {entry_id!r} came before with"
        if before[0] != content:
            raise InvalidStructure(
                "duplicate_conflict",
                f"{here} another structure ({before[0]}, now {content}); remove one of the two",
            )
        if before[1] != values:
            raise InvalidStructure(
                "duplicate_conflict",
                f"{here} other values ({before[1]}, now {values}); remove one of the two",
            )
        self.report.duplicates += 1
        return True

    def _values(self, record: Record, position: int) -> tuple[Values, list[str]]:
        """The numbers of a record, None where there is none, and what became of each."""
        values: list[float | None] = []
        reasons = []
        for name, item in self.card.properties.items():
            value: float | None = None
            if not item.classes and is_limit(record.values.get(item.column)):
                reason = "limit"
            elif (value := self._value(name, item, record, position)) is None:
                reason = "missing"
            elif not math.isfinite(value):
                reason = "not finite"
            elif item.transform == "log" and value <= 0:
                reason = "not positive"
            else:
                reason = "kept"
            values.append(value if reason == "kept" else None)
            reasons.append(reason)
        return tuple(values), reasons

    def _value(self, name: str, item: Property, record: Record, position: int) -> float | None:
        """The number that a property has in a record; None where it is missing."""
        value = record.values.get(item.column)
        place = (
            f"dataset {self.card.name}, {self.where}, record {position} ({record.entry_id}), column "
            f"{item.column!r}"
        )
        if name in self._formulas:
            lattice = record.structure.lattice if isinstance(record.structure, Structure) else None
            try:
                return formulas.evaluate(self._formulas[name], value, self.card.null_tokens, lattice)
            except StrataError as error:
                raise StrataError(f"{place}: {error}") from None
        if value is None or (isinstance(value, str) and value in self.card.null_tokens):
            return None
        if item.classes:
            label = label_of(value)
            if label not in item.classes:
                raise StrataError(
                    f"{place}: {value!r} is none of the card's classes ({', '.join(item.classes)}); "
                    "correct it, or add it to classes on the card"
                )
            return float(item.classes.index(label))
        if isinstance(value, str) and self.card.text_numbers:
            with suppress(ValueError):
                return parse_number(value)
        if not isinstance(value, Real) or isinstance(value, bool):
            tokens = ", ".join(repr(token) for token in self.card.null_tokens) or "none"
            raise StrataError(
                f"{place}: {value!r} is neither a number nor a null token of the card ({tokens})"
            )
        return float(value)
