"""The row of a fitted run in the table runs."""

import json
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata

import pyarrow as pa

from featurestore.tables.layout import StoreLayout
from featurestore.tables.schema import SCHEMAS
from heads.plan import Data, Job
from heads.registry import HeadSpec
from heads.summary import Run


def row_of(job: Job, data: Data, run: Run, layout: StoreLayout, model_sha256: str) -> pa.Table:
    """Return one row: what was fitted, how it did, and with what; model_sha256: see `write_checksums`."""
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
