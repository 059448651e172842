"""The entries of the test part with what `evaluate` wrote of them, beside what the store knows of each."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from core.errors import StrataError
from evaluation.protocol import split_label
from evaluation.report.points import Point
from featurestore.query.store import FeatureStore

Place = tuple[str, str, str]  # dataset, property, split


def read_parity(path: Path, formulas: Mapping[str, str]) -> dict[Place, list[Point]]:
    """Read what `evaluate` wrote: (dataset, property, split) → the chosen run's test points.

    `formulas` ("dataset/entry_id" → formula) adds to an entry's name what it is made of.
    """
    found: dict[Place, list[Point]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                entry = row["entry_id"]
                formula = formulas.get(f"{row['dataset']}/{entry}")
                name = entry if formula in (None, entry) else f"{entry} ({formula})"
                point = Point(name, float(row["actual"]), float(row["predicted"]), entry)
                found.setdefault((row["dataset"], row["property"], row["split"]), []).append(point)
    except FileNotFoundError:
        raise StrataError(f"{path} is missing; make it with: strata evaluate") from None
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise StrataError(f"{path} is damaged ({error}); make it anew with: strata evaluate") from None
    return found


def tested_entries(
    store: FeatureStore, parity: Mapping[Place, Sequence[Point]], run_ids: Sequence[str]
) -> dict[Place, pd.DataFrame]:
    """Return for every place its test entries, in the order of `parity`.

    Columns: entry_id, name, actual, predicted, error (absolute), structure_id, n_atoms, numbers; and where
    the chosen run, one of `run_ids`, has intervals: low, high, expected_error, percentile, domain.
    """
    datasets = sorted({dataset for dataset, _, _ in parity})
    known = store.sql(
        "SELECT dataset, entry_id, structure_id, n_atoms, list_distinct(numbers) AS numbers "
        "FROM entries JOIN structures USING (structure_id) WHERE dataset IN (SELECT unnest(?::VARCHAR[]))",
        [datasets],
    ).df()
    of_dataset = {
        name: own.drop(columns="dataset").set_index("entry_id") for name, own in known.groupby("dataset")
    }
    intervals = _intervals(store, run_ids)
    found = {}
    for place, points in parity.items():
        rows = pd.DataFrame(
            [(p.entry_id, p.name, p.actual, p.predicted) for p in points],
            columns=["entry_id", "name", "actual", "predicted"],
        )
        rows["error"] = (rows["predicted"] - rows["actual"]).abs()
        if place[0] in of_dataset:
            rows = rows.join(of_dataset[place[0]], on="entry_id", how="inner")
        found[place] = rows.join(intervals[place], on="entry_id") if place in intervals else rows
    return found


def _intervals(store: FeatureStore, run_ids: Sequence[str]) -> dict[Place, pd.DataFrame]:
    rows = store.sql(
        "SELECT r.dataset, r.property, r.scheme, r.seed, r.fold, i.entry_id, i.low, i.high, "
        "i.expected_error, i.percentile, i.domain FROM intervals i JOIN runs r USING (run_id) "
        "WHERE i.part = 'test' AND r.role = 'chosen' AND i.run_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(run_ids)],
    ).df()
    key = ["dataset", "property", "scheme", "seed", "fold"]
    return {
        (str(d), str(p), split_label(str(scheme), int(seed), int(fold))): own.drop(columns=key).set_index(
            "entry_id"
        )
        for (d, p, scheme, seed, fold), own in rows.groupby(key)
    }


def base_errors(store: FeatureStore, run_ids: Sequence[str]) -> dict[Place, dict[str, float]]:
    """Return the absolute error of Base on every test entry, where `evaluate` scored it among these runs."""
    rows = store.sql(
        "SELECT r.dataset, r.property, r.scheme, r.seed, r.fold, p.entry_id, "
        "abs(p.prediction - t.value) AS error "
        "FROM predictions p JOIN runs r ON r.run_id = p.run_id AND r.role = 'base' "
        "JOIN targets t ON (t.dataset, t.property, t.entry_id) = (p.dataset, p.property, p.entry_id) "
        "WHERE p.part = 'test' AND p.label IS NULL AND p.run_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(run_ids)],
    ).df()
    return {
        (str(d), str(p), split_label(str(scheme), int(seed), int(fold))): dict(
            zip(own["entry_id"], own["error"], strict=True)
        )
        for (d, p, scheme, seed, fold), own in rows.groupby(["dataset", "property", "scheme", "seed", "fold"])
    }
