"""What the page shows of experiments: a block each, with its tables as cells, and its figures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from core.text import number
from evaluation.experiments import experiments
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.figures import Figure
from evaluation.experiments.frames import records
from evaluation.experiments.results import FACTS, Result, read

# of columns that are called otherwise than their names with words apart; an experiment has titles of its own
_TITLES = {
    "group": "Materials",
    "scheme": "Split",
    "n_train": "Training rows",
    "base": "Base MAE",
    "composition": "Composition MAE",
    "scratch": "Scratch MAE",
    "transfer": "Transfer MAE",
    "change": "% change (negative is better)",
    "base_change": "% against Base (negative is better)",
    "composition_change": "% against composition (negative is better)",
    "method": "Transfer by",
    "seen": "Label seen by",
    "winner": "Best",
    "source": "Source model",
    "mad_mae": "MAD / MAE",
    "r2": "R²",
    "spearman": "Spearman ρ",
    "t": "t",
    "val_mae": "Validation MAE",
}
_KNOWN_ELSEWHERE = ("dataset", "property", "group")  # where a table is of one target


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell says, and the number it is sorted by (None: by its text, or it is empty)."""

    text: str
    value: float | None = None
    is_number: bool = False
    is_worse: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table that sorts and filters."""

    id: str
    caption: str
    columns: tuple[tuple[str, bool], ...]  # title, is it numbers
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One experiment on the page."""

    experiment: Experiment
    result: Result
    grids: tuple[Grid, ...]
    figures: tuple[Figure, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Say what came out."""
        return tuple(self.experiment.words(self.result))

    @property
    def summary(self) -> str:
        """Say on what it ran."""
        settings = self.result.settings
        said = []
        if settings.get("splits"):
            said.append(f"splits {', '.join(settings['splits'])}")
        if settings.get("seeds"):
            said.append(f"seeds {', '.join(map(str, settings['seeds']))}")
        if settings.get("heads"):
            said.append(f"heads {', '.join(settings['heads'])}")
        if settings.get("trained") or self.experiment.is_training:
            training = settings["training"]
            label = f" ({training['label']})" if training["label"] else ""
            said.append(f"networks of {training['epochs']} epochs at most{label}")
        models = self.result.provenance.get("source_models")
        if models:
            said.append(f"source model {', '.join(models)}")
        return "; ".join(said)


def blocks(results: Path) -> tuple[Block, ...]:
    """Read the experiments whose results are there, in the order of the registry."""
    if not results.is_dir():
        return ()
    return tuple(
        _block(experiment, read(name, results))
        for name, experiment in experiments().items()
        if (results / name / FACTS).exists()
    )


def _block(experiment: Experiment, result: Result) -> Block:
    tables = {**result.tables, **experiment.beside(result)}
    grids = [
        grid(f"t-{experiment.name}-{name}", tables[name], shown)
        for name, shown in experiment.tables.items()
        if name in tables and (name in result.tables or len(tables[name]))
    ]
    return Block(experiment, result, tuple(grids), tuple(experiment.figures(result)))


def grid(name: str, table: pd.DataFrame, shown: Shown) -> Grid:
    """Turn a table of results into cells; a column that is missing or wholly empty is left out."""
    columns = [name for name in shown.columns if name in table and table[name].notna().any()]
    numeric = {name: pd.api.types.is_numeric_dtype(table[name]) for name in columns}
    ends = {name: shown.intervals.get(name, (f"{name}_low", f"{name}_high")) for name in columns}
    return Grid(
        name,
        shown.caption,
        tuple((_title(name, shown), numeric[name]) for name in columns),
        tuple(
            tuple(_cell(row, name, numeric[name], ends[name]) for name in columns) for row in records(table)
        ),
    )


def _title(column: str, shown: Shown) -> str:
    plain = column.replace("_", " ")
    return shown.titles.get(column) or _TITLES.get(column) or plain[:1].upper() + plain[1:]


@dataclass(frozen=True, slots=True)
class Drill:
    """Everything that experiments say of one target."""

    dataset: str
    property: str
    headline: str
    grids: tuple[Grid, ...]
    figures: tuple[str, ...]  # their names: they stand with their experiment

    @staticmethod
    def anchor(dataset: str, prop: str) -> str:
        """Return the id of a target's place on the page."""
        return f"target-{dataset}-{prop}"


def drills(found: Sequence[Block]) -> tuple[Drill, ...]:
    """Bring the rows of every experiment together by target."""
    targets: dict[tuple[str, str], None] = {}
    for block in found:
        table = block.result.tables["table"]
        if "property" in table:
            targets |= dict.fromkeys(zip(table["dataset"], table["property"], strict=True))
    return tuple(_drill(found, dataset, prop) for dataset, prop in sorted(targets))


def _drill(found: Sequence[Block], dataset: str, prop: str) -> Drill:
    grids, headline = [], ""
    for block in found:
        table = block.result.tables["table"]
        if "property" not in table:
            continue
        own = table[(table["dataset"] == dataset) & (table["property"] == prop)]
        if own.empty:
            continue
        experiment = block.experiment
        shown = experiment.tables["table"]
        columns = tuple(column for column in shown.columns if column not in _KNOWN_ELSEWHERE)
        shown = replace(shown, columns=columns, caption=experiment.title)
        grids.append(grid(f"t-{dataset}-{prop}-{experiment.name}", own, shown))
        headline = headline or experiment.headline(records(own)[0])
    figures = [f.name for block in found for f in block.figures if f.target == (dataset, prop)]
    return Drill(dataset, prop, headline, tuple(grids), tuple(figures))


def _cell(row: dict[str, Any], name: str, is_number: bool, between: tuple[str, str]) -> Cell:
    value = row[name]
    if value is None:
        return Cell("–", None, is_number)
    if not is_number:
        text = str(value)
        return Cell(text.replace("_", " ") if name == "property" else text)
    text = number(float(value), 3 if name.endswith(("_p", "p_value")) else 4)
    low, high = map(row.get, between)
    if low is not None and high is not None:
        text += f" ({number(low, 3)} – {number(high, 3)})"
    return Cell(text, float(value), True, name.endswith("change") and value >= 0)
