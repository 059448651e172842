"""What a `fit` did, as data and on one screen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Self

from featurestore import SplitKey
from featurestore.query.feature_sets import full_name

SHOWN_RUNS = 40  # more than a screen: then the best run of each property and split stands for the others


@dataclass(frozen=True, slots=True)
class Run:
    """One fitted head; errors in the property's unit."""

    run_id: str
    property: str
    unit: str
    head: str
    label: str
    feature_set: str | None  # None: Base
    split: SplitKey
    n_train: int
    n_val: int
    n_test: int
    train_mae: float
    val_mae: float
    fit_seconds: float
    is_new: bool  # False: it was there already
    source_model: str | None = None
    cv_mae: float | None = None  # of the out-of-fold predictions of train + validation
    choice: str | None = None  # cv or validation, and refit; None: by validation, and no refit
    train_log_loss: float | None = None  # of a property of classes, whose MAEs are NaN
    val_log_loss: float | None = None

    def error(self) -> float:
        """Return what it is compared by."""
        if self.val_log_loss is not None:
            return self.val_log_loss
        return self.val_mae if self.cv_mae is None else self.cv_mae

    @classmethod
    def stored(cls) -> list[str]:
        """Return the names of its columns in the table runs."""
        names = [name for name in cls.__slots__ if name not in {"split", "is_new"}]
        return [*names, *SplitKey._fields]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Self:
        """Build a run that is there already from the values of `stored()`."""
        values = dict(zip(cls.stored(), row, strict=True))
        split = SplitKey(*(values.pop(name) for name in SplitKey._fields))
        values |= {name: math.nan for name in ("train_mae", "val_mae") if values[name] is None}
        return cls(**values, split=split, is_new=False)

    def reads(self) -> str:
        """Name the feature set with its source model; "" for Base."""
        return full_name(self.feature_set, self.source_model)

    def columns(self) -> dict[str, Any]:
        """Return the values of `stored()` by name."""
        own = {name: getattr(self, name) for name in self.stored() if name not in SplitKey._fields}
        if self.val_log_loss is not None:
            own |= {"train_mae": None, "val_mae": None}
        return own | self.split._asdict()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A head that said it is not applicable, and why."""

    property: str
    head: str
    feature_set: str
    split: SplitKey
    reason: str


@dataclass(frozen=True, slots=True)
class Lacking:
    """Rows that a feature set's methods were not fitted on, since a source model rejected their structure."""

    property: str
    feature_set: str
    source_model: str
    rows: int


