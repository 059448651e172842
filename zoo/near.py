"""Which structures of a store look most like one that a user gives."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import unknown
from core.params import Extract, Ingest
from featurestore.query.near import METRICS
from featurestore.query.store import FeatureStore, open_store
from zoo.embed import vector_of

if TYPE_CHECKING:
    import pandas as pd


def near(
    structure: Any,
    k: int = 10,
    store: str | Path | FeatureStore = "store",
    *,
    checkpoint: str | None = None,
    source_model: str | None = None,
    dataset: str | None = None,
    metric: str = "euclidean",
    settings: Extract | None = None,
    limits: Ingest | None = None,
) -> "pd.DataFrame":
    """Return the `k` structures of a store that are nearest to one, nearest first.

    structure: of ASE, pymatgen, jarvis-tools or our own; the path of a file that holds one; or an entry_id or
    structure_id of the store, itself left out of the answer. A text that names no file is an id. checkpoint:
    whose vectors are compared, CHECKPOINT or SOURCE/CHECKPOINT; by default the deepest of the first kind of
    `source_model`, which is by default the store's own default. dataset: search in this one only. metric:
    euclidean or cosine. settings, limits: the sections `extract` and `ingest` of the params.

    One row per structure: distance (no unit), structure_id, formula, n_atoms, and entries, a list of
    dataset/entry_id; `attrs["checkpoint"]` says whose vectors they were. Raises `StrataError` for unknown
    names, for a structure that cannot be used, and where the store's vectors are not comparable.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    with nullcontext(store) if isinstance(store, FeatureStore) else open_store(store) as opened:
        if source_model is not None:
            checkpoint = f"{source_model}/{checkpoint or ''}"
        chosen = opened.one_checkpoint(checkpoint)
        name = f"{chosen.source_model}/{chosen.name}"
        asked: str | NDArray[np.float32] = structure
        if not isinstance(structure, str) or Path(structure).is_file():
            asked = vector_of(opened, structure, chosen, settings or Extract(), limits or Ingest())
        found = opened.near(asked, k, name, dataset=dataset, metric=metric)
    frame = found.to_pandas()
    frame["entries"] = found["entries"].to_pylist()
    frame.attrs = {"checkpoint": name}
    return frame
