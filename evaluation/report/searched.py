"""Which layers of which network a property wants: the errors that the search over feature sets has found."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from evaluation.report.targets import Run

Errors = Mapping[str, tuple[float, str]]  # feature set → its error, and the head that had it


def searched(runs: Sequence[Run]) -> dict[str, Errors]:
    """Return, for every property whose runs read several feature sets, the best head's error on each.

    The error is that of the folds where runs have it, else that of the validation part; of several seeds or
    folds of a split the mean. Nothing of the test part is read.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    folded = {(run.dataset, run.prop) for run in runs if run.cv_mae is not None}
    for run in runs:
        error = run.cv_mae if (run.dataset, run.prop) in folded else run.val_mae
        if run.competes and run.feature_set and error is not None:
            target = found.setdefault(f"{run.dataset}: {run.name}", {})
            target.setdefault(run.feature_set, {}).setdefault(f"{run.head} {run.label}", []).append(error)
    best = {
        target: {
            name: min((fmean(errors), head.strip()) for head, errors in heads.items())
            for name, heads in sets.items()
        }
        for target, sets in found.items()
    }
    return {target: sets for target, sets in best.items() if len(sets) > 1}
