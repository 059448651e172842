"""What all figures by altair are made from: rows with their tips, axes with their units, one look."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from core.lazy import need
from evaluation.report.drawings import Scale, log_ticks
from evaluation.report.templates import colours

Spec = dict[str, Any]
Rows = list[dict[str, Any]]
Tables = dict[str, Rows]  # of one specification, by name; its charts refer to them
TIP = "tip:N"


@cache
def altair() -> Any:
    """Import altair where a figure is specified: an experiment runs without it."""
    return need("altair", "figures")  # its own types know no `**settings`


@cache
def _theme() -> Spec:
    c = colours()
    axis = {
        "labelColor": c["muted"], "titleColor": c["ink"], "gridColor": c["line"], "gridWidth": 0.7,
        "domain": False, "ticks": False, "labelFontSize": 11, "titleFontSize": 11.5,
        "titleFontWeight": "normal", "labelPadding": 5, "tickCount": 5, "aria": False,
    }  # fmt: skip
    return {
        "background": c["surface"],
        "padding": 6,
        "font": "Helvetica, Arial, sans-serif",
        "view": {"fill": c["surface"], "stroke": c["line"]},
        "axis": axis,
        "legend": {
            "orient": "top", "title": None, "labelColor": c["muted"], "labelFontSize": 11, "columns": 3,
            "symbolSize": 60, "symbolStrokeWidth": 0, "labelLimit": 300, "offset": 6, "aria": False,
        },
        "mark": {"aria": False},  # but for what has a tip
        "title": {"color": c["ink"], "fontSize": 13.5, "anchor": "start"},
    }  # fmt: skip


def finished(chart: Any, title: str, tables: Tables) -> Spec:
    """Give a chart the look of all, and its rows."""
    found: Spec = chart.configure(**_theme()).properties(description=title).to_dict()
    return found | {"datasets": tables}


def rows_of(tables: Tables, values: Sequence[dict[str, Any]]) -> Any:
    """Start a chart on rows, kept once under a name."""
    name = f"table_{len(tables)}"
    tables[name] = list(values)
    return altair().Chart(altair().NamedData(name))


def no_frame() -> Any:
    """Leave out the frame around a chart."""
    return altair().ViewConfig(stroke=None, fill="transparent")


def tipped(chart: Any, **encoded: Any) -> Any:
    """Encode a chart whose marks say their tip when hovered."""
    return chart.encode(description=TIP, tooltip=TIP, **encoded)


def axis_of(title: str, domain: tuple[float, float], scale: Scale) -> dict[str, Any]:
    """Return title, scale and ticks of an axis that ends at `domain`."""
    return {
        "title": title,
        "scale": altair().Scale(type=scale, domain=domain, nice=False, zero=False),
        "axis": altair().Axis(values=log_ticks(*domain), format="~r")
        if scale == "log"
        else plain_axis(domain),
    }


def plain_axis(domain: tuple[float, float], **settings: Any) -> Any:
    """Return a linear axis; very large and very small numbers are written as powers of ten."""
    largest = max(map(abs, domain))
    return altair().Axis(format="~e" if largest >= 1e6 or largest < 1e-3 else "~f", **settings)
