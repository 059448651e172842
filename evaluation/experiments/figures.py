"""What the figures of several experiments share."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from evaluation.report.drawings import Chart, Histogram
from evaluation.report.vega_charts import spec_of
from evaluation.report.vega_look import Spec


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing, the file it is called, and what it shows; other drawings are Vega-Lite specifications."""

    name: str
    caption: str
    drawing: Chart | Histogram | Spec
    target: tuple[str, str] | None = None  # dataset, property

    @property
    def spec(self) -> Spec:
        """Its Vega-Lite specification, for a file."""
        return spec_of(self.drawing)


def by_target(table: pd.DataFrame) -> Iterable[tuple[str, str, str, str, pd.DataFrame]]:
    """Return dataset, property, unit, scheme, and their rows."""
    by = ["dataset", "property", "unit", "scheme"]
    for (dataset, prop, unit, scheme), own in table.groupby(by, sort=True):
        yield str(dataset), str(prop), str(unit), str(scheme), own


def in_unit(unit: str) -> str:
    """Return what stands in the brackets after a quantity's name."""
    return unit or "no unit"
