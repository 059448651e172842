"""What competed for a property, and which layers of which network it wants, by the errors of the choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evaluation.repetitions import most_often
from evaluation.report.targets import Run

Key = tuple[str, str]  # dataset, property
Errors = Mapping[str, tuple[float, str]]  # feature set → its error, and the head that had it


@dataclass(frozen=True, slots=True)
class Tried:
    """A head on a feature set, its repetitions brought together; errors are means in the property's unit.

    error: of the folds where runs have it (`is_folded`), else of the validation part. mae: on the test part,
    where it was scored, in `role`.
    """

    scheme: str
    head: str
    label: str
    feature_set: str
    role: str
    error: float | None
    is_folded: bool
    mae: float | None
    seconds: float | None
    repetitions: int


def tried(runs: Sequence[Run]) -> dict[Key, tuple[Tried, ...]]:
    """Return for every property what was fitted, the least error first; seeds and folds count once."""
    several: dict[tuple[str, str, str, str, str, str], list[Run]] = {}
    for run in runs:
        key = (run.dataset, run.prop, run.scheme, run.head, run.label, run.feature_set)
        several.setdefault(key, []).append(run)
    found: dict[Key, list[Tried]] = {}
    for (dataset, prop, scheme, head, label, feature_set), own in several.items():
        folded = any(run.cv_mae is not None for run in own)
        facts = [[run.cv_mae if folded else run.val_mae for run in own]]
        facts += [[run.mae for run in own], [run.seconds for run in own]]
        error, mae, seconds = (_mean(numbers) for numbers in facts)
        role = most_often(run.role for run in own) or ""
        one = Tried(scheme, head, label, feature_set, role, error, folded, mae, seconds, len(own))
        found.setdefault((dataset, prop), []).append(one)
    for rows in found.values():
        rows.sort(
            key=lambda one: (one.scheme, one.error is None, one.error or 0.0, one.head, one.feature_set)
        )
    return {key: tuple(rows) for key, rows in found.items()}


def _mean(numbers: Sequence[float | None]) -> float | None:
    known = [one for one in numbers if one is not None]
    return fmean(known) if known else None


def searched(runs: Sequence[Run]) -> dict[Key, Errors]:
    """Return, for every property whose runs read several feature sets, the best head's error on each.

    The error is that of the folds where runs have it, else that of the validation part; of several seeds or
    folds of a split the mean. Nothing of the test part is read.
    """
    found: dict[Key, dict[str, dict[str, list[float]]]] = {}
    folded = {(run.dataset, run.prop) for run in runs if run.cv_mae is not None}
    for run in runs:
        error = run.cv_mae if (run.dataset, run.prop) in folded else run.val_mae
        if run.competes and run.feature_set and error is not None:
            target = found.setdefault((run.dataset, run.prop), {})
            target.setdefault(run.feature_set, {}).setdefault(f"{run.head} {run.label}", []).append(error)
    best = {
        target: dict(
            sorted(
                (
                    (name, min((fmean(errors), head.strip()) for head, errors in heads.items()))
                    for name, heads in sets.items()
                ),
                key=lambda pair: pair[1],
            )
        )
        for target, sets in found.items()
    }
    return {target: sets for target, sets in best.items() if len(sets) > 1}
