"""How many more values would make an error smaller: read off a learning curve."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.text import number
from evaluation.experiments.frames import records
from evaluation.learning import Rung
from evaluation.report.drawings import Chart, Mark, Series
from evaluation.report.experiment_blocks import Block

LESS = 0.2  # of the error
TOO_MANY = 10.0  # times as many values: nobody would say that they help
FEWEST = 3  # points of a curve
EXPERIMENT = "learning_curve"


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Numbers of training values and the error there, in `unit`, smallest number first.

    is_stand_in: by a kernel ridge inside train and validation (evaluation/learning.py), else by the
    experiment. values: how many the chosen run learned from.
    """

    points: tuple[tuple[int, float], ...]
    unit: str
    values: int
    is_stand_in: bool

    @property
    def steepness(self) -> float:
        """Return b of error ∝ rows^−b, by least squares of the logarithms."""
        return steepness(self.points)

    @property
    def factor(self) -> float | None:
        """Return how many times as many values would take `LESS` off the error; None where none would."""
        b = self.steepness
        if b <= 0:
            return None
        factor = (1 - LESS) ** (-1 / b)
        return factor if factor <= TOO_MANY else None

    @property
    def answer(self) -> str:
        """Say in a sentence how many more values 20 % less error would take."""
        less = f"{LESS:.0%}".replace("%", "\N{NO-BREAK SPACE}%")
        factor = self.factor
        if factor is None:
            return (
                f"{less} less error would take more than {TOO_MANY:.0f} times as many values: more of them "
                "will hardly help."
            )
        more = self.values * (factor - 1)
        rounded = round(more, -max(math.floor(math.log10(more)) - 1, 0)) if more >= 1 else 1
        return (
            f"{less} less error would take about {int(rounded):,} more values, {number(factor, 2)} times as "
            "many as now."
        )

    @property
    def chart(self) -> Chart:
        """Draw it, both axes logarithmic."""
        unit = self.unit if self.unit != "dimensionless" else "no unit"
        name = (
            "kernel ridge, held back from train and validation" if self.is_stand_in else "transfer, test part"
        )
        marks = tuple(
            Mark(float(n), mae, f"{n:,} values: {number(mae, 3)} {self.unit}") for n, mae in self.points
        )
        return Chart(
            "Learning curve", "values learned from", f"error ({unit})", (Series(name, marks),), "log", "log"
        )


def steepness(points: Sequence[tuple[int, float]]) -> float:
    """Return b of error ∝ rows^−b; 0 of what has no slope.

    >>> round(steepness([(10, 4.0), (40, 2.0), (160, 1.0)]), 6)
    0.5
    """
    pairs = [(math.log(n), math.log(mae)) for n, mae in points if n > 0 and mae > 0]
    if len({x for x, _ in pairs}) < 2:
        return 0.0
    mean_x, mean_y = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    across = sum((x - mean_x) ** 2 for x, _ in pairs)
    return -sum((x - mean_x) * (y - mean_y) for x, y in pairs) / across


Key = tuple[str, str]


def curves(
    rungs: Sequence[Rung], blocks: Sequence[Block], chosen: Mapping[Key, tuple[Sequence[str], str, int]]
) -> dict[Key, LearningCurve]:
    """Return the curve of every property: of the experiment where it was run, else the stand-in.

    chosen: (dataset, property) → its splits, its unit and how many values its model learned from. Of several
    splits the errors are averaged.
    """
    measured = _of_experiment(blocks)
    by_split: dict[tuple[str, str, str], list[Rung]] = {}
    for rung in rungs:
        by_split.setdefault((rung.dataset, rung.property, rung.split), []).append(rung)
    found = {}
    for key, (splits, unit, values) in chosen.items():
        if len(points := measured.get(key, ())) >= FEWEST:
            found[key] = LearningCurve(points, unit, values, is_stand_in=False)
            continue
        several = [sorted(by_split[(*key, s)], key=lambda r: r.rows) for s in splits if (*key, s) in by_split]
        length = min(map(len, several), default=0)
        if length >= FEWEST:
            steps = [[own[i - length] for own in several] for i in range(length)]
            points = tuple(
                (round(sum(r.rows for r in step) / len(step)), sum(r.mae for r in step) / len(step))
                for step in steps
            )
            found[key] = LearningCurve(points, unit, values, is_stand_in=True)
    return found


def _of_experiment(blocks: Sequence[Block]) -> dict[Key, tuple[tuple[int, float], ...]]:
    table: Any = next((b.result.tables["table"] for b in blocks if b.experiment.name == EXPERIMENT), None)
    if table is None or "transfer" not in table:
        return {}
    first = table[table["scheme"] == table["scheme"].iloc[0]] if len(table) else table
    found: dict[Key, list[tuple[int, float]]] = {}
    for row in records(first[first["transfer"].notna()].sort_values("n_train")):
        found.setdefault((row["dataset"], row["property"]), []).append((int(row["n_train"]), row["transfer"]))
    return {key: tuple(points) for key, points in found.items()}
