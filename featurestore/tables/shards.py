"""Shards: how one is written, read through, and joined with others."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from core.atomic import HashingFile
from core.errors import StrataError
from featurestore.tables.entries import Reject, Shard, shard_name
from featurestore.tables.places import storage_of
from featurestore.tables.schema import completed, is_vector
from featurestore.tables.vectors import read_columns

METADATA = "strata."  # prefix of our keys in a shard's Parquet metadata
TARGET_ROWS = 8_192  # rows of a joined shard; 200 MB of vectors, which have to fit into memory
SMALL = 1 << 20  # bytes of a shard that is joined with others without being asked
MOST_SMALL = 64  # of them in a table, before they are


class Chunk(NamedTuple):
    """What is committed under one key: rows, what was rejected, and where they come from."""

    table: pa.Table
    rejects: tuple[Reject, ...] = ()
    provenance: Mapping[str, str] = {}


def write_chunks(folder: Path, chunks: Mapping[str, Chunk]) -> Shard:
    """Write chunks of one provenance as one shard."""
    parts = list(chunks.values())
    keys = {key: chunk.table.num_rows for key, chunk in chunks.items()}
    rejected = {key: len(chunk.rejects) for key, chunk in chunks.items()}
    rejects = tuple(reject for chunk in parts for reject in chunk.rejects)
    whole = parts[0].table if len(parts) == 1 else pa.concat_tables([chunk.table for chunk in parts])
    return _write(folder, keys, whole.combine_chunks(), rejects, parts[0].provenance, rejected)


def rewrite(folder: Path, shards: Sequence[Shard], wanted: set[str], schema: pa.Schema) -> Shard:
    """Write what belongs to the wanted keys of some shards as one shard; every byte is checked first."""
    tables, rejects = [], []
    keys: dict[str, int] = {}
    rejected: dict[str, int] = {}
    for shard in shards:
        path = folder / shard.path
        try:
            found = storage_of(path).sha256(path)
        except OSError as error:
            raise StrataError(f"{path} cannot be read ({error.strerror}), so it is not copied") from error
        if found != shard.sha256:
            raise StrataError(
                f"{path} is not what was committed, so it is not copied; see: strata store verify"
            )
        table = completed(read_columns(path, schema.names), schema)
        slices, some, refused, counts = shard.part(wanted)
        tables += [table.slice(part.start, part.stop - part.start) for part in slices]
        rejects += refused
        keys |= some
        rejected |= counts
    whole = pa.concat_tables(tables).combine_chunks()
    return _write(folder, keys, whole, tuple(rejects), shards[0].provenance, rejected)


def without(folder: Path, shard: Shard, column: str, ids: set[str], schema: pa.Schema) -> Shard | None:
    """Write a shard of one key without the rows and rejects of some ids; the same where it has none of them.

    None where nothing is left.
    """
    ((key, _),) = shard.keys.items()
    table = completed(read_columns(folder / shard.path, schema.names), schema)
    stays = [name not in ids for name in table[column].to_pylist()]
    rejects = tuple(reject for reject in shard.rejects if reject.entry_id not in ids)
    if all(stays) and len(rejects) == len(shard.rejects):
        return shard
    kept = table.filter(pa.array(stays, pa.bool_()))
    if not len(kept) and not rejects:
        return None
    return write_chunks(folder, {key: Chunk(kept, rejects, shard.provenance)})


def groups(shards: Iterable[Shard], rows: int) -> list[tuple[Shard, ...]]:
    """Group neighbours of equal provenance, so that a joined shard still says where it came from."""
    found: list[list[Shard]] = []
    for shard in shards:
        last = found[-1] if found else []
        total = sum(one.rows for one in last) + shard.rows
        if last and last[0].provenance == shard.provenance and total <= rows:
            last.append(shard)
        else:
            found.append([shard])
    return [tuple(group) for group in found if len(group) > 1]


def too_many_small(shards: Iterable[Shard]) -> list[tuple[Shard, ...]]:
    """Return groups to join where a table has many small shards; else none."""
    found = groups((shard for shard in shards if shard.bytes <= SMALL), TARGET_ROWS)
    return found if sum(len(group) - 1 for group in found) >= MOST_SMALL else []


def _write(
    folder: Path,
    keys: Mapping[str, int],
    table: pa.Table,
    rejects: tuple[Reject, ...],
    provenance: Mapping[str, str],
    rejected: Mapping[str, int],
) -> Shard:
    facts = {f"{METADATA}{name}": text for name, text in provenance.items()}
    facts[f"{METADATA}keys"] = " ".join(keys)
    content = table.replace_schema_metadata(dict(sorted(facts.items())))

    def write(sink: HashingFile) -> None:
        write_parquet(content, sink)

    sink = storage_of(folder).put_hashed(folder, write, table.nbytes)
    counts = rejected if any(rejected.values()) and len(keys) > 1 else {}
    return Shard(
        keys, shard_name(sink.sha256), sink.bytes, sink.sha256, table.num_rows, rejects, provenance, counts
    )


def write_parquet(table: pa.Table, sink: object) -> None:
    """Write a shard's bytes: page checksums throughout, and vectors plain, to be read at memory speed."""
    flat = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    lists = [
        field.name for field in table.schema if pa.types.is_nested(field.type) and not is_vector(field.type)
    ]
    packed = [*flat, *(path for name in lists for path in _leaves(table.schema.field(name)))]
    pq.write_table(
        table,
        sink,
        compression=dict.fromkeys(packed, "zstd"),  # of all but vectors: noise in a float32 does not pack
        use_dictionary=flat,
        write_statistics=flat,
        write_page_checksum=True,
    )


def _leaves(field: pa.Field) -> list[str]:
    """Return the Parquet paths of what a column of lists is made of."""
    inner = field.type.value_type
    if pa.types.is_struct(inner):
        return [f"{field.name}.list.element.{part.name}" for part in inner]
    return [f"{field.name}.list.element"]