@dataclass(frozen=True, slots=True)
class FitReport:
    """The runs that are asked for now, in the order of the params, and the heads that had nothing to say."""

    dataset: str
    runs: tuple[Run, ...]
    not_applicable: tuple[Skipped, ...] = ()
    lacking: tuple[Lacking, ...] = ()
    # what the baseline by composition reads, where the store has no such vectors
    without_composition: str | None = None

    @property
    def new(self) -> int:
        """Return how many runs were fitted now."""
        return sum(run.is_new for run in self.runs)

    def lines(self) -> tuple["Line", ...]:
        """Return what fits on a screen, a line for the repetitions of a run over seeds and folds.

        All lines, or the best of each property and scheme.
        """
        found: dict[Any, list[Run]] = {}
        for run in self.runs:
            key = (run.property, run.head, run.label, run.reads(), run.split.scheme)
            found.setdefault(key, []).append(run)
        lines = [Line(tuple(several)) for several in found.values()]
        if len(lines) <= SHOWN_RUNS:
            return tuple(lines)
        places: dict[Any, list[Line]] = {}
        for line in lines:
            places.setdefault((line.first.property, line.first.split.scheme), []).append(line)
        return tuple(map(_best, places.values()))

    def show(self) -> None:
        """Print the table."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        shown = self.lines()
        sets = {run.reads() for run in self.runs if run.feature_set}
        splits = {line.split for line in shown}
        seconds = sum(run.fit_seconds for run in self.runs if run.is_new)
        console = Console()
        console.print(
            f"{escape(self.dataset)}: {len(self.runs)} runs, {self.new} of them fitted now in {seconds:.1f} s"
            + (f"; vectors: {', '.join(sets)}" if len(sets) == 1 else "")
            + ("" if sum(map(len, shown)) == len(self.runs) else "; below, the best of each property")
            + (
                "; ± is the standard deviation over repetitions"
                if any(len(line) > 1 for line in shown)
                else ""
            )
        )
        table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("property", overflow="fold")
        table.add_column("head", overflow="fold")
        if len(sets) > 1:
            table.add_column("feature set", overflow="fold")
        if len(splits) > 1:
            table.add_column("split")
        folded = any(line.first.cv_mae is not None for line in shown)
        for name in ("rows*", "train MAE", "val MAE", *["fold MAE"] * folded, "s"):
            table.add_column(name, justify="right", no_wrap=True)
        before = ""
        for line in shown:
            run = line.first
            name = f"{run.property}, {run.unit}" if run.unit else run.property
            cells = [
                "" if name == before else name,
                f"{run.head} ({run.label})" if run.label else run.head,
                *([run.reads()] if len(sets) > 1 else []),
                *([line.split] if len(splits) > 1 else []),
                f"{run.n_train}/{run.n_val}/{run.n_test}",
                line.figure("train_mae" if run.val_log_loss is None else "train_log_loss"),
                line.figure("val_mae" if run.val_log_loss is None else "val_log_loss"),
                *[line.figure("cv_mae")] * folded,
                f"{line.mean('fit_seconds'):.2f}",
            ]
            table.add_row(*map(escape, cells))
            before = name
        console.print(table)
        console.print("* of the parts train/val/test", style="dim")
        if any(line.first.val_log_loss is not None for line in shown):
            console.print("of the unit class: log loss in place of the MAE", style="dim")
        for reason in dict.fromkeys(skip.reason for skip in self.not_applicable):
            names = dict.fromkeys(skip.property for skip in self.not_applicable if skip.reason == reason)
            console.print(f"not applicable to {escape(', '.join(names))}: {escape(reason)}", style="dim")
        for lack in self.lacking:
            console.print(
                f"{escape(lack.property)}, {escape(lack.feature_set)}: {lack.rows:,} rows have no vector by "
                f"{escape(lack.source_model)} and were left out"
            )
        if self.without_composition:
            console.print(
                f"no baseline by composition: no vectors for {escape(self.without_composition)} in the store",
                style="dim",
            )


@dataclass(frozen=True, slots=True)
class Line:
    """One run, or its repetitions over seeds and folds: the same head, vectors and way of splitting."""

    runs: tuple[Run, ...]

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def first(self) -> Run:
        """Return the run that names the line."""
        return self.runs[0]

    @property
    def split(self) -> str:
        """Name its split; of repetitions the scheme and how many they are."""
        return _short(self.first.split) if len(self) == 1 else f"{self.first.split.scheme} × {len(self)}"

    def mean(self, name: str) -> float:
        """Return the mean of one of the runs' numbers."""
        return fmean(getattr(run, name) for run in self.runs)

    def figure(self, name: str) -> str:
        """Write the mean of one of the runs' numbers, with its standard deviation where there are several."""
        if any(getattr(run, name) is None for run in self.runs):
            return "–"
        text = f"{self.mean(name):.4g}"
        return text if len(self) == 1 else f"{text} ± {stdev(getattr(run, name) for run in self.runs):.2g}"


def _short(split: SplitKey) -> str:
    """Name a split; the fold only where there is more than the first.

    >>> _short(SplitKey("random", 0, 0)), _short(SplitKey("kfold", 0, 3))
    ('random 0', 'kfold 0 3')
    """
    return " ".join(map(str, split if split.fold else split[:2]))


def _best(lines: Sequence[Line]) -> Line:
    """Return the line of least error: by folds where runs have them, else by the validation part."""
    if lines[0].first.val_log_loss is not None:
        return min(lines, key=lambda line: line.mean("val_log_loss"))
    folded = [line for line in lines if all(run.cv_mae is not None for run in line.runs)]
    return min(folded or lines, key=lambda line: line.mean("cv_mae" if folded else "val_mae"))
