"""What models say of the structures of a map: held-out predictions, and those of a model run over all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.progress import Meter
from evaluation.explorer.collect import Found, Property
from evaluation.explorer.structure_map import PREDICTIONS, Column
from featurestore.query.store import FeatureStore
from heads.domain import VERDICTS
from heads.intervals import LEVEL
from zoo.candidates import Candidates
from zoo.judge import predict
from zoo.model import Model

_CHOSEN = """
    SELECT run_id FROM runs WHERE role = 'chosen' AND dataset = ? AND property = ?
    ORDER BY list_position(?::VARCHAR[], scheme) NULLS LAST, scheme, seed, fold, run_id LIMIT 1
"""
_HELD_OUT = """
    SELECT e.structure_id, avg(p.prediction) AS prediction
    FROM predictions p JOIN entries e USING (dataset, entry_id)
    WHERE p.run_id = ? AND p.part IN ('oof', 'test') AND p.label IS NULL GROUP BY e.structure_id
"""
ERROR, WIDTH, DOMAIN = "error", "interval width", "domain"


@dataclass(frozen=True, eq=False, slots=True)
class Said:
    """What a model says of structures, (n,) each, NaN where it says nothing; verdicts "" there."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    verdicts: Sequence[str]
    percentile: NDArray[np.float64]
    level: float

    def columns(self, name: str, unit: str, model: str) -> list[Column]:
        """Return them as columns of the property that the page calls `name`."""
        about = f"by the model of {model}"
        places = {word: float(i) for i, word in enumerate(VERDICTS)}
        verdicts = np.array([places.get(word, np.nan) for word in self.verdicts])
        found = [
            Column(f"{name}, prediction", self.value, unit, PREDICTIONS, f"Predicted {about}.", parity=name)
        ]
        if np.isfinite(self.low).any():
            share = f"{self.level:.0%}"
            found += [
                Column(f"{name}, low end", self.low, unit, PREDICTIONS, f"Of the {share} interval, {about}."),
                Column(
                    f"{name}, high end", self.high, unit, PREDICTIONS, f"Of the {share} interval, {about}."
                ),
                Column(
                    f"{name}, {WIDTH}",
                    self.high - self.low,
                    unit,
                    PREDICTIONS,
                    f"High minus low end of the {share} interval, {about}.",
                ),
            ]
        where = "Whether the structure lies inside of what the model learned from"
        return [
            *found,
            Column(f"{name}, {DOMAIN}", verdicts, "", PREDICTIONS, f"{where}, {about}.", labels=VERDICTS),
            Column(
                f"{name}, {DOMAIN} percentile",
                self.percentile,
                "%",
                PREDICTIONS,
                f"Training rows that are less remote from the others than this structure, {about}.",
            ),
        ]


def held_out(
    store: FeatureStore, found: Found, chosen: Property, value: Column, schemes: Sequence[str]
) -> list[Column]:
    """Return predictions of the chosen run for entries that it was not fitted on, and their errors.

    They are those of the cross-validation inside train and validation, and of the test part, where
    `evaluate` has scored it. None where no run was chosen, or of a property of classes.
    """
    runs = store.sql(_CHOSEN, [chosen.dataset, chosen.property, list(schemes)]).fetchall()
    if not runs or chosen.classes:
        return []
    rows = store.sql(_HELD_OUT, [runs[0][0]]).to_arrow_table()
    if not rows.num_rows:
        return []
    predicted = found.aligned(rows["structure_id"].to_pylist(), rows["prediction"].to_pylist())
    if not np.isfinite(predicted).any():
        return []
    about = "by models that were not fitted on this entry: folds of train and validation, and the test part"
    return [
        Column(
            f"{chosen.name}, held-out prediction",
            predicted,
            chosen.unit,
            PREDICTIONS,
            f"Predicted {about}.",
            parity=chosen.name,
        ),
        Column(
            f"{chosen.name}, {ERROR}",
            predicted - value.values,
            chosen.unit,
            PREDICTIONS,
            f"Prediction minus value, {about}.",
        ),
        Column(
            f"{chosen.name}, absolute {ERROR}",
            np.abs(predicted - value.values),
            chosen.unit,
            PREDICTIONS,
            f"Without its sign, {about}.",
        ),
    ]


def said_of(model: Model, candidates: Candidates, ids: Sequence[str], *, told: bool = False) -> Said:
    """Run a model over candidates, and align what it says to structure ids (n,)."""
    some = candidates.take(candidates.usable)
    rows = np.arange(len(some))
    with Meter(f"predict {model.card.property}", len(rows) if told else 0) as meter:
        table, level = predict(some, rows, None, LEVEL, meter.advance)
    place = {name: i for i, name in enumerate(some.known["structure_id"].to_pylist())}
    order = np.array([place.get(name, -1) for name in ids])
    there = order >= 0

    def aligned(name: str) -> NDArray[np.float64]:
        values = np.full(len(order), np.nan)
        values[there] = table[name].to_numpy().astype(float)[order[there]]
        return values

    verdicts = table["domain"].to_pylist()
    value = aligned("value")
    return Said(
        value,
        aligned("low"),
        aligned("high"),
        [verdicts[at] if at >= 0 and np.isfinite(value[i]) else "" for i, at in enumerate(order)],
        aligned("percentile"),
        level,
    )
