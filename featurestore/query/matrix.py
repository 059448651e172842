"""Which rows a head sees: entries, parts and targets of one property, chosen in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.errors import StrataError, unknown
from core.lazy import need
from featurestore.query.feature_sets import Block, FeatureSet
from featurestore.tables.schema import vector_type

if TYPE_CHECKING:
    import pandas as pd
    from torch.utils.data import TensorDataset

PARTS = ("train", "val", "test")


class SplitKey(NamedTuple):
    """Names one draw of train, validation and test parts."""

    scheme: str = "random"
    seed: int = 0
    fold: int = 0

    def __str__(self) -> str:
        return f"{self.scheme}:{self.seed}" + (f":{self.fold}" if self.fold else "")

    @classmethod
    def of(cls, split: "SplitKey | str") -> "SplitKey":
        """Read a split that may be written as text, scheme:seed or scheme:seed:fold.

        Raises `StrataError` for a text that is not made so, and for anything that names no split.

        >>> SplitKey.of("random:0"), SplitKey.of("kfold:1:3")
        (SplitKey(scheme='random', seed=0, fold=0), SplitKey(scheme='kfold', seed=1, fold=3))
        >>> str(SplitKey.of("kfold:1:3"))
        'kfold:1:3'
        """
        if isinstance(split, cls):
            return split
        scheme, *numbers = split.split(":") if isinstance(split, str) else ("",)
        plain = all(number.isascii() and number.isdigit() for number in numbers)
        if not scheme or not 1 <= len(numbers) <= 2 or not plain:
            raise StrataError(
                f"split {split!r} is not scheme:seed or scheme:seed:fold, such as random:0 or kfold:0:3"
            )
        return cls(scheme, *map(int, numbers))


@dataclass(frozen=True, eq=False, slots=True)
class Matrix:
    """What a head is fitted on: one row per entry, in the order of the provider's file."""

    X: NDArray[np.float32]  # (n, d), C-contiguous
    y: NDArray[np.float64] | None  # (n,), in `unit`; None where targets were not asked for
    entry_ids: NDArray[np.object_]  # (n,)
    structure_ids: NDArray[np.object_]  # (n,)
    part: NDArray[np.object_] | None  # (n,) of train, val, test; None without a split
    unit: str
    extraction_id: str  # of several source models: joined by +, as `source_model` is
    source_model: str = ""
    feature_set: str = ""
    blocks: tuple[Block, ...] = ()  # what lies side by side in X: source model, checkpoint, columns

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        targets = "no targets" if self.y is None else f"targets in {self.unit or 'no unit'}"
        shape = f"{self.X.shape[0]:,} entries × {self.X.shape[1]} features"
        return f"Matrix({shape} of {self.source_model} ({self.feature_set}), {targets})"

    @classmethod
    def of(
        cls,
        X: NDArray[np.float32],
        rows: pa.RecordBatch,
        unit: str,
        chosen: FeatureSet,
    ) -> "Matrix":
        """Put vectors beside the rows that `select` chose."""
        given = rows.schema.names
        return cls(
            X=X,
            y=rows["value"].to_numpy() if "value" in given else None,
            entry_ids=rows["entry_id"].to_numpy(zero_copy_only=False),
            structure_ids=rows["structure_id"].to_numpy(zero_copy_only=False),
            part=rows["part"].to_numpy(zero_copy_only=False) if "part" in given else None,
            unit=unit,
            extraction_id=chosen.extraction_id,
            source_model=chosen.source_model,
            feature_set=chosen.name,
            blocks=chosen.blocks,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Name each block: its checkpoint, after its source model where there are several."""
        alone = len({block.source for block in self.blocks}) == 1
        return tuple(b.checkpoint if alone else f"{b.source}/{b.checkpoint}" for b in self.blocks)

    def to_arrow(self) -> pa.Table:
        """Return entry_id, structure_id, part and value where known, and a list column per checkpoint."""
        columns = {"entry_id": pa.array(self.entry_ids), "structure_id": pa.array(self.structure_ids)}
        if self.part is not None:
            columns["part"] = pa.array(self.part)
        if self.y is not None:
            columns["value"] = pa.array(self.y)
        for name, block in zip(self.names, self.blocks, strict=True):
            flat = np.ascontiguousarray(self.X[:, block.start : block.stop]).reshape(-1)
            kind = vector_type(block.stop - block.start)
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)
        facts = {"unit": self.unit, "extraction_id": self.extraction_id}
        return pa.table(columns).replace_schema_metadata(facts)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a frame indexed by entry_id: a float32 column per feature (checkpoint_0 …), then the rest.

        The rest is structure_id, part where there is a split, and value where targets were asked for;
        `attrs` has unit and extraction_id.
        """
        import pandas as pd

        names = [
            f"{name}_{i}"
            for name, block in zip(self.names, self.blocks, strict=True)
            for i in range(block.stop - block.start)
        ]
        frame = pd.DataFrame(self.X, pd.Index(self.entry_ids, name="entry_id"), names)
        rest = {"structure_id": self.structure_ids, "part": self.part, "value": self.y}
        known = {name: column for name, column in rest.items() if column is not None}
        frame = pd.concat([frame, pd.DataFrame(known, frame.index)], axis=1)
        frame.attrs = {"unit": self.unit, "extraction_id": self.extraction_id}
        return frame

    def to_torch(self) -> "TensorDataset":
        """Return a `torch.utils.data.Dataset` of (x, y) pairs, or of (x,) without targets; y is float32."""
        need("torch", "extract")
        import torch
        from torch.utils.data import TensorDataset

        tensors = [torch.from_numpy(self.X)]
        if self.y is not None:
            tensors.append(torch.from_numpy(self.y.astype(np.float32)))
        return TensorDataset(*tensors)


@dataclass(frozen=True, slots=True)
class Selection:
    """Entries with a value of one property; with a split, those of some of its parts."""

    dataset: str
    property: str
    split: SplitKey | None = None
    parts: Sequence[str] | None = None


def drawn_splits(connection: Any, dataset: str, property_name: str) -> list[SplitKey]:
    """Return the splits that were drawn for a property, sorted."""
    rows = connection.sql(
        "SELECT DISTINCT scheme, seed, fold FROM splits WHERE dataset = ? AND property = ? ORDER BY ALL",
        params=[dataset, property_name],
    ).fetchall()
    return [SplitKey(*row) for row in rows]


def select(connection: Any, chosen: Selection, with_targets: bool) -> pa.RecordBatch:
    """Return entry_id, structure_id, with a split part, and with targets value, in the provider's order.

    The values of parts that were not asked for, or all where `with_targets` is false, are not read.
    """
    columns, join, where = ["t.entry_id", "t.structure_id"], "", ""
    given: list[Any] = [chosen.dataset, chosen.property]
    if chosen.split is not None:
        _check_split(connection, chosen)
        columns.append("s.part")
        join = "JOIN splits s USING (dataset, property, entry_id)"
        where = "AND s.scheme = ? AND s.seed = ? AND s.fold = ? AND s.part IN (SELECT unnest(?::VARCHAR[]))"
        given += [*chosen.split, list(chosen.parts or PARTS)]
    elif chosen.parts is not None:
        raise StrataError("parts belong to a split: name the split too")
    if with_targets:
        columns.append("t.value")
    query = (
        f"SELECT {', '.join(columns)} "  # noqa: S608 - fixed pieces, values are bound
        f"FROM targets t LEFT JOIN entries e USING (dataset, entry_id) {join} "
        f"WHERE t.dataset = ? AND t.property = ? {where} ORDER BY e.position, t.entry_id"
    )
    table = connection.sql(query, params=given).to_arrow_table().combine_chunks()
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() for column in table.columns], names=table.column_names
    )


