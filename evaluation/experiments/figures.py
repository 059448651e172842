"""What the figures of several experiments share."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from evaluation.report.axes import Spec


@dataclass(frozen=True, slots=True)
class Figure:
    """A Vega-Lite specification, the file it is called, and what it shows."""

    name: str
    caption: str
    spec: Spec
    target: tuple[str, str] | None = None  # dataset, property


def by_target(table: pd.DataFrame) -> Iterable[tuple[str, str, str, str, pd.DataFrame]]:
    """Return dataset, property, unit, scheme, and their rows."""
    by = ["dataset", "property", "unit", "scheme"]
    for (dataset, prop, unit, scheme), own in table.groupby(by, sort=True):
        yield str(dataset), str(prop), str(unit), str(scheme), own


def in_unit(unit: str) -> str:
    """Return what stands in the brackets after a quantity's name."""
    return unit or "no unit"
