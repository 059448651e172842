"""What a run's predictions are worth: its domain and intervals, from rows that it was not fitted on.

They are made from the store when they are needed, and kept in no table: runs, predictions and vectors decide
them. The test part takes no part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.errors import StrataError
from core.structure import reduced_formula
from featurestore import SplitKey
from featurestore.query.store import FeatureStore
from heads.domain import VERDICTS, Domain, Place
from heads.folds import Groups
from heads.intervals import Intervals

VectorsOf = Callable[[Sequence[str]], np.ndarray]  # structure_ids → (n, d), NaN where there are none


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """An entry that a model learned from; its formula is reduced to the fewest atoms."""

    entry_id: str
    structure_id: str
    formula: str
    value: float


@dataclass(frozen=True, slots=True)
class Seen:
    """The error that was seen on rows of one verdict which the model was not fitted on; MAE in the unit."""

    rows: int
    mae: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Domain and intervals of one model, and the rows that it learned from.

    rows (n,) of the `domain`, in its order. seen: by verdict. intervals: None where the property is one of
    classes.
    """

    domain: Domain
    intervals: Intervals | None
    rows: tuple[TrainingRow, ...]
    seen: Mapping[str, Seen]


def calibrate(
    store: FeatureStore,
    run: Mapping[str, Any],
    members: Sequence[tuple[str, float]],
    vectors: Mapping[str, VectorsOf],
) -> Calibration:
    """Calibrate a run of the store.

    run: its row of the table runs. members: ids and weights of the runs that it averages, none where it
    averages none. vectors: what looks up vectors of structures, by source model.

    A row's own prediction is that of a model which was not fitted on it: out of fold, or of the validation
    part. Raises `StrataError` where the store has no such prediction of the run.
    """
    split = SplitKey(run["scheme"], int(run["seed"]), int(run["fold"]))
    run_ids = [run["run_id"], *(key for key, _ in members)]
    said = _predictions(store, run_ids)
    # A committee whose members were compared by the validation part keeps predictions of that part as its own
    # out-of-fold ones: its members have none.
    folded = "oof" in said and set(run_ids) <= set(said["oof"])
    known = _known_rows(store, run, split)
    fitted = (known["part"] == "train").to_numpy() | _refitted(store, run_ids)
    groups = Groups(store).of(split.scheme, known["structure_id"].tolist())
    everything = {name: of(known["structure_id"].tolist()) for name, of in vectors.items()}
    has = [np.isfinite(X).all(axis=1) for X in everything.values()]
    there = np.any(has, axis=0) if members else np.all(has, axis=0)
    places = np.flatnonzero(fitted & there)
    if not len(places):
        raise StrataError(
            f"no entry that run {run['run_id']} learned from has vectors in the store; run strata extract, "
            f"then strata fit {run['dataset']} again"
        )
    points = known.iloc[places].reset_index(drop=True)
    domain = Domain.learn(
        {name: X[places] for name, X in everything.items()}, groups[places], points["elements"].tolist()
    )
    rows = tuple(TrainingRow(*row) for row in zip(*(points[name] for name in _COLUMNS), strict=True))
    if run["val_log_loss"] is not None and not pd.isna(run["val_log_loss"]):
        return Calibration(domain, None, rows, {})
    own = next((said[part] for part in ("oof", "val") if run["run_id"] in said.get(part, ())), None)
    if own is None:
        raise StrataError(
            f"the store has no predictions of run {run['run_id']} for rows that it was not fitted on; run "
            f"strata fit {run['dataset']} again"
        )
    predicted = own[run["run_id"]].reindex(known["entry_id"]).to_numpy()
    judged = np.flatnonzero(np.isfinite(predicted) & there & (folded | (known["part"] == "val").to_numpy()))
    predicted = predicted[judged]
    of_members = said.get("oof" if folded else "val", own) if members else own
    spread = spread_of(
        of_members.reindex(known["entry_id"].iloc[judged], columns=run_ids[1:]).to_numpy(),
        predicted,
        np.array([weight for _, weight in members]),
    )
    at = np.full(len(known), -1)
    at[places] = np.arange(len(places))
    own_place = _place(domain, everything, known, judged, at)
    actual = known["value"].to_numpy()[judged]
    transformed = store.facts(run["dataset"]).properties[run["property"]].transform is not None
    log = transformed and run["head"] is not None  # a network of the target's own learns the values
    intervals = Intervals.learn(
        own_place,
        predicted,
        spread,
        actual,
        points["value"].to_numpy(),
        at[judged],
        groups[judged],
        log=log,
    )
    return Calibration(domain, intervals, rows, seen_of(own_place, np.abs(actual - predicted)))


