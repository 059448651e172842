"""Where the chosen runs expected the values of the test part: intervals and domain, one row per entry.

Made from train and validation alone; the values of the test part are not read here. What they say of the
intervals is read where both are laid side by side (evaluation/report/held.py).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from core.errors import StrataError
from core.progress import progress
from evaluation.protocol import CHOSEN, Scored
from featurestore.query.store import FeatureStore
from featurestore.tables.schema import INTERVALS
from featurestore.tables.shards import Chunk
from featurestore.tables.writer import TableWriter
from heads.calibration import Calibration, spread_of
from heads.domain import Place
from zoo.stored import basis_of


@dataclass(frozen=True, slots=True)
class Placed:
    """A chosen run's test part among the rows that the run learned from.

    rows: of the table `intervals`. place: of `entry_ids`, in their order; None where the property has
    classes.
    """

    rows: pa.Table
    calibration: Calibration
    entry_ids: tuple[str, ...] = ()
    place: Place | None = None


def placed_runs(
    store: FeatureStore, scored: Sequence[Scored], level: float
) -> Iterable[tuple[Scored, Placed]]:
    """Place the chosen runs among `scored` one after another, at a level such as 0.9."""
    for one in progress([one for one in scored if one.role == CHOSEN], "intervals"):
        with suppress(StrataError):  # such as vectors that are no longer in the store; `lacking` counts them
            yield one, place_run(store, one.run_id, level)


def write_intervals(
    store: FeatureStore, scored: Sequence[Scored], level: float, tables: Sequence[pa.Table]
) -> None:
    """Replace the table `intervals` by `tables`, those of the chosen runs among `scored`."""
    table = pa.concat_tables([INTERVALS.empty_table(), *tables])
    facts = [[one.run_id, one.among] for one in scored if one.role == CHOSEN] + [[str(level)]]
    digest = hashlib.sha256(json.dumps([facts, table.to_pydict()], sort_keys=True).encode()).hexdigest()
    with TableWriter(store.layout.intervals, INTERVALS, "evaluate") as writer:
        writer.replace({f"intervals-{digest[:32]}": Chunk(table)})


def lacking(store: FeatureStore, run_ids: Sequence[str]) -> list[str]:
    """Say how many of the chosen runs have no intervals, in a sentence; none where all have."""
    query = (
        "SELECT count(*), count(*) FILTER (run_id NOT IN (SELECT run_id FROM intervals)) FROM runs "
        "WHERE role = 'chosen' AND val_log_loss IS NULL AND run_id IN (SELECT unnest(?::VARCHAR[]))"
    )
    count, without = store.sql(query, [list(run_ids)]).fetchall()[0]
    if not without:
        return []
    what = "as their vectors or predictions are not all in the store; strata predict says which"
    return [f"{without} of {count} chosen runs have no intervals, {what}."]


def place_run(store: FeatureStore, run_id: str, level: float) -> Placed:
    """Return the rows of the table `intervals` of one chosen run, and what they were made by."""
    basis = basis_of(store, run_id)
    calibration = basis.calibrate(store)
    predicted = _test_rows(store, [run_id, *(key for key, _ in basis.members)])
    ids = predicted["structure_id"].tolist()
    vectors = {name: of(ids) for name, of in basis.vectors.items()}
    there = np.any([np.isfinite(X).all(axis=1) for X in vectors.values()], axis=0)
    predicted = predicted[there].reset_index(drop=True)
    if calibration.intervals is None or predicted.empty:
        return Placed(INTERVALS.empty_table(), calibration)
    elements = [tuple(structure.numbers.tolist()) for structure in store.structures(ids)]
    place = calibration.domain.place(
        {name: X[there] for name, X in vectors.items()},
        [e for e, t in zip(elements, there, strict=True) if t],
    )
    values = predicted[run_id].to_numpy()
    members = predicted[[key for key, _ in basis.members]].to_numpy()
    spread = spread_of(members, values, np.array([weight for _, weight in basis.members]))
    found = calibration.intervals(place, values, spread, level)
    n = len(values)
    rows = pa.table(
        {
            "run_id": [run_id] * n,
            "dataset": [basis.row["dataset"]] * n,
            "property": [basis.row["property"]] * n,
            "entry_id": predicted["entry_id"].tolist(),
            "part": ["test"] * n,
            "low": found.low,
            "high": found.high,
            "level": np.full(n, found.level),
            "expected_error": found.error,
            "percentile": place.percentile,
            "domain": place.verdicts.tolist(),
        },
        schema=INTERVALS,
    )
    return Placed(rows, calibration, tuple(predicted["entry_id"]), place)


def _test_rows(store: FeatureStore, run_ids: list[str]) -> pd.DataFrame:
    """Return entry_id, structure_id and what runs predict of the test part, a column per run; no target."""
    rows = store.sql(
        "SELECT p.entry_id, e.structure_id, p.run_id, p.prediction "
        "FROM predictions p JOIN entries e USING (dataset, entry_id) "
        "WHERE p.part = 'test' AND p.run_id IN (SELECT unnest(?::VARCHAR[]))",
        [run_ids],
    ).df()
    table = rows.pivot_table(index=["entry_id", "structure_id"], columns="run_id", values="prediction")
    return table.reindex(columns=run_ids).dropna(subset=[run_ids[0]]).reset_index()
