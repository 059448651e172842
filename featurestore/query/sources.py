"""The source models of a store: which checkpoints each has, and which extraction of it is meant."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from core.errors import StrataError
from core.precision import precision_of
from featurestore.columns import BACKBONE
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Snapshot
from featurestore.tables.places import storage_of
from featurestore.tables.schema import EXTRACTIONS, Checkpoint, features_schema
from featurestore.tables.vectors import read_columns


@dataclass(frozen=True, slots=True)
class Source:
    """One source model as the store knows it; `extraction_id` is the extraction that was asked for last."""

    name: str
    extraction_id: str
    backbone: str
    is_default: bool
    counts: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_columns(self) -> bool:
        """Tell whether it is a table of a user's own columns, and no network."""
        return self.backbone == BACKBONE

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of a user's own columns, in the order of the vector; () for a network."""
        return tuple(self.provenance["columns"].split(",")) if self.is_columns else ()

    def covers(self, dataset: str) -> bool:
        """Tell whether a dataset's structures may have vectors; a table of columns is of one dataset."""
        return not self.is_columns or self.provenance["dataset"] == dataset

    @property
    def precision(self) -> str | None:
        """The numeric mode that its vectors were made in; None where nothing has weights to multiply by."""
        no_weights = self.is_columns or self.provenance.get("weights_sha256") == ""
        return None if no_weights else precision_of(self.provenance)

    @property
    def schema(self) -> pa.Schema:
        """The columns of its wide table."""
        return features_schema(self.counts, self.checkpoints)


def read_sources(snapshots: Iterable[Snapshot]) -> dict[str, Source]:
    """Read the rows of the tables `extractions`, the default source model first, then by name."""
    rows = (
        row
        for snapshot in snapshots
        for path in snapshot.paths
        for row in read_columns(path, EXTRACTIONS.names).to_pylist()
    )
    found = [
        Source(
            row["source_model"],
            row["extraction_id"],
            row["backbone"],
            row["is_default"],
            tuple(row["counts"]),
            tuple(Checkpoint(**checkpoint) for checkpoint in row["checkpoints"]),
            json.loads(row["provenance"]),
        )
        for row in rows
    ]
    found.sort(key=lambda source: (not source.is_default, source.name))
    return {source.name: source for source in found}


def refuse_older_layout(layout: StoreLayout) -> None:
    """Raise `StrataError` for a store whose vectors still lie in one table for all source models."""
    if storage_of(layout.root).is_folder(layout.older_features):
        raise StrataError(
            f"{layout.root} was made by an earlier version, which kept the vectors of all source "
            "models in one table; bring it up to date, without computing anything, by: strata store migrate"
        )
