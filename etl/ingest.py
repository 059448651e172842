"""The `ingest` stage: a provider's records become entries, targets and structures in the store."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from core.download import Progress
from core.params import Ingest, Params
from core.source import RawFile
from core.units import check_unit
from etl import providers, published_splits, raw
from etl.cards import CLASS_UNIT, DatasetCard, load_card
from etl.ingest_report import IngestReport
from etl.join import joined, or_composition
from etl.reader import Reader
from etl.tables import card_table, chunk_table, key_of
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import LOG
from featurestore.tables.schema import SCHEMAS
from featurestore.tables.transactions import Together
from featurestore.tables.writer import TableWriter

TABLES = ("structures", "targets", "entries")  # entries last: through them the other two are asked for
FACTS = ("datasets", "published")


def ingest(
    dataset: str | DatasetCard,
    params: Params,
    store_root: str | Path,
    version: str | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Read a dataset and make the store hold exactly its records.

    dataset: its name, or a card that lies in no folder yet. `version` overrules `params.ingest.versions`, and
    that the card; where neither is given, the version whose file is on this machine is read. A published file
    that is not on this machine is downloaded, and `progress` told of it (see `core.download`).

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
    `duplicate_conflict`); a dataset none of whose records can be used. The store is then as it was.
    """
    card = _card(dataset, params, version)
    provider = providers.get(card.provider)
    layout = StoreLayout(Path(store_root))
    schemas = SCHEMAS | {"datasets": card_table(card).schema}
    with _nothing_new_on_errors(layout, card.name), ExitStack() as stack:
        # The locks come first: a store that cannot be written is found out before any work is done.
        writers = {
            table: stack.enter_context(
                TableWriter(layout.table(table, card.name), schemas[table], "ingest", alone=True)
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
        reader.refuse_nothing_usable()
        provenance = _provenance(card, file, libraries, params.ingest)
        with Together(*writers.values()):  # readers see all of it, or what was there before
            reader.report.absent_splits = published_splits.keep(card, writers["published"], reader.parts)
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


def _card(dataset: str | DatasetCard, params: Params, version: str | None) -> DatasetCard:
    if isinstance(dataset, DatasetCard):
        card = dataset
    else:
        asked = version or params.ingest.versions.get(dataset)
        card = load_card(dataset, asked)
        if asked is None:
            card = raw.version_at_hand(card)
    if card.path is not None:  # one's own card may have been edited by hand
        for name, item in card.properties.items():
            if item.unit != CLASS_UNIT:
                check_unit(item.unit, f"the card of {card.name}, unit of {name}")
    return card


@contextmanager
def _nothing_new_on_errors(layout: StoreLayout, dataset: str) -> Iterator[None]:
    """Take away the empty tables of a dataset that could not be read, where it had none before."""
    folders = [layout.table(table, dataset) for table in (*FACTS, *TABLES)]
    new = [folder for folder in folders if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in new:
            with suppress(OSError):  # what is not empty stays
                for path in (folder / LOG, folder, folder.parent, layout.root):
                    path.rmdir()
        raise


def _keep_card(card: DatasetCard, writer: TableWriter) -> None:
    content = card_table(card)
    key = key_of(0, content, [], {})
    writer.retain([key])
    writer.commit(key, content)


def _file(card: DatasetCard, progress: Progress | None) -> RawFile | None:
    if card.path is not None:
        return raw.own(Path(card.path))
    return raw.obtain(card, progress=progress) if card.source else None


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
