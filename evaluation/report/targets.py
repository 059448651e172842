"""Runs and targets of the page: one line per target, which brings the repetitions of a split together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluation.protocol import BASE, CHOSEN, COMPOSITION, SCRATCH
from evaluation.repetitions import Spread, most_often, spread
from evaluation.report.points import Bar


@dataclass(frozen=True, slots=True)
class Run:
    """One fitted run; `role` and the test columns are empty unless `evaluate` looked at it.

    Or several of one target and role, brought together: numbers are means over `repetitions`, `sd` the
    standard deviation of the test MAE, `low` and `high` the interval of its mean.
    """

    run_id: str
    dataset: str
    prop: str
    unit: str
    split: str
    head: str
    feature_set: str
    label: str
    parts: tuple[int, int, int]
    train_mae: float | None
    val_mae: float | None
    cv_mae: float | None  # of folds inside train + validation
    seconds: float | None
    seen: tuple[str, ...] = ()  # source models it reads that were trained on the target's values
    role: str = ""
    mae: float | None = None
    low: float | None = None
    high: float | None = None
    log_mae: float | None = None  # of log10, where the property is learned as its logarithm
    r2: float | None = None
    spearman: float | None = None
    scheme: str = ""
    seed: int = 0
    sd: float | None = None
    repetitions: int = 1
    sources: tuple[str, ...] = ()  # source models that it reads
    competes: bool = True  # False: Base, composition, and what averages others

    @property
    def name(self) -> str:
        """Return the property's name with words apart."""
        return self.prop.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Target:
    """One dataset's property under one way of splitting: the chosen run beside what it is compared with.

    repeated: the chosen runs of its seeds and folds, each beside the others of its split by role; empty where
    there is one. paired: of one split the 95 % interval of `ratio`, by resampling the entries of both errors.
    """

    chosen: Run
    base: Run | None
    description: str
    composition: Run | None = None
    scratch: Run | None = None
    repeated: tuple[tuple[Run, Mapping[str, Run]], ...] = ()
    paired: tuple[float | None, float | None] = (None, None)

    @property
    def ratio(self) -> float | None:
        """Return test MAE of the chosen run / Base's; None without a Base or where Base is exact.

        Of several repetitions the mean of theirs.
        """
        return self.over(BASE)

    def over(self, role: str) -> float | None:
        """Return test MAE of the chosen run / that of the run in `role`, of repetitions the mean."""
        found = self._ratios(role)
        return found.mean if found else self._divided(self.chosen.mae, role)

    def change(self, role: str) -> float | None:
        """Return how much the error lies above that of the run in `role`, as a share; negative is better."""
        ratio = self.over(role)
        return None if ratio is None else ratio - 1

    def bar(self, name: str) -> Bar | None:
        """Return the bar of this target under `name`; None without a ratio."""
        if self.ratio is None:
            return None
        note = f"{self.chosen.head} {self.chosen.label}".strip()
        if self.repeated:
            note += f", {self.chosen.repetitions} repetitions"
        if self.chosen.seen:
            note += f", label seen by {', '.join(self.chosen.seen)}"
        ends = self.paired
        if found := self._ratios(BASE):
            ends = (None if found.low is None else max(found.low, 0.0), found.high)
        return Bar(name, self.ratio, *ends, note)

    def beside(self, role: str) -> Run | None:
        """Return what was compared: Base, composition or scratch."""
        found: Run | None = getattr(self, role)
        return found

    def _divided(self, value: float | None, role: str) -> float | None:
        other = self.beside(role)
        return None if value is None or other is None or not other.mae else value / other.mae

    def _ratios(self, role: str) -> Spread | None:
        if self.beside(role) is None:
            return None
        ratios = [
            run.mae / mae
            for run, others in self.repeated
            if run.mae is not None and role in others and (mae := others[role].mae)
        ]
        return spread(ratios, *_sizes([run for run, _ in self.repeated])) if ratios else None


def targets_of(runs: Iterable[Run], descriptions: Mapping[str, str]) -> tuple[Target, ...]:
    """Bring the scored runs of one dataset together, a target for each property and scheme.

    descriptions: property → what it means.
    """
    places: dict[tuple[str, str], dict[str, list[Run]]] = {}
    for run in runs:
        if run.role in (CHOSEN, BASE, COMPOSITION, SCRATCH):
            places.setdefault((run.prop, run.scheme), {}).setdefault(run.role, []).append(run)
    found = []
    for (prop, _), roles in places.items():
        if CHOSEN not in roles:
            continue
        several = roles[CHOSEN]
        beside = {role: own for role, own in roles.items() if role != CHOSEN}
        whole = {role: together(own) for role, own in beside.items()}
        repeated = [
            (run, {role: other for role, own in beside.items() for other in own if other.split == run.split})
            for run in several
        ]
        found.append(
            Target(
                together(several),
                whole.get(BASE),
                descriptions.get(prop, ""),
                whole.get(COMPOSITION),
                whole.get(SCRATCH),
                tuple(repeated) if len(several) > 1 else (),
            )
        )
    return tuple(found)


def together(several: Sequence[Run]) -> Run:
    """Bring the repetitions of one target and role together; one alone stays as it is."""
    first = several[0]
    if len(several) == 1:
        return first
    sizes = _sizes(several)
    of = {
        name: spread([getattr(run, name) for run in several], *sizes)
        for name in ("train_mae", "val_mae", "seconds", "mae", "log_mae", "r2", "spearman")
    }
    means: dict[str, Any] = {name: found.mean if found else None for name, found in of.items()}
    mae = of["mae"]
    counts = [round(sum(run.parts[i] for run in several) / len(several)) for i in range(3)]
    return replace(
        first,
        split=first.scheme,
        head=most_often(run.head for run in several) or "",
        feature_set=most_often(run.feature_set for run in several) or "",
        label=most_often(run.label for run in several) or "",
        seen=tuple(sorted({name for run in several for name in run.seen})),
        parts=(counts[0], counts[1], counts[2]),
        low=None if mae is None or mae.low is None else max(mae.low, 0.0),
        high=mae.high if mae else None,
        sd=mae.sd if mae else None,
        repetitions=len(several),
        **means,
    )


def first_seed(target: Target) -> list[Run]:
    """Return the chosen runs of the lowest seed, in which every entry is tested once at most."""
    several = [run for run, _ in target.repeated] or [target.chosen]
    lowest = min(run.seed for run in several)
    return [run for run in several if run.seed == lowest]


def _sizes(several: Sequence[Run]) -> tuple[float, float]:
    """Return the mean numbers of training and test rows."""
    n = max(len(several), 1)
    return sum(run.parts[0] for run in several) / n, sum(run.parts[2] for run in several) / n
