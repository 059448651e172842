"""The protocol for properties of classes: chosen by validation log loss, then one look at the test part.

As protocol.py has it for numbers. A target is the label of an entry, a prediction its probabilities.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics

from core.errors import StrataError
from core.params import Evaluate
from evaluation.protocol import choose, split_label
from evaluation.rows import TARGET_KEY
from evaluation.seen import SeenLabels
from featurestore import audit
from featurestore.query.store import FeatureStore

BINS = 10  # of the reliability table


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How well probabilities meet labels; the ends of the interval are of the balanced accuracy.

    balanced_accuracy: mean over the classes of the share of their entries that are recognised. roc_auc: of
    two classes that of the second; of more the mean over pairs of them; None where the test part lacks one.
    calibration: [mean probability of the predicted class, share that was right, rows], a bin of equal width
    each; calibration_error: the mean difference of the two, weighed by rows.
    """

    balanced_accuracy: float
    balanced_accuracy_low: float | None
    balanced_accuracy_high: float | None
    accuracy: float
    roc_auc: float | None
    log_loss: float
    calibration_error: float
    calibration: str  # JSON
    n: int


@dataclass(frozen=True, slots=True)
class ClassScored:
    """One run that looked at the test part of a property of classes, with its score there."""

    run_id: str
    dataset: str
    property: str
    unit: str
    scheme: str
    split: str
    role: str
    method: str
    head: str
    feature_set: str | None
    source_model: str | None
    label: str | None
    n_train: int
    val_log_loss: float
    score: ClassScore
    left_out: int
    seen: tuple[str, ...]