def _check_split(connection: Any, chosen: Selection) -> None:
    for name in chosen.parts or ():
        if name not in PARTS:
            raise unknown("part", name, PARTS)
    drawn = drawn_splits(connection, chosen.dataset, chosen.property)
    if chosen.split not in drawn:
        listed = ", ".join(map(str, drawn)) or "none"
        raise StrataError(
            f"{chosen.dataset}/{chosen.property} has no split {chosen.split} (scheme:seed or "
            f"scheme:seed:fold; drawn: {listed}); name it in params.yaml and run: strata split "
            f"{chosen.dataset}"
        )


def without_rejected(
    connection: Any, rows: pa.RecordBatch, absent: pa.Array, source: str, extraction: str
) -> pa.RecordBatch:
    """Leave out rows whose structure the source model rejected.

    Raises `StrataError` where an absent structure was not rejected: it was not extracted yet.
    """
    rejected = connection.sql(
        "SELECT id FROM rejects WHERE \"table\" = 'features' AND extraction_id = ?", params=[extraction]
    ).to_arrow_table()["id"]
    pending = absent.filter(pc.invert(pc.is_in(absent, value_set=rejected)))
    if len(pending):
        raise not_extracted(pending, source, extraction)
    return rows.filter(pc.invert(pc.is_in(rows["structure_id"], value_set=rejected)))


def not_extracted(absent: pa.Array, source: str, extraction: str) -> StrataError:
    """Build the error for structures without vectors."""
    return StrataError(
        f"{len(absent):,} structures have no vectors by {source} under extraction {extraction} (first: "
        f"{absent[0]}); run: strata extract {source}, or strata columns {source} for a table of your own"
    )
