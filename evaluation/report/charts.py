"""Charts as Vega-Lite specifications, by altair: curves and dots on a pair of axes, and histograms.

Colours are told apart by the colour-blind, and every series also has its own stroke. Every axis is named
with its unit. What hovering a mark says is its `tip`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.text import number
from evaluation.report.axes import Scale, Spec, Tables, altair, axis_of, domain_of, finished, rows_of, tipped
from evaluation.report.plots import colours

_SERIES = ("accent", "second", "third", "fourth", "muted")  # colours by their names in colours.css
_DASHES = ([1, 0], [6, 3], [2, 3], [8, 3, 2, 3], [1, 4])


@dataclass(frozen=True, slots=True)
class Mark:
    """One point with what hovering it says; `low` and `high` bound its interval on the y axis."""

    x: float
    y: float
    tip: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Marks of one kind: joined by a line, or dots alone."""

    name: str
    marks: tuple[Mark, ...]
    line: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """Series on one pair of axes; each axis is named with its unit."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    zero: bool = False  # draw the line y = 0
    width: int = 420  # pixels, with the axes
    height: int = 280


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of a histogram."""

    start: float
    stop: float
    count: int


def chart_spec(chart: Chart) -> Spec:
    """Draw a chart; what lies at or below 0 has no place on a logarithmic axis and is left out."""

    def there(mark: Mark) -> bool:
        return (chart.x_scale == "linear" or mark.x > 0) and (chart.y_scale == "linear" or mark.y > 0)

    series = [Series(s.name, tuple(filter(there, s.marks)), s.line) for s in chart.series]
    series = [s for s in series if s.marks]
    marks = [mark for s in series for mark in s.marks]
    ends = [v for m in marks for v in (m.low, m.y, m.high) if v is not None]
    ys = [v for v in ends if chart.y_scale == "linear" or v > 0] or [1.0, 2.0]
    if chart.zero:
        ys.append(0.0)
    # an interval that reaches 0 goes down to the end of a logarithmic axis
    floor = domain_of(ys, chart.y_scale)[0] if chart.y_scale == "log" else -math.inf
    rows = [
        {"series": s.name, "x": m.x, "y": m.y, "tip": m.tip}
        | ({} if m.low is None or m.high is None else {"low": max(m.low, floor), "high": m.high})
        for s in series
        for m in s.marks
    ]
    x = altair().X("x:Q", **axis_of(chart.x, [mark.x for mark in marks] or [1.0, 2.0], chart.x_scale))
    y = altair().Y("y:Q", **axis_of(chart.y, ys, chart.y_scale))
    names = [s.name for s in series]
    shown = {"legend": altair().Legend()} if len(names) > 1 else {"legend": None}
    colour = altair().Color(
        "series:N",
        sort=None,
        scale=altair().Scale(domain=names, range=[colours()[name] for name in _SERIES[: len(names)]]),
        **shown,
    )
    dash = altair().StrokeDash(
        "series:N",
        sort=None,
        scale=altair().Scale(domain=names, range=list(_DASHES[: len(names)])),
        legend=None,
    )
    tables: Tables = {}
    base = rows_of(tables, rows)
    layers = [
        base.transform_filter("isValid(datum.low)")
        .mark_rule(opacity=0.55, strokeWidth=1.2)
        .encode(x=x, y=altair().Y("low:Q"), y2="high:Q", color=colour)
    ]
    if any(s.line for s in series):
        layers.append(base.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour, strokeDash=dash))
    if chart.zero:
        line = rows_of(tables, [{"y": 0}]).mark_rule(strokeDash=[4, 3], color=colours()["muted"])
        layers.append(line.encode(y="y:Q"))
    dots = base.mark_circle(size=30, fillOpacity=0.7, opacity=1, aria=True)
    layers.append(tipped(dots, x=x, y=y, color=colour))
    size = {"width": chart.width, "height": chart.height}
    fit = altair().AutoSizeParams(type="fit", contains="padding")
    return finished(altair().layer(*layers).properties(autosize=fit, **size), chart.title, tables)


def histogram_spec(title: str, x: str, steps: Sequence[Step], width: int = 420, height: int = 240) -> Spec:
    """Draw counts over equal steps."""
    rows = [
        {
            "start": s.start,
            "stop": s.stop,
            "count": s.count,
            "tip": f"{number(s.start, 3)} to {number(s.stop, 3)}: {s.count}",
        }
        for s in steps
    ]
    tables: Tables = {}
    top = max(s.count for s in steps)
    whole = list(range(0, top + 1, math.ceil(top / 5) or 1))
    bars = rows_of(tables, rows).mark_bar(color=colours()["accent"], stroke=colours()["surface"], aria=True)
    drawn = tipped(
        bars,
        x=altair().X(
            "start:Q", title=x, bin="binned", scale=altair().Scale(domain=(steps[0].start, steps[-1].stop))
        ),
        x2="stop:Q",
        y=altair().Y("count:Q", title="targets (count)", axis=altair().Axis(values=whole, format="d")),
    )
    fit = altair().AutoSizeParams(type="fit", contains="padding")
    return finished(drawn.properties(width=width, height=height, autosize=fit), title, tables)
