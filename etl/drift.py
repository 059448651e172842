"""Are vectors computed here and now those that are kept? A sample is extracted again and compared."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import StrataError
from core.params import Extract, section
from core.precision import BFLOAT16, FLOAT32, precision_of
from featurestore.query.sources import Source
from featurestore.query.store import FeatureStore, open_store
from zoo.backbones.engine import Engine
from zoo.extraction import environment, extraction_id, make_engine
from zoo.hub import load_card

TOLERANCE = (
    1e-3  # largest difference over the spread of its checkpoint; 1e-5 is what another order of sums gives
)
OF_BFLOAT16 = 0.1  # for vectors in bfloat16: what its rounding moves one number in two million by (0.09)


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
    precision: str = FLOAT32

    @property
    def tolerance(self) -> float:
        """The largest difference that the rounding of the vectors' numeric mode explains."""
        return OF_BFLOAT16 if self.precision == BFLOAT16 else TOLERANCE

    @property
    def agrees(self) -> bool:
        """Tell whether the differences are those of rounding."""
        return bool(self.worst <= self.tolerance)

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
            f"{self.tolerance:g}). Environment: {', '.join(changed) or 'as recorded'}"
        )


def drift(
    root: str | Path,
    *,
    sample: int = 50,
    seed: int = 0,
    source_model: str | None = None,
    backbones: Mapping[str, Mapping[str, Any]] | None = None,
) -> Drift:
    """Extract a sample of the kept structures again and compare all checkpoints of a source model.

    source_model: by default the store's own default. backbones: how they are run (`extract.backbones`).
    Raises `StrataError` where the source model here is another one (see `engine_of`).
    """
    if sample < 1:
        raise StrataError(f"a sample has one structure at least, got {sample}")
    store = open_store(root)
    source = store.need_source(source_model)
    engine = engine_of(store, source, backbones)
    kept = _provenance(store, source.extraction_id)
    ids = [
        row[0]
        for row in store.sql(
            "SELECT structure_id FROM stored_features JOIN structures USING (structure_id) "
            "WHERE extraction_id = ? ORDER BY structure_id",
            [source.extraction_id],
        ).fetchall()
    ]
    if not ids:
        raise StrataError(f"{store.path} has vectors by {source.name}, but none of their structures")
    chosen = np.random.default_rng(seed).choice(ids, min(sample, len(ids)), replace=False).tolist()
    result = engine(store.structures(chosen))
    if result.errors:
        i, error = next(iter(result.errors.items()))
        raise StrataError(f"structure {chosen[i]} has vectors, but is rejected here: {error}")
    worst = (-1.0, "", 0)
    for checkpoint in source.checkpoints:
        old = store.vectors(chosen, f"{source.name}/{checkpoint.name}")
        spread = old.std()
        far = np.abs(result.vectors[checkpoint.name] - old).max(axis=1) / (spread if spread > 0 else 1)
        far[np.isnan(far)] = np.inf
        worst = max(worst, (float(far.max()), checkpoint.name, int(far.argmax())))
    here = environment(engine.backbone)
    recorded = {key: kept[key] for key in here if key in kept}
    return Drift(
        source.extraction_id,
        len(chosen),
        worst[0],
        worst[1],
        chosen[worst[2]],
        recorded,
        here,
        engine.settings.precision,
    )


def engine_of(
    store: FeatureStore, source: Source, backbones: Mapping[str, Mapping[str, Any]] | None = None
) -> Engine:
    """Return an engine that gives the vectors that a store has of a source model.

    Raises `StrataError` where its card no longer has the recorded weights or settings, showing both: vectors
    would not be comparable.
    """
    kept = _provenance(store, source.extraction_id)
    precision = precision_of(kept)
    card = load_card(source.name)
    if extraction_id(card, precision) != source.extraction_id:
        now = {
            "weights_sha256": card.weights_sha256,
            "graph": json.dumps(card.graph.model_dump(mode="json"), sort_keys=True),
        }
        shown = "; ".join(
            f"{key}: kept {kept.get(key)}, the card has {text}"
            for key, text in now.items()
            if kept.get(key) != text
        )
        raise StrataError(
            f"extraction {source.extraction_id} was made by another {card.name} than this one "
            f"({shown or 'by another code schema'}), so there is nothing to compare"
        )
    settings = {
        "source_models": [card.name],
        "precision": precision,
        "workers": 0,
        "backbones": backbones or {},
    }
    return make_engine(card.name, section(Extract, settings, f"extraction {source.extraction_id}"))


def _provenance(store: FeatureStore, extraction: str) -> dict[str, str]:
    """Return what the shards of an extraction say of themselves, source_model at least."""
    for row in store.extractions().to_pylist():
        if row["extraction_id"] == extraction:
            return {"source_model": row["source_model"], **json.loads(row["provenance"] or "{}")}
    raise StrataError(f"{store.path} has no extraction {extraction}")
