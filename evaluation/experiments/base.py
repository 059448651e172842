"""What an experiment is: settings, a run, and what the page shows of it, all in one module.

A module in this package that has an `EXPERIMENT` is one; nothing else lists it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from core.params import Params, Section, section
from evaluation.experiments.figures import Figure
from evaluation.experiments.results import Result


@dataclass(frozen=True, slots=True)
class Shown:
    """A table as the page shows it; its file has more columns.

    columns: in their order; one that is missing or wholly empty is left out. titles: of columns that are
    called otherwise here. intervals: column → the columns of its ends, where these are not its name with
    _low and _high.
    """

    columns: tuple[str, ...]
    caption: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    intervals: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def _nothing(_: Any) -> tuple[()]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment.

    run: (its settings, all params, the store, the folder of results) → its result.
    tables: those of the result that the page shows, `table` first; every result has a `table`.
    beside: further tables that the page lays beside the result's, by their names in `tables`.
    words: sentences that say what came out. headline: what a row of `table` says of its target, in short.
    is_training: networks are trained whatever `trained` names.
    order: its place on the page and in the list; alike ones follow their names.
    """

    name: str
    title: str
    question: str
    paper: str
    settings: type[Section]
    run: Callable[[Any, Params, Path, Path], Result]
    tables: Mapping[str, Shown]
    figures: Callable[[Result], Iterable[Figure]] = _nothing
    beside: Callable[[Result], Mapping[str, pd.DataFrame]] = lambda _: {}
    words: Callable[[Result], Iterable[str]] = _nothing
    headline: Callable[[Mapping[str, Any]], str] = lambda _: ""
    is_training: bool = False
    order: int = 100

    def asked(self, params: Params, where: str = "params.yaml") -> Any:
        """Return the settings of its section in `params`, an instance of `settings`.

        Raises `StrataError` naming the file `where`, the section and the nearest valid key.
        """
        return section(
            self.settings, params.experiments.get(self.name, {}), f"{where}, experiments.{self.name}"
        )

    def make(self, params: Params, store_root: Path, out: Path, where: str = "params.yaml") -> Result:
        """Run it, and write down with its result what it was asked."""
        asked = self.asked(params, where)
        result = self.run(asked, params, store_root, out)
        return replace(result, name=self.name, settings=asked.model_dump(mode="json"))
