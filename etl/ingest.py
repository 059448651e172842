"""The `ingest` stage: a provider's records become entries, targets and structures in the store."""

import hashlib
import importlib.metadata
import json
import math
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from numbers import Real
from pathlib import Path

from core.composition import Composition
from core.download import Progress
from core.errors import StrataError, unknown
from core.params import Ingest, Params
from core.source import RawFile
from core.structure import InvalidStructure, Structure
from core.text import parse_number
from core.validation import validate
from etl import formulas, providers, published_splits, raw
from etl.cards import DatasetCard, Property, load_card
from etl.ingest_report import DROPPED, IngestReport
from etl.join import joined, or_composition
from etl.limits import is_limit, label_of
from etl.providers import Record
from etl.tables import Chunk, card_table, chunk_table, key_of
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Reject
from featurestore.tables.schema import SCHEMAS
from featurestore.tables.transactions import Together
from featurestore.tables.writer import TableWriter

TABLES = ("structures", "targets", "entries")  # entries last: through them the other two are asked for
FACTS = ("datasets", "published")
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of pairs, ends of lines

Values = tuple[float | None, ...]


def ingest(
    dataset: str,
    params: Params,
    store_root: str | Path,
    version: str | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Read a dataset and make the store hold exactly its records.

    `version` overrules `params.ingest.versions`, and that the card; where neither is given, the version
    whose file is on this machine is read. A published file that is not on this machine is downloaded, and
    `progress` told of it (see `core.download`).

    Writes the dataset's tables `structures`, `targets` and `entries`, a shard for every
    `params.ingest.chunk` records; `datasets`, what its card says; and `published`, the splits that came
    with it, where their files are on this machine. All records are read and checked before anything is
    written; shards that the store has already are kept as they are, and what another version of the data
    left is dropped.

    Where a record has no structure, and the card names a column of formulas, its composition stands in. A
    structure that cannot be used becomes a reject (id, code, message), kept with the entries. Missing
    and non-finite values, limits such as `>5`, and of a property with `transform: log` those that are not
    positive are left out and counted for each property; the counts are kept with the entries too. Outliers
    are kept.

    Raises `StrataError`: an unknown dataset or a broken card; a raw file that is missing or not the
    right one; a value that is neither a number nor a declared null token; a column of the card that the
    file does not have; one id with two structures or two values (`InvalidStructure` with the code
    `duplicate_conflict`).
    """
    asked = version or params.ingest.versions.get(dataset)
    card = load_card(dataset, asked)
    if asked is None:
        card = raw.version_at_hand(card)
    provider = providers.get(card.provider)
    layout = StoreLayout(Path(store_root))
    schemas = SCHEMAS | {"datasets": card_table(card).schema}
    with ExitStack() as stack:
        # The locks come first: a store that cannot be written is found out before any work is done.
        writers = {
            table: stack.enter_context(
                TableWriter(layout.table(table, dataset), schemas[table], "ingest", alone=True)
            )
            for table in (*FACTS, *TABLES)
        }
        file = _file(card, progress)
        libraries = [raw.obtain(card, library, progress) for library in card.library]
        reader = Reader(card, params.ingest, str(file.path) if file else f"dataset {card.name}")
        records = provider.records(card, file.path if file else None, params.ingest)
        if libraries:
            records = joined(records, card, [library.path for library in libraries])
        if card.composition_column:
            records = or_composition(records, card, reader.where)
        chunks = reader.read(records)
        provenance = _provenance(card, file, libraries, params.ingest)
        with Together(*writers.values()):  # readers see all of it, or what was there before
            reader.report.absent_splits = published_splits.keep(card, writers["published"])
            _keep_card(card, writers["datasets"])
            counts = {"counts": json.dumps(reader.report.counts(), sort_keys=True)}
            for table in TABLES:
                writer, shards = writers[table], {}
                for index, chunk in enumerate(chunks):
                    content = chunk_table(table, card, chunk)
                    rejects = chunk.rejects if table == "entries" else []
                    shards[key_of(index, content, rejects, provenance)] = (content, rejects)
                writer.retain(shards)
                for key, (content, rejects) in shards.items():
                    facts = provenance | counts if table == "entries" else provenance
                    writer.commit(key, content, rejects=rejects, provenance=facts)
    return reader.report


def _keep_card(card: DatasetCard, writer: TableWriter) -> None:
    content = card_table(card)
    key = key_of(0, content, [], {})
    writer.retain([key])
    writer.commit(key, content)


def _file(card: DatasetCard, progress: Progress | None) -> RawFile | None:
    if card.path is not None:
        return raw.own(Path(card.path))
    return raw.obtain(card, progress=progress) if card.source else None


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
        self._columns: set[str] = set()

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
        return chunks

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
            return
        structure_id = structure.structure_id
        if self._came_before(record.entry_id, structure_id, values, position):
            return
        chunk.entries.append((record.entry_id, structure_id, position))
        self.report.entries += 1
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


def _provenance(
    card: DatasetCard, file: RawFile | None, libraries: Sequence[RawFile], limits: Ingest
) -> dict[str, str]:
    """What the rows were made from; no paths, so that two machines write the same bytes."""
    facts = {
        "dataset": card.name,
        "provider": card.provider,
        # Without what stands at its default: a new field of the schema changes no dataset.
        "card_sha256": hashlib.sha256(card.model_dump_json(exclude_defaults=True).encode()).hexdigest(),
        "ingest": limits.model_dump_json(exclude={"versions"}),
    }
    if card.version is not None:
        facts["version"] = card.version
    for number, library in enumerate(libraries):
        facts |= {f"library_{number}": library.path.name, f"library_{number}_sha256": library.sha256}
    if file is None:
        return facts | {"ase": importlib.metadata.version("ase")}
    return facts | {"file": file.path.name, "file_sha256": file.sha256, "vouched_for_by": file.vouched_for_by}
