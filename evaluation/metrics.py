"""What `dvc metrics` and `dvc plots` read: scores by target, repetitions of a split brought together."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from core.atomic import whole_file, write_whole
from evaluation.classes import ClassScored
from evaluation.protocol import BASE, CHOSEN, COMPOSITION, SCRATCH, Scored
from evaluation.repetitions import most_often, spread
from evaluation.statistics import percent_change
from featurestore.query.feature_sets import full_name

# These get a standard deviation.
_SPREAD = (
    "mae",
    "base_mae",
    "ratio",
    "val_mae",
    "r2",
    "spearman",
    "log_mae",
    "base_log_mae",
    "balanced_accuracy",
    "roc_auc",
    "log_loss",
    "base_balanced_accuracy",
    "base_log_loss",
)
_WITHIN = {"mae": (0.0, math.inf), "balanced_accuracy": (0.0, 1.0)}  # where their intervals are cut
_ADDED_UP = ("n", "rows_left_out")
_INTERVAL = ("mae_low", "mae_high", "balanced_accuracy_low", "balanced_accuracy_high")
# Beside the numbers of metrics.json: the forest's MAE over Base's, and words, which plots/scores.csv has.
_BESIDE = ("composition_ratio", "reads", "unit", "method", "head", "label", "feature_set")
_WORDS = ("unit", "method", "head", "label", "reads")  # columns of plots/scores.csv

AnyScored = TypeVar("AnyScored", Scored, ClassScored)
Found = Mapping[tuple[str, str, str, str], Scored]  # dataset, property, split, role


@dataclass(frozen=True, slots=True)
class Line:
    """What is said of one target: a property under one way of splitting.

    split: its name, or that of the scheme where several seeds or folds are brought together. facts: what
    metrics.json has of it, unrounded, and what `_BESIDE` names.
    """

    dataset: str
    property: str
    scheme: str
    split: str
    facts: Mapping[str, Any]
    scored: Sequence[Scored]  # the chosen runs


def lines_of(scored: Iterable[Scored | ClassScored]) -> list[Line]:
    """Bring what was scored of numbers together: a line for each property and way of splitting it."""
    found = {(s.dataset, s.property, s.split, s.role): s for s in scored if isinstance(s, Scored)}
    lines = []
    for (dataset, prop, scheme), several in _chosen_by_target(found.values()).items():
        facts = [_facts(found, s) for s in several]
        if len(several) == 1:
            lines.append(Line(dataset, prop, scheme, several[0].split, facts[0], several))
        else:
            lines.append(Line(dataset, prop, scheme, scheme, _together(facts, several, "mae"), several))
    return lines


def class_lines_of(scored: Iterable[Scored | ClassScored]) -> list[Line]:
    """Bring what was scored of classes together: a line for each property and way of splitting it."""
    found = {(s.dataset, s.property, s.split, s.role): s for s in scored if isinstance(s, ClassScored)}
    lines = []
    for (dataset, prop, scheme), several in _chosen_by_target(found.values()).items():
        facts = [_class_facts(found, s) for s in several]
        if len(several) == 1:
            lines.append(Line(dataset, prop, scheme, several[0].split, facts[0], ()))
        else:
            whole = _together(facts, several, "balanced_accuracy")
            lines.append(Line(dataset, prop, scheme, scheme, whole, ()))
    return lines


def _chosen_by_target(scored: Iterable[AnyScored]) -> dict[tuple[str, str, str], list[AnyScored]]:
    """Bring the chosen runs of each dataset, property and way of splitting together."""
    targets: dict[tuple[str, str, str], list[AnyScored]] = {}
    for s in scored:
        if s.role == CHOSEN:
            targets.setdefault((s.dataset, s.property, s.scheme), []).append(s)
    return targets


def _class_facts(found: Mapping[Any, ClassScored], s: ClassScored) -> dict[str, Any]:
    """Say of one chosen run of classes how it did, and how Base and the forest by composition did."""
    facts = {name: value for name, value in asdict(s.score).items() if name != "calibration"}
    for role in (BASE, COMPOSITION):
        if other := found.get((s.dataset, s.property, s.split, role)):
            facts |= {
                f"{role}_{name}": getattr(other.score, name) for name in ("balanced_accuracy", "log_loss")
            }
    return facts | {
        "val_log_loss": s.val_log_loss,
        "rows_left_out": s.left_out,
        "seen": bool(s.seen),
        "unit": s.unit,
        "method": s.method,
        "head": s.head,
        "label": s.label,
        "feature_set": s.feature_set,
        "reads": full_name(s.feature_set, s.source_model),
    }


def write_summaries(scored: Sequence[Scored | ClassScored], out: Path) -> None:
    """Write metrics.json and plots/*.csv under `out`.

    metrics.json holds numbers alone: what is undefined is left out, `seen` is 1 or 0, and words (unit, head)
    stand in plots/scores.csv. A target that was split once by a scheme has its scores under the split's name
    (`random-0`). Of several seeds or folds there is one line, under the scheme's name: means, and standard
    deviations as `…_sd`.
    """
    lines = lines_of(scored)
    schemes = {(line.dataset, line.property, line.scheme) for line in lines}
    metrics: dict[str, Any] = {}
    parity, bars = [], []
    for line in lines:
        place = (line.dataset, line.property)
        metrics.setdefault(line.dataset, {}).setdefault(line.property, {})[line.split] = _rounded(line.facts)
        alone = sum(place == other[:2] for other in schemes) == 1
        name = " ".join(place) if alone else f"{' '.join(place)}, {line.scheme}"
        ratios = (significant(line.facts["ratio"]), significant(line.facts["composition_ratio"]))
        words = (line.facts[word] or "" for word in _WORDS)
        bars.append((*place, line.split, name, *ratios, *words))
        parity += [
            (*place, s.split, row.entry_id, *(significant(value, 8) for value in (row.actual, row.predicted)))
            for s in line.scored
            for row in s.predictions.itertuples()
        ]
    for line in class_lines_of(scored):
        metrics.setdefault(line.dataset, {}).setdefault(line.property, {})[line.split] = _rounded(line.facts)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(metrics, indent=2, sort_keys=True, ensure_ascii=False)
    write_whole(out / "metrics.json", text + "\n")
    plots = out / "plots"
    plots.mkdir(exist_ok=True)
    head = ("dataset", "property", "split")
    _write_csv(plots / "parity.csv", (*head, "entry_id", "actual", "predicted"), parity)
    _write_csv(plots / "scores.csv", (*head, "target", "ratio", "composition", *_WORDS), bars)


def _facts(found: Found, s: Scored) -> dict[str, Any]:
    """Say of one chosen run how it did, and how what it is compared with did on the same rows."""
    place = (s.dataset, s.property, s.split)
    base, composition = found.get((*place, BASE)), found.get((*place, COMPOSITION))
    against: dict[str, float | None] = {}
    for beside, change in ((SCRATCH, "change"), (COMPOSITION, "composition_change")):
        if other := found.get((*place, beside)):
            against[f"{beside}_mae"] = other.score.mae
            against[change] = percent_change(other.score.mae, s.score.mae)
    if s.log_mae is not None:
        against |= {"log_mae": s.log_mae, "base_log_mae": base.log_mae if base else None}
    return {
        "mae": s.score.mae,
        "mae_low": s.score.mae_low,
        "mae_high": s.score.mae_high,
        "base_mae": base.score.mae if base else None,
        "ratio": _ratio(s, base),
        **against,
        "val_mae": s.val_mae,
        "mad": s.mad,
        "r2": s.score.r2,
        "spearman": s.score.spearman,
        "n": s.score.n,
        "rows_left_out": s.left_out,
        "seen": bool(s.seen),
        "unit": s.unit,
        "method": s.method,
        "head": s.head,
        "label": s.label,
        "feature_set": s.feature_set,
        "composition_ratio": _ratio(composition, base) if composition else None,
        "reads": full_name(s.feature_set, s.source_model),
    }


def _together(
    facts: Sequence[Mapping[str, Any]], several: Sequence[Scored | ClassScored], measure: str
) -> dict[str, Any]:
    """Bring the repetitions of one target together: means, sums of rows, names by how often they came.

    measure: which number gets an interval.
    """
    n_train = sum(s.n_train for s in several) / len(several)
    n_test = sum(s.score.n for s in several) / len(several)
    whole: dict[str, Any] = {"repetitions": len(facts)}
    for name in dict.fromkeys(key for each in facts for key in each):
        values = [each.get(name) for each in facts]
        known = [value for value in values if value is not None]
        if name in _INTERVAL:
            continue
        if name in _ADDED_UP:
            whole[name] = sum(known)
        elif name == "seen":
            whole[name] = any(known)
        elif any(isinstance(value, str) for value in known):
            whole[name] = most_often(values)
        else:
            of = spread(values, n_train, n_test, _WITHIN.get(name, (-math.inf, math.inf)))
            whole[name] = of.mean if of else None
            if name in _SPREAD:
                whole[f"{name}_sd"] = of.sd if of else None
            if name == measure and of:
                whole |= {f"{name}_low": of.low, f"{name}_high": of.high}
    return whole


def _rounded(facts: Mapping[str, Any]) -> dict[str, float | int]:
    rounded = {
        key: significant(value) if isinstance(value, float) else value
        for key, value in facts.items()
        if key not in _BESIDE
    }
    return {
        key: int(value) if key == "seen" else value for key, value in rounded.items() if value is not None
    }


def _ratio(one: Scored, base: Scored | None) -> float | None:
    if base is None or base.score.mae == 0:
        return None
    return one.score.mae / base.score.mae


def significant(value: float | None, digits: int = 6) -> float | None:
    """Round to `digits` significant digits, so that the last bits of a float do not change a file.

    >>> significant(123.456789), significant(1.23456789e-7), significant(None)
    (123.457, 1.23457e-07, None)
    """
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
