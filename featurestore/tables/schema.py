"""The tables that are kept: column names, types and units, each written here once."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa


class Checkpoint(NamedTuple):
    """A place inside a source model where features are read; `name` is the column that holds it."""

    name: str
    kind: str
    depth: int
    width: int  # numbers in one pooled vector


def vector_type(width: int) -> pa.DataType:
    """Return the type of a column of vectors: a list of `width` float32, none of them NULL."""
    return pa.list_(pa.field("element", pa.float32(), nullable=False), width)


def is_vector(kind: pa.DataType) -> bool:
    """Tell whether a column's type is that of vectors."""
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type))


def _schema(*fields: pa.Field, optional: tuple[pa.Field, ...] = ()) -> pa.Schema:
    return pa.schema([*(field.with_nullable(False) for field in fields), *optional])


_text, _int32, _int64, _float = pa.string(), pa.int32(), pa.int64(), pa.float64()

STRUCTURES = _schema(  # without frac_coords it is a composition only: lattice and volume are 0
    pa.field("structure_id", _text),
    pa.field("formula", _text),
    pa.field("n_atoms", _int32),
    pa.field("volume", _float),  # Å³
    pa.field("lattice", pa.list_(_float, 9)),  # Å, the three lattice vectors one after another
    pa.field("numbers", pa.list_(pa.uint8())),
    pa.field("frac_coords", pa.list_(_float)),  # 3 numbers an atom
)
ENTRIES = _schema(
    pa.field("dataset", _text),
    pa.field("entry_id", _text),
    pa.field("structure_id", _text),
    pa.field("position", _int64),  # place in the provider's file
)
DATASETS = _schema(  # what the card said when the dataset was ingested; one row
    pa.field("dataset", _text),
    pa.field("title", _text),
    pa.field("provider", _text),
    pa.field("material_class", _text),
    pa.field("licence", _text),
    pa.field("citation", _text),
    pa.field("note", _text),
    pa.field(
        "properties",
        pa.list_(pa.struct(dict.fromkeys(("name", "unit", "description", "origin", "paper_name"), _text))),
    ),
    optional=(pa.field("version", _text), pa.field("doi", _text), pa.field("caution", _text)),
)
PUBLISHED = _schema(  # splits that came with a dataset
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("entry_id", _text),
    pa.field("part", _text),
)
TARGETS = _schema(
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("entry_id", _text),
    pa.field("structure_id", _text),
    pa.field("value", _float),
    pa.field("unit", _text),
)
EXTRACTIONS = _schema(
    pa.field("source_model", _text),
    pa.field("extraction_id", _text),  # the one that was asked for last
    pa.field("backbone", _text),
    pa.field("is_default", pa.bool_()),  # meant where no source model is named
    pa.field("counts", pa.list_(_text)),
    pa.field(
        "checkpoints",
        pa.list_(pa.struct({"name": _text, "kind": _text, "depth": _int32, "width": _int32})),
    ),
    pa.field("provenance", _text),  # JSON
)
SPLITS = _schema(
    pa.field("scheme", _text),
    pa.field("seed", _int64),
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("entry_id", _text),
    pa.field("fold", _int32),
    pa.field("part", _text),
)
RUNS = pa.schema(
    [
        pa.field("run_id", _text, nullable=False),
        # base, composition, features, committee, scratch or finetune
        pa.field("method", _text, nullable=False),
        pa.field("head", _text),
        pa.field("feature_set", _text),  # null where method is base
        pa.field("dataset", _text, nullable=False),
        pa.field("property", _text, nullable=False),
        pa.field("unit", _text, nullable=False),
        pa.field("scheme", _text, nullable=False),
        pa.field("seed", _int64, nullable=False),
        pa.field("fold", _int32, nullable=False),
        pa.field("source_model", _text),
        pa.field("extraction_id", _text),
        pa.field("n_train", _int64, nullable=False),
        pa.field("n_val", _int64, nullable=False),
        pa.field("n_test", _int64, nullable=False),
        pa.field("train_mae", _float),
        pa.field("val_mae", _float),
        pa.field("fit_seconds", _float),
        pa.field("label", _text),  # the preset's own word, such as demo
        pa.field("settings", _text),  # JSON
        pa.field("versions", _text),  # JSON
        pa.field("model_path", _text),  # relative to the store
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
        # Added later: NULL in shards that were written before.
        pa.field("cv_mae", _float),  # of the out-of-fold predictions; null where there are none
        pa.field(
            "choice", _text
        ),  # what its error is compared by (cv or validation), and whether it was refitted
        pa.field("train_log_loss", _float),  # of a property of classes, in place of the MAEs
        pa.field("val_log_loss", _float),
        pa.field("model_sha256", _text),  # of the list of hashes in the folder of the model
    ]
)
PREDICTIONS = _schema(
    pa.field("run_id", _text),
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("entry_id", _text),
    pa.field("part", _text),  # train, val, test; oof: of a row that the model was not fitted on
    pa.field("prediction", _float),
)
SCORES = _schema(
    pa.field("run_id", _text),
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("part", _text),
    pa.field("role", _text),  # chosen, scratch, composition or base
    optional=(
        pa.field("mae", _float),
        pa.field("mae_low", _float),
        pa.field("mae_high", _float),
        pa.field("r2", _float),
        pa.field("spearman", _float),
        pa.field("n", _int64, nullable=False),
    ),
)
LOOKS = _schema(
    pa.field("run_id", _text),
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("scheme", _text),
    pa.field("seed", _int64),
    pa.field("fold", _int32),
    pa.field("role", _text),
    pa.field("among", _text),  # what it was chosen among, where a split has several choices
    pa.field("stage", _text),  # evaluate, or an experiment
    pa.field("n", _int64),
    pa.field("looked_at", pa.timestamp("us", tz="UTC")),
)
INTERVALS = _schema(  # of the chosen runs: where the values of the test part were expected
    pa.field("run_id", _text),
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("entry_id", _text),
    pa.field("part", _text),
    pa.field("low", _float),
    pa.field("high", _float),
    pa.field("level", _float),
    pa.field("expected_error", _float),
    pa.field("percentile", _float),
    pa.field("domain", _text),  # inside, edge or outside
)
SCREENS = _schema(  # screenings that were kept: a row for each structure that was ranked
    pa.field("screen", _text),
    pa.field("model", _text),  # dataset/property
    pa.field("model_sha256", _text),
    pa.field("rank", _int64),  # from 1
    pa.field("structure_id", _text),
    pa.field("value", _float),
    pa.field("unit", _text),
    pa.field("domain", _text),  # inside, edge or outside
    pa.field("percentile", _float),
    pa.field("made_at", pa.timestamp("us", tz="UTC")),
    optional=(
        pa.field("low", _float),  # of the interval, as is high
        pa.field("high", _float),
        pa.field("level", _float),
        pa.field("chance", _float),  # that the value lies between minimum and maximum; null without a window
        pa.field("minimum", _float),
        pa.field("maximum", _float),
    ),
)
DUPLICATES = _schema(
    pa.field("structure_id", _text),
    pa.field("duplicate_group", _text),  # the smallest structure_id of the group
)


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast a table that was read from a shard; a column that was added since is NULL.

    Raises `pa.ArrowException` where a column that may not be NULL is missing.
    """
    for field in schema:
        if field.nullable and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def features_schema(counts: Sequence[str], checkpoints: Iterable[Checkpoint]) -> pa.Schema:
    """Return the columns of one source model's wide table; what it counts and its checkpoints are its own."""
    return _schema(
        pa.field("structure_id", _text),
        pa.field("extraction_id", _text),
        pa.field("source_model", _text),
        *(pa.field(name, _int64) for name in counts),
        pa.field("prediction", pa.float32()),  # the source model's own output, in its own unit; NaN: none
        *(pa.field(checkpoint.name, vector_type(checkpoint.width)) for checkpoint in checkpoints),
    )


