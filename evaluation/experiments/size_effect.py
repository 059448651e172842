"""Supplementary figures 2 and 3 of the paper: the % change against the number of rows, and its histogram."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.params import Params
from evaluation.experiments.results import Result
from evaluation.experiments.transferred import transferred
from evaluation.statistics import quartiles, spearman

NAME = "size_effect"


def run(params: Params, store_root: Path, out: Path) -> Result:
    """Summarise the changes that `transfer` found, against scratch and against Base."""
    section = params.experiments.size_effect
    source = transferred(params, store_root, out)
    points = changes(source.tables["table"])
    summary, bars = summaries(points), histogram(points, section.bins)
    metrics: dict[str, Any] = {}
    for row in summary.to_dict("records"):
        place = metrics.setdefault(row["scheme"], {})
        place[row["against"]] = {k: v for k, v in row.items() if k not in ("scheme", "against")}
    return Result(
        NAME,
        {"table": summary, "points": points, "histogram": bars},
        metrics,
        settings=section.model_dump(mode="json"),
        provenance=source.provenance,
    )


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a target, way of splitting and reference: rows and % change with its interval."""
    pieces = []
    for against, prefix in (("scratch", ""), ("base", "base_")):
        if f"{prefix}change" not in table:
            continue
        own = table[table[f"{prefix}change"].notna()]
        piece = own[["group", "dataset", "property", "scheme", "rows", "method", "label"]].assign(
            against=against
        )
        for name in ("change", "change_low", "change_high"):
            piece[name] = own[f"{prefix}{name}"]
        pieces.append(piece)
    return pd.concat(pieces, ignore_index=True)


def summaries(points: pd.DataFrame) -> pd.DataFrame:
    """Return mean, sd, quartiles and extremes of the changes, and Spearman's ρ of change and rows."""
    rows = []
    for (scheme, against), own in points.groupby(["scheme", "against"], sort=True):
        rho = spearman(own["rows"], own["change"]) if len(own) > 2 else None
        facts = asdict(quartiles(own["change"])) | {"rho_rows": rho}
        rows.append({"scheme": scheme, "against": against} | facts)
    return pd.DataFrame(rows)


def histogram(points: pd.DataFrame, bins: int) -> pd.DataFrame:
    """Count the changes in equal steps of per cent."""
    rows = []
    for (scheme, against), own in points.groupby(["scheme", "against"], sort=True):
        counts, edges = np.histogram(own["change"], bins=bins)
        rows += [
            {"scheme": scheme, "against": against, "start": float(a), "stop": float(b), "count": int(n)}
            for n, a, b in zip(counts, edges[:-1], edges[1:], strict=True)
        ]
    return pd.DataFrame(rows)