_COLUMNS = ("entry_id", "structure_id", "formula", "value")


def seen_of(place: Place, errors: np.ndarray) -> dict[str, Seen]:
    """Average absolute errors (m,) by verdict."""
    verdicts = place.verdicts
    found = {}
    for verdict in VERDICTS:
        own = errors[verdicts == verdict]
        found[verdict] = Seen(len(own), float(own.mean()) if len(own) else None)
    return found


def spread_of(members: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return how far (m, k) members lie from their weighted mean (m,): its standard deviation, (m,).

    NaN is a member that says nothing of a row. Zeros where there are no members.

    >>> spread_of(np.array([[1.0, 3.0]]), np.array([2.0]), np.array([0.5, 0.5]))
    array([1.])
    """
    if not members.shape[1]:
        return np.zeros(len(predicted))
    there = np.isfinite(members)
    weight = np.where(there, weights, 0)
    apart = np.where(there, members - predicted[:, None], 0)
    return np.sqrt((weight * apart**2).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12))


def _place(
    domain: Domain, vectors: Mapping[str, np.ndarray], known: pd.DataFrame, judged: np.ndarray, at: np.ndarray
) -> Place:
    """Say where the judged rows lie: training rows among those of other groups, others as new ones."""
    others = judged[at[judged] < 0]
    elements = known["elements"].iloc[others].tolist()
    placed = domain.place({name: X[others] for name, X in vectors.items()}, elements)
    rows, fitted = at[judged], at[judged] >= 0
    found = {}
    for name in ("distance", "remoteness", "percentile", "near", "far"):
        own, new = getattr(domain.own, name), getattr(placed, name)
        found[name] = np.empty((len(judged), *own.shape[1:]), own.dtype)
        found[name][fitted], found[name][~fitted] = own[rows[fitted]], new
    unknown = iter(placed.new)
    return Place(**found, new=tuple(() if one else next(unknown) for one in fitted))


def _refitted(store: FeatureStore, run_ids: Sequence[str]) -> bool:
    """Tell whether any of the runs was fitted to train and validation in the end."""
    query = (
        "SELECT count(*) FROM runs WHERE contains(choice, 'refit') "
        "AND run_id IN (SELECT unnest(?::VARCHAR[]))"
    )
    ((found,),) = store.sql(query, [list(run_ids)]).fetchall()
    return bool(found)


def _known_rows(store: FeatureStore, run: Mapping[str, Any], split: SplitKey) -> pd.DataFrame:
    """Return the entries of train and val with their values; those of the test part are not read."""
    query = """
        SELECT t.entry_id, t.structure_id, t.value, p.part, s.numbers AS elements
        FROM targets t
        JOIN splits p USING (dataset, property, entry_id)
        JOIN structures s USING (structure_id)
        WHERE t.dataset = ? AND t.property = ? AND p.scheme = ? AND p.seed = ? AND p.fold = ?
            AND p.part IN ('train', 'val')
        ORDER BY t.entry_id
    """
    found = store.sql(query, [run["dataset"], run["property"], *split]).df()
    return found.assign(formula=found["elements"].map(reduced_formula))


def _predictions(store: FeatureStore, run_ids: list[str]) -> dict[str, pd.DataFrame]:
    """Return entries × runs of the parts oof and val."""
    rows = store.sql(
        "SELECT run_id, entry_id, part, prediction FROM predictions "
        "WHERE run_id IN (SELECT unnest(?::VARCHAR[])) AND part IN ('oof', 'val')",
        [run_ids],
    ).df()
    return {
        part: group.pivot_table(index="entry_id", columns="run_id", values="prediction")
        for part, group in rows.groupby("part")
    }
