"""Predictions on a screen: a table of those that fit, and one paragraph about the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from core.text import number
from featurestore.query.output import show
from heads.domain import OUTSIDE_FROM
from zoo.model import Card, Model

if TYPE_CHECKING:
    import pandas as pd

DOMAIN = (
    "domain: the share of training rows, in %, that are less remote from the others than this structure; "
    f"outside from {OUTSIDE_FROM:.0f} on, or with a new element, where an interval promises nothing. error "
    "there: mean absolute error of such rows, which the model was not fitted on"
)
SHOWN = 40  # structures; more are written with -o


class Shown:
    """Collects the rows that fit on a screen, and counts the others."""

    def __init__(self, model: Model, level: float) -> None:
        self._model, self._asked = model, level
        self._level = level
        self._rows: list[tuple[str, ...]] = []
        self._answered = 0
        self._complaints: list[str] = []
        self.rejects = 0

    def add(self, frame: "pd.DataFrame") -> None:
        """Take the rows of a frame."""
        for row in frame.to_dict("records"):
            if row["error"]:
                self.rejects += 1
                if len(self._complaints) < SHOWN:
                    where = row["file"] or row["structure"]
                    text = str(row["error"])
                    self._complaints.append(text if where and where in text else f"{where}: {text}")
                continue
            self._answered += 1
            self._level = float(row.get("level", self._level))
            if len(self._rows) < SHOWN:
                self._rows.append(self._cells(row))

    def print(self, output: Path | None) -> None:
        """Print the table, what the model is, and what was rejected."""
        card = self._model.card
        if self._rows:
            value = ("class", "probability") if card.classes else (f"prediction ({card.unit})", self._name())
            headers = (
                "file",
                "structure",
                "formula",
                *value,
                "domain",
                "error there",
                "nearest",
                "in training",
            )
            show(f"{card.property} after {card.dataset}", headers, self._rows)
        if self._answered > len(self._rows):
            typer.echo(
                f"{len(self._rows)} of {self._answered:,} structures are shown; all of them with -o FILE"
            )
        if self._rows:
            for line in about(self._model):
                typer.echo(line)
            if not card.classes and self._level < self._asked - 1e-9:
                rows = (
                    len(self._model.calibration.intervals.residuals)
                    if self._model.calibration.intervals
                    else 0
                )
                reached = f"these hold {_percent(self._level)}" if self._level > 0 else "there are none"
                typer.echo(f"{rows} rows are too few for intervals of {_percent(self._asked)}: {reached}")
        if output is not None:
            typer.echo(f"{output}: {self._answered + self.rejects:,} rows")
        for line in self._complaints:
            typer.echo(line, err=True)
        if self.rejects:
            more = self.rejects - len(self._complaints)
            typer.echo(f"{self.rejects:,} rejected" + (f", {more:,} more of them" if more else ""), err=True)

    def _name(self) -> str:
        return f"{_percent(self._level if self._level > 0 else self._asked)} interval"

    def _cells(self, row: dict[str, Any]) -> tuple[str, ...]:
        card = self._model.card
        if card.classes:
            value = (str(row["value"]), number(row["probability"], 3))
        else:
            ends = f"{number(row['low'])} to {number(row['high'])}" if row["level"] > 0 else "none"
            value = (number(row["value"]), ends)
        domain = f"{row['domain']} ({row['percentile']:.0f})"
        if row["new_elements"]:
            domain = f"{row['domain']}: no {row['new_elements']} in training"
        seen = "" if card.classes else number(row["error_seen"], 3)
        near = f"{row['near_1']} {row['near_1_formula']}".strip()
        if near and not card.classes:
            near += f" {number(row['near_1_value'], 3)}"
        return (row["file"], row["structure"], row["formula"], *value, domain, seen, near, row["in_training"])


def _percent(level: float) -> str:
    """Say a level so that it is not rounded up to all: 99.9%, where 100% would be read."""
    return f"{100 * level:.3g}%" if level < 0.999 else f"{100 * level:g}%"


def about(model: Model) -> list[str]:
    """Say what a model is and how well it did, in sentences for the screen."""
    card = model.card
    label = f" ({card.label})" if card.label else ""
    reads = f"on {card.reads}" if card.reads else "from a network of its own"
    base = f"; Base {number(card.base_test_mae)}" if card.base_test_mae is not None else ""
    what = f"{card.head}{label} {reads}, {card.rows:,} training rows, model {card.sha256[:12]}"
    lines = [f"{what}; {_error(card)}{base}", DOMAIN]
    return [*lines, f"{card.dataset}: {card.caution}"] if card.caution else lines


def _error(card: Card) -> str:
    several = card.repetitions > 1
    where = f"the test parts of {card.repetitions} repetitions" if several else "its test part"
    if card.balanced_accuracy is not None:
        return f"balanced accuracy on {where} {number(card.balanced_accuracy, 3)}"
    if several:
        return (
            f"fitted on split {card.split}; over {where} MAE {number(card.test_mae)} ± "
            f"{number(card.test_mae_sd, 2)} {card.unit}"
        )
    return f"MAE on {where} {number(card.test_mae)} {card.unit}"
