"""What the page shows of experiments: a block each, with its tables as cells and its figures as SVG."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from core.text import number
from evaluation.experiments import EXPERIMENTS, Experiment
from evaluation.experiments.published import CITATION, beside
from evaluation.experiments.results import FACTS, Result, read
from evaluation.report.figures import FIGURES, Figure

_INTERVALS = {
    "base": ("base_low", "base_high"),
    "scratch": ("scratch_low", "scratch_high"),
    "transfer": ("transfer_low", "transfer_high"),
    "change": ("change_low", "change_high"),
    "base_change": ("base_change_low", "base_change_high"),
    "difference": ("low", "high"),
    "share": ("share_low", "share_high"),
    "val_mae": ("val_mae_low", "val_mae_high"),
}
_TITLES = {
    "group": "Materials",
    "dataset": "Dataset",
    "property": "Property",
    "scheme": "Split",
    "unit": "Unit",
    "rows": "Rows",
    "n_train": "Training rows",
    "splits": "Splits",
    "base": "Base MAE",
    "scratch": "Scratch MAE",
    "transfer": "Transfer MAE",
    "change": "% change",
    "base_change": "% against Base",
    "method": "Transfer by",
    "label": "Label",
    "winner": "Best",
    "kind": "Kind",
    "feature_set": "Feature set",
    "source": "Source model",
    "training": "Training",
    "mad_mae": "MAD / MAE",
    "r2": "R²",
    "spearman": "Spearman ρ",
    "against": "Against",
    "folds": "Folds",
    "mean": "Mean",
    "mean_sd": "sd",
    "transfer_sd": "sd of transfer",
    "difference": "Difference",
    "t": "t",
    "p_value": "p (two-sided)",
    "better": "Folds won",
    "targets": "Targets",
    "gains": "Gains",
    "losses": "Losses",
    "ties": "Ties",
    "share": "Share of gains",
    "sign_p": "p, sign test",
    "wilcoxon_p": "p, Wilcoxon",
    "val_mae": "Validation MAE",
    "rank": "Average rank",
    "part": "By MAE of",
    "over": "Over",
    "friedman_p": "p, Friedman",
    "distance": "Critical difference",
    "n": "Targets",
    "sd": "sd",
    "minimum": "Minimum",
    "q1": "1st quartile",
    "median": "Median",
    "q3": "3rd quartile",
    "maximum": "Maximum",
    "rho_rows": "ρ with rows",
    "published_rows": "Published: rows",
    "published_base": "Published: Base",
    "published_scratch": "Published: scratch",
    "published_transfer": "Published: transfer",
}
_TARGET = ("property", "dataset", "unit", "scheme")
_SIDES = ("base", "scratch", "transfer", "change", "base_change")
_FOLDS = ("against", "folds", "mean", "transfer", "difference", "t", "p_value", "better")
_SPREAD = ("minimum", "q1", "median", "q3", "maximum")
_FIT = ("mad_mae", "r2", "spearman")
# experiment → table → the columns that the page shows of it, in order; files have more
SHOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "checkpoints": {
        "table": (*_TARGET, "kind", "feature_set", "base", "transfer", "base_change", "splits"),
        "validation": (*_TARGET, "feature_set", "val_mae", "splits"),
    },
    "transfer": {
        "table": (*_TARGET, "group", "rows", *_SIDES, "method", "winner", "label", *_FIT, "splits"),
    },
    "learning_curve": {"table": (*_TARGET, "n_train", *_SIDES, "method", "label", "splits")},
    "extrapolation": {"table": (*_TARGET, "n_train", *_SIDES, "method", "label", "splits")},
    "cross_validation": {
        "table": (*_TARGET, *_FOLDS, "method", "label"),
    },
    "significance": {
        "table": ("scheme", "against", "targets", "gains", "losses", "ties", "share", "sign_p", "wilcoxon_p"),
        "ranks": ("method", "scheme", "part", "over", "rank", "targets", "distance", "friedman_p"),
    },
    "multi_property": {"table": (*_TARGET, "training", "n_train", *_SIDES, "label", "splits")},
    "size_effect": {
        "table": ("scheme", "against", "n", "mean", "sd", *_SPREAD, "rho_rows"),
    },
    "source_models": {
        "table": (*_TARGET, "source", "base", "transfer", "base_change", "method", *_FIT, "splits"),
    },
}  # fmt: skip
_BESIDE = (
    "property", "dataset", "unit", "rows", "base", "scratch", "transfer", "label",
    "published_rows", "published_base", "published_scratch", "published_transfer",
)  # fmt: skip
_PUBLISHED = (
    f"Beside it what {CITATION} report: with other parts, epochs and source model, and not compared here."
)
_OWN_TITLES = {"ranks": {"method": "Method"}, "table": {}, "validation": {}}
_CAPTIONS = {
    "table": "",
    "validation": "Validation MAE of every feature set; no test part in it.",
    "ranks": "Average ranks, 1 is best.",
}


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
    figures: tuple[Figure, ...] = field(default=())

    @property
    def words(self) -> tuple[str, ...]:
        """Say in a sentence a split what came out, where the experiment has headline numbers."""
        if self.experiment.name != "transfer":
            return ()
        said = []
        for scheme, found in self.result.metrics.items():
            text = (
                f"{scheme}: transfer is below Base for {found['below_base']} of {found['targets']} targets, "
                f"in the median by {number(-found['median_base_change'], 3)} %"
            )
            if found["with_scratch"]:
                text += (
                    f"; below scratch for {found['below_scratch']} of {found['with_scratch']}, in the median "
                    f"{number(found['median_change'], 3)} %"
                )
            said.append(text + ".")
        return tuple(said)

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
        if settings.get("trained") or self.experiment.name == "multi_property":
            training = settings["training"]
            label = f" ({training['label']})" if training["label"] else ""
            said.append(f"networks of {training['epochs']} epochs at most{label}")
        models = self.result.provenance.get("source_models")
        if models:
            said.append(f"source model {', '.join(models)}")
        return "; ".join(said)


def blocks(results: Path) -> tuple[Block, ...]:
    """Read the experiments whose results are there, in the order of the registry."""
    there = [name for name in EXPERIMENTS if (results / name / FACTS).exists()]
    return tuple(_block(name, read(name, results)) for name in there)


def _block(name: str, result: Result) -> Block:
    grids = [
        grid(f"t-{name}-{table}", _CAPTIONS[table], result.tables[table], columns, _OWN_TITLES[table])
        for table, columns in SHOWN[name].items()
        if table in result.tables
    ]
    if name == "transfer" and len(theirs := beside(result.tables["table"])):
        grids.append(grid(f"t-{name}-published", _PUBLISHED, theirs, _BESIDE))
    draw: Callable[[Result], Iterable[Figure]] | None = FIGURES.get(name)
    return Block(EXPERIMENTS[name], result, tuple(grids), tuple(draw(result)) if draw else ())


def grid(
    name: str,
    caption: str,
    table: pd.DataFrame,
    columns: Sequence[str],
    titles: Mapping[str, str] = MappingProxyType({}),
) -> Grid:
    """Turn a table of results into cells; a column that is missing or wholly empty is left out."""
    shown = [name for name in columns if name in table and table[name].notna().any()]
    plain = table.astype(object).where(table.notna(), None).to_dict("records")
    numeric = {name: pd.api.types.is_numeric_dtype(table[name]) for name in shown}
    return Grid(
        name,
        caption,
        tuple((titles.get(name, _TITLES[name]), numeric[name]) for name in shown),
        tuple(tuple(_cell(row, name, numeric[name]) for name in shown) for row in plain),
    )


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
        name = block.experiment.name
        columns = [
            column for column in SHOWN[name]["table"] if column not in ("dataset", "property", "group")
        ]
        if len(own):
            grids.append(grid(f"t-{dataset}-{prop}-{name}", block.experiment.title, own, columns))
        if len(own) and name == "transfer":
            row = own.iloc[0]
            headline = f"transfer {number(row['transfer'])} {row['unit']}, {row['scheme']}"
    figures = [f.name for block in found for f in block.figures if f.target == (dataset, prop)]
    return Drill(dataset, prop, headline, tuple(grids), tuple(figures))


def _cell(row: dict[str, Any], name: str, is_number: bool) -> Cell:
    value = row[name]
    if value is None:
        return Cell("–", None, is_number)
    if not is_number:
        text = str(value)
        return Cell(text.replace("_", " ") if name == "property" else text)
    text = number(float(value), 3 if name.endswith(("_p", "p_value")) else 4)
    ends = [row.get(end) for end in _INTERVALS.get(name, ())]
    if ends and all(end is not None for end in ends):
        text += f" ({number(ends[0], 3)} – {number(ends[1], 3)})"
    return Cell(text, float(value), True, name.endswith("change") and value >= 0)