def score_classes(codes: np.ndarray, chances: np.ndarray, resamples: int = 1000, seed: int = 0) -> ClassScore:
    """Score (n, k) probabilities against (n,) codes of the right classes.

    >>> chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    >>> found = score_classes(np.array([0, 0, 1]), chances, resamples=0)
    >>> found.balanced_accuracy, round(found.roc_auc, 3), round(found.log_loss, 3)
    (0.75, 0.5, 0.69)
    """
    if chances.ndim != 2 or codes.shape != chances.shape[:1] or not codes.size:
        raise StrataError(f"cannot score {chances.shape} probabilities against {codes.shape} labels")
    if not np.isfinite(chances).all():
        raise StrataError("a probability is no finite number")
    said = chances.argmax(axis=1)
    low = high = None
    if resamples and len(codes) > 1:
        interval = stats.bootstrap(
            (codes, said),
            _balanced,
            paired=True,
            vectorized=False,
            n_resamples=resamples,
            method="percentile",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    table = reliability(codes == said, chances.max(axis=1))
    error = sum(rows * abs(mean - right) for mean, right, rows in table) / len(codes)
    return ClassScore(
        _balanced(codes, said),
        low,
        high,
        float((codes == said).mean()),
        _roc_auc(codes, chances),
        float(metrics.log_loss(codes, chances, labels=range(chances.shape[1]))),
        error,
        json.dumps(table),
        len(codes),
    )


def reliability(right: np.ndarray, chances: np.ndarray) -> list[tuple[float, float, int]]:
    """Return for each bin of (n,) probabilities their mean, the share that was right, and its rows.

    >>> reliability(np.array([True, False, True]), np.array([0.92, 0.96, 0.55]))
    [(0.55, 1.0, 1), (0.94, 0.5, 2)]
    """
    bins = np.minimum((chances * BINS).astype(int), BINS - 1)
    found = []
    for b in np.unique(bins):
        here = bins == b
        mean, share = (round(float(values[here].mean()), 6) for values in (chances, right))
        found.append((mean, share, int(here.sum())))
    return found


def _balanced(codes: np.ndarray, said: np.ndarray) -> float:
    return float(np.mean([np.mean(said[codes == code] == code) for code in np.unique(codes)]))


def _roc_auc(codes: np.ndarray, chances: np.ndarray) -> float | None:
    count = chances.shape[1]
    if len(np.unique(codes)) < count:
        return None
    if count == 2:
        return float(metrics.roc_auc_score(codes, chances[:, 1]))
    return float(metrics.roc_auc_score(codes, chances, multi_class="ovo", labels=range(count)))


def look_at_classes(
    store: FeatureStore, runs: pd.DataFrame, settings: Evaluate, stage: str
) -> list[ClassScored]:
    """Choose among the runs of classes in `runs`, and score what was chosen on the test part.

    Both on the entries that all runs of a target and split predict. Runs of numbers are not looked at.
    Raises `StrataError` where runs share no entry, or targets have changed since the fit.
    """
    seen, found = SeenLabels(), []
    for _, group in runs[runs["val_log_loss"].notna()].groupby(TARGET_KEY, sort=True):
        place = group.iloc[0]
        classes = store.facts(place["dataset"]).properties[place["property"]].classes
        chances = {run_id: _chances(store, run_id, ("val", "test"), classes) for run_id in group["run_id"]}
        entries = {part: _shared(chances.values(), part, place) for part in ("val", "test")}
        codes = _codes(store, place, sorted(entries["val"]))
        losses = {
            run_id: metrics.log_loss(
                codes, table.loc["val"].loc[sorted(entries["val"])].to_numpy(), labels=range(len(classes))
            )
            for run_id, table in chances.items()
        }
        compared = group.assign(val_log_loss=group["run_id"].map(losses))
        picked = choose(compared, by="val_log_loss").to_dict("records")
        test = sorted(entries["test"])
        marks = {"among": "", "stage": stage, "n": len(test)}
        audit.record(store, [run | marks for run in picked])
        right = _codes(store, place, test)
        for run in picked:
            table = chances[run["run_id"]].loc["test"]
            score = score_classes(right, table.loc[test].to_numpy(), settings.bootstrap, settings.seed)
            left_out = max(len(other.loc["test"]) for other in chances.values()) - len(test)
            found.append(_scored(run, score, left_out, seen))
    return found


def _scored(run: Mapping[str, Any], score: ClassScore, left_out: int, seen: SeenLabels) -> ClassScored:
    def text(name: str) -> str | None:
        return run[name] if isinstance(run[name], str) and run[name] else None

    return ClassScored(
        **{name: run[name] for name in ("run_id", "dataset", "property", "unit", "scheme", "role", "method")},
        split=split_label(run["scheme"], int(run["seed"]), int(run["fold"])),
        head=text("head") or run["method"],
        feature_set=text("feature_set"),
        source_model=text("source_model"),
        label=text("label"),
        n_train=int(run["n_train"]),
        val_log_loss=float(run["val_log_loss"]),
        score=score,
        left_out=left_out,
        seen=seen.by(text("source_model"), run["dataset"], run["property"]),
    )


def _chances(store: FeatureStore, run_id: str, parts: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
    """Return the probabilities of a run: (part, entry_id) × classes."""
    rows = store.sql(
        "SELECT part, entry_id, label, prediction FROM predictions "
        "WHERE run_id = ? AND part IN (SELECT unnest(?::VARCHAR[]))",
        [run_id, list(parts)],
    ).df()
    table = rows.pivot(index=["part", "entry_id"], columns="label", values="prediction")
    if set(table.columns) != set(classes):
        raise StrataError(f"run {run_id} has not the classes of its property; run strata fit again")
    return table[list(classes)]


def _shared(tables: Any, part: str, place: Mapping[str, Any]) -> set[str]:
    found: set[str] = set.intersection(*(set(table.loc[part].index) for table in tables))
    if not found:
        raise StrataError(
            f"{place['dataset']}/{place['property']}: no {part} entry is predicted by all methods; fit them "
            "apart"
        )
    return found


def _codes(store: FeatureStore, place: Mapping[str, Any], entries: Sequence[str]) -> np.ndarray:
    """Read the codes (n,) of entries, in their order."""
    rows = store.sql(
        "SELECT entry_id, value FROM targets WHERE dataset = ? AND property = ? "
        "AND entry_id IN (SELECT unnest(?::VARCHAR[]))",
        [place["dataset"], place["property"], list(entries)],
    ).df()
    known = rows.set_index("entry_id")["value"]
    if len(known) != len(entries):
        raise StrataError(
            f"{place['dataset']}/{place['property']}: {len(entries)} entries were predicted, and "
            f"{len(known)} of them have a target; the targets have changed since: run strata fit "
            f"{place['dataset']} again"
        )
    return known.loc[list(entries)].to_numpy().astype(int)
