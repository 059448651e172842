"""Are vectors computed here and now those that are kept? A sample is extracted again and compared."""

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import StrataError
from core.lazy import need

if TYPE_CHECKING:
    from featurestore.query.store import FeatureStore
    from zoo.backbones.engine import Engine

TOLERANCE = (
    1e-3  # largest difference over the spread of its checkpoint; 1e-5 is what another order of sums gives
)


@dataclass(frozen=True, slots=True)
class Drift:
    """How far recomputed vectors lie from the kept ones."""

    extraction_id: str
    structures: int
    worst: float  # largest difference of a number, over the standard deviation of its checkpoint's numbers
    checkpoint: str  # where that is
    structure_id: str
    kept_by: dict[str, str]  # environment: torch, numpy, platform
    here: dict[str, str]

    @property
    def agrees(self) -> bool:
        """Tell whether the differences are those of rounding."""
        return bool(self.worst <= TOLERANCE)

    def __str__(self) -> str:
        changed = [
            f"{name} {old} → {self.here[name]}"
            for name, old in self.kept_by.items()
            if self.here.get(name, old) != old
        ]
        return (
            f"extraction {self.extraction_id}, {self.structures} structures computed again: largest "
            f"difference {self.worst:.1e} standard deviations ({self.checkpoint}, structure "
            f"{self.structure_id[:16]}…); {'agrees' if self.agrees else 'DRIFTED'} (tolerance "
            f"{TOLERANCE:g}). Environment: {', '.join(changed) or 'as recorded'}"
        )


def environment() -> dict[str, str]:
    """Return what may move the last digits: torch, numpy and the platform."""
    return {"torch": version("torch"), "numpy": np.__version__, "platform": platform.platform()}


def drift(root: str | Path, *, sample: int = 50, seed: int = 0, extraction: str | None = None) -> Drift:
    """Extract a sample of the kept structures again and compare all 23 checkpoints.

    Raises `StrataError` where the source model here is another one (see `engine_of`).
    """
    from featurestore.query.store import open_store
    from featurestore.tables.schema import CHECKPOINTS, WIDTH

    if sample < 1:
        raise StrataError(f"a sample has one structure at least, got {sample}")
    store = open_store(root)
    name = store.need_extraction(extraction)
    engine = engine_of(store, name)
    kept = _provenance(store, name)
    ids = [
        row[0]
        for row in store.sql(
            "SELECT structure_id FROM stored_features JOIN structures USING (structure_id) "
            "WHERE extraction_id = ? ORDER BY structure_id",
            [name],
        ).fetchall()
    ]
    if not ids:
        raise StrataError(f"{store.path} has vectors under {name}, but none of their structures")
    chosen = np.random.default_rng(seed).choice(ids, min(sample, len(ids)), replace=False).tolist()
    result = engine(store.structures(chosen))
    new = result.vectors.reshape(len(chosen), len(CHECKPOINTS), WIDTH)
    if result.errors:
        i, error = next(iter(result.errors.items()))
        raise StrataError(f"structure {chosen[i]} has vectors, but is rejected here: {error}")
    old = np.stack([store.vectors(chosen, c.name, name) for c in CHECKPOINTS], axis=1)
    spread = old.std(axis=(0, 2))
    far = np.abs(new - old).max(axis=2) / np.where(spread > 0, spread, 1)
    far[np.isnan(far)] = np.inf
    i, k = (int(place) for place in np.unravel_index(far.argmax(), far.shape))
    recorded = {key: kept[key] for key in environment() if key in kept}
    return Drift(name, len(chosen), float(far[i, k]), CHECKPOINTS[k].name, chosen[i], recorded, environment())


def engine_of(store: "FeatureStore", extraction: str) -> "Engine":
    """Return an engine that gives the vectors of an extraction.

    The source model is the one that the extraction names; raises `StrataError` where its card no longer
    has the recorded weights or graph settings, showing both: vectors would not be comparable.
    """
    need("torch", "extract")
    from core.params import Extract
    from etl.extract import extraction_id
    from zoo.backbones.engine import Engine
    from zoo.hub import load_source

    kept = _provenance(store, extraction)
    tf32 = kept.get("tf32") == "true"
    source = load_source(kept["source_model"])
    if extraction_id(source.card, tf32) != extraction:
        now = {
            "weights_sha256": source.card.weights_sha256,
            "graph": json.dumps(source.card.graph.model_dump(mode="json"), sort_keys=True),
        }
        shown = "; ".join(
            f"{key}: kept {kept.get(key)}, the card has {text}"
            for key, text in now.items()
            if kept.get(key) != text
        )
        raise StrataError(
            f"extraction {extraction} was made by another {source.card.name} than this one "
            f"({shown or 'by another code schema'}), so there is nothing to compare"
        )
    return Engine(source, Extract(source_model=source.card.name, tf32=tf32, workers=0))


def _provenance(store: "FeatureStore", extraction: str) -> dict[str, str]:
    """Return what the shards of an extraction say of themselves, source_model at least."""
    for row in store.extractions().to_pylist():
        if row["extraction_id"] == extraction:
            return {"source_model": row["source_model"], **json.loads(row["provenance"] or "{}")}
    raise StrataError(f"{store.path} has no extraction {extraction}")
