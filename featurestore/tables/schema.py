"""The tables that are kept: column names, types and units, each written here once."""

from typing import NamedTuple

import pyarrow as pa

WIDTH = 256  # numbers in one pooled vector


class Checkpoint(NamedTuple):
    """A place inside the source model where features are read."""

    kind: str
    depth: int

    @property
    def name(self) -> str:
        """Return the column that holds it.

        >>> Checkpoint("atom", 8).name
        'atom_8'
        """
        return f"{self.kind}_{self.depth}"


# Depth 0 is the embedding, 1-4 follow the ALIGNN layers, 5-8 the GCN layers, which have no angles.
DEPTHS = {"atom": 9, "bond": 9, "angle": 5}
CHECKPOINTS: tuple[Checkpoint, ...] = tuple(
    Checkpoint(kind, depth) for kind, depths in DEPTHS.items() for depth in range(depths)
)

VECTOR = pa.list_(pa.field("element", pa.float32(), nullable=False), WIDTH)


def _schema(*fields: pa.Field, optional: tuple[pa.Field, ...] = ()) -> pa.Schema:
    return pa.schema([*(field.with_nullable(False) for field in fields), *optional])


_text, _int32, _int64, _float = pa.string(), pa.int32(), pa.int64(), pa.float64()

STRUCTURES = _schema(
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
TARGETS = _schema(
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("entry_id", _text),
    pa.field("structure_id", _text),
    pa.field("value", _float),
    pa.field("unit", _text),
)
FEATURES = _schema(
    pa.field("structure_id", _text),
    pa.field("extraction_id", _text),
    pa.field("source_model", _text),
    pa.field("n_bonds", _int64),
    pa.field("n_angles", _int64),
    pa.field("n_distinct_atoms", _int64),
    pa.field("n_distinct_bonds", _int64),
    pa.field("n_distinct_angles", _int64),
    pa.field("prediction", pa.float32()),  # the source model's own output, in its own unit
    *(pa.field(checkpoint.name, VECTOR) for checkpoint in CHECKPOINTS),
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
        pa.field("method", _text, nullable=False),  # base, features, scratch or finetune
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
    ]
)
PREDICTIONS = _schema(
    pa.field("run_id", _text),
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("entry_id", _text),
    pa.field("part", _text),
    pa.field("prediction", _float),
)
SCORES = _schema(
    pa.field("run_id", _text),
    pa.field("dataset", _text),
    pa.field("property", _text),
    pa.field("part", _text),
    pa.field("role", _text),  # chosen, base or scratch
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

SCHEMAS: dict[str, pa.Schema] = {
    "structures": STRUCTURES,
    "entries": ENTRIES,
    "targets": TARGETS,
    "features": FEATURES,
    "splits": SPLITS,
    "runs": RUNS,
    "predictions": PREDICTIONS,
    "scores": SCORES,
    "looks": LOOKS,
}
