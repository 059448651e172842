"""The views of vectors, written for the source models that a store has."""

from collections.abc import Mapping

from core.errors import check_name
from featurestore.query.feature_sets import FeatureSet, kinds_of
from featurestore.query.sources import Source
from featurestore.tables.schema import Checkpoint

# Names in a statement are checked ones: they came through `check_name`, or from a backbone's own code.
_IDS = "structure_id, extraction_id, source_model"
_NO_IDS = "'' AS structure_id, '' AS extraction_id, '' AS source_model"
_NOTHING = {
    "stored_features": f"{_NO_IDS}, 0::FLOAT AS prediction",
    "features": f"{_NO_IDS}, 0::FLOAT AS prediction",
    "vectors": f"{_NO_IDS}, '' AS kind, 0 AS depth, []::FLOAT[] AS vector, '' AS checkpoint",
    "joined": "'' AS structure_id",
    "checkpoints": "'' AS source_model, '' AS checkpoint, '' AS kind, 0 AS depth, 0 AS width",
}


def statements(sources: Mapping[str, Source]) -> list[str]:
    """Return the CREATE statements of the views that depend on which source models there are.

    Expected are the relations `stored_features_<source>` over each source model's shards. `features` is the
    default source model's; `vectors` has all vectors, one row per vector.
    """
    found = [_wide(source) for source in sources.values()]
    default = next(iter(sources), None)
    if default is None:
        return [f"CREATE VIEW {name} AS SELECT {columns} LIMIT 0" for name, columns in _NOTHING.items()]
    found.append(f"CREATE VIEW features AS SELECT * FROM {view_of(default)}")  # noqa: S608
    found.append("CREATE VIEW stored_features AS " + " UNION ALL ".join(map(_narrow, sources.values())))
    found.append("CREATE VIEW vectors AS " + " UNION ALL ".join(map(_long, sources.values())))
    found.append(joined("joined", _last_of_each(sources)))
    rows = ", ".join(
        f"('{source.name}', '{c.name}', '{c.kind}', {c.depth}, {c.width})"
        for source in sources.values()
        for c in source.checkpoints
    )
    columns = "source_model, checkpoint, kind, depth, width"
    found.append(f"CREATE VIEW checkpoints AS SELECT * FROM (VALUES {rows}) t({columns})")  # noqa: S608
    return found


def view_of(source: str) -> str:
    """Return the name of a source model's view, quoted."""
    return f'"features_{check_name(source, "source model")}"'


def joined(name: str, chosen: Mapping[str, tuple[str, list[tuple[str, int]]]]) -> str:
    """Return the CREATE statement of a view with chosen blocks of several source models side by side.

    chosen: source model → its extraction, and its checkpoints with their widths. Columns are named
    `<source>__<checkpoint>`; a structure stands in it if any of the source models has its vectors.
    """
    columns, tables = [], []
    for number, (source, (extraction, checkpoints)) in enumerate(chosen.items()):
        alias = f"t{number}"
        columns += [f'{alias}."{column}" AS "{source}__{column}"' for column, _ in checkpoints]
        table = f"(SELECT * FROM {view_of(source)} WHERE extraction_id = '{extraction}') {alias}"  # noqa: S608
        tables.append(table if number == 0 else f"FULL JOIN {table} USING (structure_id)")
    return f"CREATE VIEW {name} AS SELECT structure_id, {', '.join(columns)} FROM {' '.join(tables)}"  # noqa: S608 - checked names


def blocks_of(feature_set: FeatureSet) -> dict[str, tuple[str, list[tuple[str, int]]]]:
    """Return a feature set as `joined` wants it."""
    return {
        source: (extraction, [(b.checkpoint, b.stop - b.start) for b in feature_set.of(source)])
        for source, extraction in feature_set.extractions.items()
    }


def _last_of_each(sources: Mapping[str, Source]) -> dict[str, tuple[str, list[tuple[str, int]]]]:
    found = {}
    for source in sources.values():
        deepest = [
            [c for c in source.checkpoints if c.kind == kind][-1] for kind in kinds_of(source.checkpoints)
        ]
        found[source.name] = (source.extraction_id, [(c.name, c.width) for c in deepest])
    return found


def _wide(source: Source) -> str:
    """The view of one source model; lists become arrays of fixed size, for DuckDB's distance functions."""
    counts = "".join(f'"{name}", ' for name in source.counts)
    vectors = ", ".join(f'"{c.name}"::FLOAT[{c.width}] AS "{c.name}"' for c in source.checkpoints)
    columns = f"{_IDS}, {counts}prediction, {vectors}"
    return f"CREATE VIEW {view_of(source.name)} AS SELECT {columns} FROM {stored(source.name)}"  # noqa: S608


def stored(source: str) -> str:
    """Return the name of the relation over a source model's shards, quoted."""
    return f'"stored_features_{check_name(source, "source model")}"'


def _narrow(source: Source) -> str:
    return f"SELECT {_IDS}, prediction FROM {stored(source.name)}"  # noqa: S608


def _long(source: Source) -> str:
    return " UNION ALL ".join(_one(source, checkpoint) for checkpoint in source.checkpoints)


def _one(source: Source, c: Checkpoint) -> str:
    return (
        f"SELECT structure_id, extraction_id, '{c.kind}' AS kind, {c.depth} AS depth, "  # noqa: S608
        f"\"{c.name}\"::FLOAT[] AS vector, source_model, '{c.name}' AS checkpoint FROM {stored(source.name)}"
    )