# Columns that every table of vectors has; the others are its source model's own.
FEATURES_ALWAYS = ("structure_id", "extraction_id", "source_model", "prediction")

SCHEMAS: dict[str, pa.Schema] = {
    "structures": STRUCTURES,
    "entries": ENTRIES,
    "targets": TARGETS,
    "datasets": DATASETS,
    "published": PUBLISHED,
    "extractions": EXTRACTIONS,
    "splits": SPLITS,
    "runs": RUNS,
    "predictions": PREDICTIONS,
    "scores": SCORES,
    "looks": LOOKS,
    "intervals": INTERVALS,
    "screens": SCREENS,
    "duplicates": DUPLICATES,
}

# Kinds with columns that are written only in tables where some row has one; a table without keeps its bytes.
GROWN: dict[str, pa.Schema] = {
    "datasets": DATASETS.append(
        pa.field("scales", _text)  # JSON: property → "log", or the labels of its classes by their codes
    ),
    "predictions": PREDICTIONS.append(
        pa.field("label", _text)  # the class that `prediction` is the probability of
    ),
    "scores": pa.schema(
        [
            *SCORES,
            pa.field("balanced_accuracy", _float),
            pa.field("balanced_accuracy_low", _float),
            pa.field("balanced_accuracy_high", _float),
            pa.field("accuracy", _float),
            pa.field("roc_auc", _float),
            pa.field("log_loss", _float),
            pa.field("calibration_error", _float),
            pa.field(
                "calibration", _text
            ),  # JSON: [mean probability, share that was right, rows] of each bin
        ]
    ),
}


def widest(kind: str) -> pa.Schema:
    """Return all columns that tables of a kind may have."""
    return GROWN.get(kind, SCHEMAS[kind])


# Every kind of table; the columns of `features` are each source model's own.
KINDS = (*SCHEMAS, "features")
