"""The answer for each property: what its predictions are worth, in one line that can be read aloud."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.text import number
from evaluation.protocol import BASE, COMPOSITION, SCRATCH
from evaluation.report.class_targets import ClassTarget
from evaluation.report.held import Held
from evaluation.report.points import Point
from evaluation.report.targets import Run, Target, first_seed
from evaluation.report.tested import Place
from evaluation.verdict import Evidence, Verdict, Word, judge

BESIDE = {  # role → what an error is compared with, as the line says it
    BASE: "Base",
    COMPOSITION: "composition alone",
    SCRATCH: "a network trained from scratch",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One property of numbers, by the first way of splitting; others: the same property by further ways.

    tested: different test entries. held: what became of the intervals, where there are some.
    """

    target: Target
    verdict: Verdict
    tested: int
    held: Held | None
    others: tuple[Target, ...] = ()

    @property
    def run(self) -> Run:
        """The chosen run."""
        return self.target.chosen

    @property
    def key(self) -> tuple[str, str]:
        """Dataset and property."""
        return self.run.dataset, self.run.prop

    @property
    def compared(self) -> list[tuple[str, str]]:
        """Say how the error lies to what it is compared with, such as ("44 % below", "Base")."""
        found = []
        for role, name in BESIDE.items():
            change = self.target.change(role)
            if change is not None:
                found.append((in_words(change), name))
        return found

    @property
    def off(self) -> str:
        """Say the error with its unit, and its spread over repetitions."""
        run = self.run
        said = number(run.mae, 3) + (f" ± {number(run.sd, 2)}" if run.sd is not None else "")
        return said if run.unit == "dimensionless" else f"{said} {run.unit}"

    @property
    def spread(self) -> str:
        """Say over how many splits, and the interval of the error."""
        run, said = self.run, []
        if run.repetitions > 1:
            said.append(f"over {run.repetitions} splits")
        if run.low is not None and run.high is not None:
            said.append(f"95 % interval {number(run.low, 3)} to {number(run.high, 3)}")
        if run.log_mae is not None:
            said.append(f"a factor of {number(10**run.log_mae, 3)} in the mean")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class ClassAnswer:
    """One property of classes by the first way of splitting; others: by further ways."""

    target: ClassTarget
    verdict: Verdict
    others: tuple[ClassTarget, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Dataset and property."""
        return self.target.dataset, self.target.prop


def in_words(change: float) -> str:
    """Say a change of the error as words.

    >>> in_words(-0.444), in_words(0.1), in_words(0.001)
    ('44\\xa0% below', '10\\xa0% above', 'as large as')
    """
    if abs(change) < 0.005:
        return "as large as"
    return f"{abs(change):.0%}".replace("%", "\N{NO-BREAK SPACE}%") + (" below" if change < 0 else " above")


def answers(
    targets: Sequence[Target],
    intervals: Sequence[Held],
    parity: Mapping[Place, Sequence[Point]],
    schemes: Sequence[str],
) -> tuple[Answer, ...]:
    """Bring the targets of each property together, and judge them; schemes: as params.yaml orders them."""
    held = {(one.dataset, one.prop, one.scheme): one for one in intervals}
    by_property: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        by_property.setdefault((target.chosen.dataset, target.chosen.prop), []).append(target)
    found = []
    for several in by_property.values():
        first, *others = sorted(several, key=lambda t: _order(t.chosen.scheme, schemes))
        run = first.chosen
        tested = sum(len(parity.get((run.dataset, run.prop, one.split), ())) for one in first_seed(first))
        tested = tested or run.parts[2]
        own = held.get((run.dataset, run.prop, run.scheme))
        evidence = Evidence(
            error=run.mae,
            base=first.base.mae if first.base else None,
            over_base=bar.high if (bar := first.bar("")) else None,
            composition=first.composition.mae if first.composition else None,
            scratch=first.scratch.mae if first.scratch else None,
            tested=tested,
            coverage=own.coverage if own else None,
            level=own.level if own else None,
            seen=run.seen,
        )
        found.append(Answer(first, judge(evidence), tested, own, tuple(others)))
    return tuple(found)


def class_answers(targets: Sequence[ClassTarget], schemes: Sequence[str]) -> tuple[ClassAnswer, ...]:
    """Judge properties of classes: the error is what the balanced accuracy lacks of 1."""
    by_property: dict[tuple[str, str], list[ClassTarget]] = {}
    for target in targets:
        by_property.setdefault((target.dataset, target.prop), []).append(target)
    found = []
    for several in by_property.values():
        first, *others = sorted(several, key=lambda t: _order(t.scheme, schemes))
        accuracy, base, forest = (
            of["balanced_accuracy"] for of in (first.figures, first.base, first.composition)
        )
        evidence = Evidence(
            error=1 - accuracy.mean if accuracy else None,
            base=1 - base.mean if base else None,
            over_base=(1 - first.low) / (1 - base.mean) if base and first.low is not None else None,
            composition=1 - forest.mean if forest else None,
            tested=first.n,
            seen=first.seen,
        )
        found.append(ClassAnswer(first, judge(evidence), tuple(others)))
    return tuple(found)


def _order(scheme: str, schemes: Sequence[str]) -> tuple[int, str]:
    return (schemes.index(scheme) if scheme in schemes else len(schemes), scheme)


@dataclass(frozen=True, slots=True)
class Summary:
    """What the page's first sentences count: properties, however often they were split.

    seen: those whose values a source model of the chosen run was trained on, which are not rated; seen_by:
    those source models. rated: those with a Base; better: whose test MAE is below it; surely: whose whole 95
    % interval is. median: of test MAE / Base MAE. verdicts: how many have each.
    """

    properties: int
    seen: int
    seen_by: str
    rated: int
    better: int
    surely: int
    median: float | None
    verdicts: Mapping[Word, int]


def summarise(found: Sequence[Answer], of_classes: Sequence[ClassAnswer] = ()) -> Summary:
    """Count how often, and by how much, the chosen runs beat Base."""
    seen = [one for one in found if one.run.seen]
    targets = [one.target for one in found if not one.run.seen]
    rated = [(target.ratio, target.bar("")) for target in targets if target.ratio is not None]
    verdicts = [one.verdict for one in found] + [one.verdict for one in of_classes]
    counts = Counter(verdict.word for verdict in verdicts)
    return Summary(
        properties=len(found) + len(of_classes),
        seen=len(seen),
        seen_by=", ".join(sorted({name for one in seen for name in one.run.seen})),
        rated=len(rated),
        better=sum(ratio < 1 for ratio, _ in rated),
        surely=sum(bar is not None and bar.high is not None and bar.high < 1 for _, bar in rated),
        median=float(np.median([ratio for ratio, _ in rated])) if rated else None,
        verdicts={word: counts[word] for word in Word},
    )
