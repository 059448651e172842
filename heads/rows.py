"""A fitted run: what is said of it, its model in a folder of its own, and its row in the table runs."""

import json
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from core.checksums import write_checksums
from featurestore.tables.layout import StoreLayout
from featurestore.tables.models import new_model
from featurestore.tables.schema import SCHEMAS
from heads.plan import Data, Job
from heads.registry import HeadSpec
from heads.summary import Run


class Saving(Protocol):
    """What is left of a head where it is only saved."""

    def save(self, folder: str | Path) -> None:
        """Write it into a folder."""


def run_of(job: Job, data: Data, run_id: str, **found: Any) -> Run:
    """Return what is said of a run that was fitted now. found: its label, errors and seconds."""
    vectors = job.spec.cls.needs_vectors
    part = np.asarray(data.known.part)
    return Run(
        run_id=run_id,
        property=job.target,
        unit=data.known.unit,
        head=job.spec.name,
        feature_set=job.feature_set if vectors else None,
        source_model=data.known.source_model if vectors else None,
        split=job.split,
        n_train=int((part == "train").sum()),
        n_val=int((part == "val").sum()),
        n_test=len(data.test),
        is_new=True,
        **found,
    )


def saved(job: Job, data: Data, run: Run, head: Saving, layout: StoreLayout) -> pa.Table:
    """Save a run's model and return the run's row: what was fitted, how it did, and with what."""
    with new_model(layout.models(job.dataset) / run.run_id) as folder:  # replaces one of a killed fit
        head.save(folder)
        model_sha256 = write_checksums(folder)
    row = {
        **run.columns(),
        "method": job.method,
        "dataset": job.dataset,
        "extraction_id": data.known.extraction_id if job.spec.cls.needs_vectors else None,
        "settings": json.dumps(dict(job.spec.settings), sort_keys=True),
        "versions": json.dumps(_versions(job.spec), sort_keys=True),
        "model_path": (layout.models(job.dataset) / run.run_id).relative_to(layout.root).as_posix(),
        "created_at": datetime.now(UTC),
        "model_sha256": model_sha256,
    }
    return pa.Table.from_pylist([row], schema=SCHEMAS["runs"])


def _versions(spec: HeadSpec) -> dict[str, str]:
    names = ["strata", "numpy", "scikit-learn", *(module for module, _ in spec.cls.stack)]
    found = {"python": platform.python_version()}
    for name in names:
        with suppress(metadata.PackageNotFoundError):  # a checkout that is run without being installed
            found[name] = metadata.version(name)
    return found
