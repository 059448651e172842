"""Do the intervals hold, and does the domain tell where errors are large? Read off the test parts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from featurestore.query.store import FeatureStore
from heads.domain import VERDICTS

FEWEST = 20  # test entries from which quarters of them are told apart


@dataclass(frozen=True, slots=True)
class Held:
    """What became of the intervals of one property under one way of splitting, all seeds and folds together.

    coverage: share of values inside. quarters: the same from the easiest to the hardest quarter of the
    entries, none where there are too few. width: mean, in `unit`. domains: verdict, share of the entries, and
    their MAE, None where there are none.
    """

    dataset: str
    prop: str
    unit: str
    scheme: str
    level: float
    n: int
    coverage: float
    quarters: tuple[float, ...]
    width: float
    domains: tuple[tuple[str, float, float | None], ...]

    @property
    def name(self) -> str:
        """The property as people write it."""
        return self.prop.replace("_", " ")


def held(store: FeatureStore, run_ids: Sequence[str]) -> tuple[Held, ...]:
    """Lay the intervals of the runs beside the values of the test part, which `evaluate` has scored."""
    rows = store.sql(
        "SELECT i.*, t.value, t.unit, p.prediction, r.scheme, r.seed, r.fold FROM intervals i "
        "JOIN runs r ON r.run_id = i.run_id AND r.role = 'chosen' "
        "JOIN predictions p ON (p.run_id, p.entry_id, p.part) = (i.run_id, i.entry_id, i.part) "
        "JOIN targets t ON (t.dataset, t.property, t.entry_id) = (i.dataset, i.property, i.entry_id) "
        "WHERE i.part = 'test' AND i.run_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(run_ids)],
    ).df()
    rows = rows[rows["low"].notna()].copy()  # of too few training rows there is no interval
    if rows.empty:
        return ()
    rows["inside"] = (rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])
    rows["error"] = (rows["prediction"] - rows["value"]).abs()
    rank = rows.groupby("run_id")["expected_error"].rank(pct=True, method="first")
    rows["quarter"] = np.minimum((rank * 4).astype(int), 3)
    return tuple(
        _held(str(dataset), str(prop), str(scheme), own)
        for (dataset, prop, scheme), own in rows.groupby(["dataset", "property", "scheme"], sort=True)
    )


def _held(dataset: str, prop: str, scheme: str, own: pd.DataFrame) -> Held:
    quarters = own.groupby("quarter")["inside"].mean() if len(own) >= FEWEST else pd.Series(dtype=float)
    errors = own.groupby("domain")["error"].agg(["mean", "size"])
    return Held(
        dataset=dataset,
        prop=prop,
        unit=str(own["unit"].iloc[0]),
        scheme=scheme,
        level=float(own["level"].mean()),
        n=len(own),
        coverage=float(own["inside"].mean()),
        quarters=tuple(float(share) for share in quarters),
        width=float((own["high"] - own["low"]).mean()),
        domains=tuple(
            (verdict, float(errors["size"].get(verdict, 0)) / len(own), _mean(errors["mean"], verdict))
            for verdict in VERDICTS
        ),
    )


def _mean(errors: pd.Series, verdict: str) -> float | None:
    return float(errors[verdict]) if verdict in errors else None
