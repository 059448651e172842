"""Figures as Vega-Lite specifications, by altair: curves, dots, histograms, ranks, parity plots, bars.

Colours are told apart by the colour-blind, and every series also has its own stroke. Every axis is named
with its unit. What hovering a mark says is its `tip`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from core.lazy import need
from core.text import number
from evaluation.report.plots import Bar, Point, colours, ratio_limit, thin

altair: Any = need("altair", "figures")  # its own types know no `**settings`

Scale = Literal["linear", "log"]
Spec = dict[str, Any]
Rows = list[dict[str, Any]]
Tables = dict[str, Rows]  # of one specification, by name; its charts refer to them
_SERIES = ("accent", "second", "third", "fourth", "muted")  # colours by their names in colours.css
_DASHES = ([1, 0], [6, 3], [2, 3], [8, 3, 2, 3], [1, 4])
_TIP = "tip:N"


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


@cache
def _theme() -> Spec:
    c = colours()
    axis = {
        "labelColor": c["muted"], "titleColor": c["ink"], "gridColor": c["line"], "gridWidth": 0.7,
        "domain": False, "ticks": False, "labelFontSize": 11, "titleFontSize": 11.5,
        "titleFontWeight": "normal", "labelPadding": 5, "tickCount": 5,
    }  # fmt: skip
    return {
        "background": c["surface"],
        "padding": 6,
        "font": "Helvetica, Arial, sans-serif",
        "view": {"fill": c["surface"], "stroke": c["line"]},
        "axis": axis,
        "legend": {
            "orient": "top", "title": None, "labelColor": c["muted"], "labelFontSize": 11, "columns": 3,
            "symbolSize": 60, "symbolStrokeWidth": 0, "labelLimit": 300, "offset": 6,
        },
        "mark": {"aria": False},  # but for what has a tip
        "title": {"color": c["ink"], "fontSize": 13.5, "anchor": "start"},
    }  # fmt: skip


def _spec(chart: Any, title: str, tables: Tables) -> Spec:
    found: Spec = chart.configure(**_theme()).properties(description=title).to_dict()
    return found | {"datasets": tables}


def _rows(tables: Tables, values: Sequence[dict[str, Any]]) -> Any:
    name = f"table_{len(tables)}"
    tables[name] = list(values)
    return altair.Chart(altair.NamedData(name))


def _no_frame() -> Any:
    return altair.ViewConfig(stroke=None, fill="transparent")


def _tipped(chart: Any, **encoded: Any) -> Any:
    return chart.encode(description=_TIP, tooltip=_TIP, **encoded)


def _domain(values: Sequence[float], scale: Scale) -> tuple[float, float]:
    """Return the ends of an axis: a margin around what lies on it."""
    low, high = min(values), max(values)
    if scale == "log":
        if low == high:
            low, high = low / 2, high * 2
        margin = (high / low) ** 0.06
        return low / margin, high * margin
    margin = 0.06 * (high - low) or abs(high) * 0.06 or 1.0
    return low - margin, high + margin


def _axis(title: str, values: Sequence[float], scale: Scale) -> dict[str, Any]:
    domain = _domain(values, scale)
    return {
        "title": title,
        "scale": altair.Scale(type=scale, domain=domain, nice=False, zero=False),
        "axis": altair.Axis(values=log_ticks(*domain), format="~r") if scale == "log" else _plain(domain),
    }


def _plain(domain: tuple[float, float], **settings: Any) -> Any:
    """Return a linear axis; very large and very small numbers are written as powers of ten."""
    largest = max(map(abs, domain))
    return altair.Axis(format="~e" if largest >= 1e6 or largest < 1e-3 else "~f", **settings)


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between `low` and `high`; fewer where these are many.

    >>> log_ticks(9, 210)
    [10.0, 20.0, 50.0, 100.0, 200.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 2, 5), (1, 3), (1,)):
        inside = [
            value for p in range(first, last + 1) for m in steps if low <= (value := m * 10.0**p) <= high
        ]
        if len(inside) <= most:
            break
    return inside


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
    floor = _domain(ys, chart.y_scale)[0] if chart.y_scale == "log" else -math.inf
    rows = [
        {"series": s.name, "x": m.x, "y": m.y, "tip": m.tip}
        | ({} if m.low is None or m.high is None else {"low": max(m.low, floor), "high": m.high})
        for s in series
        for m in s.marks
    ]
    x = altair.X("x:Q", **_axis(chart.x, [mark.x for mark in marks] or [1.0, 2.0], chart.x_scale))
    y = altair.Y("y:Q", **_axis(chart.y, ys, chart.y_scale))
    names = [s.name for s in series]
    shown = {"legend": altair.Legend()} if len(names) > 1 else {"legend": None}
    colour = altair.Color(
        "series:N",
        sort=None,
        scale=altair.Scale(domain=names, range=[colours()[name] for name in _SERIES[: len(names)]]),
        **shown,
    )
    dash = altair.StrokeDash(
        "series:N",
        sort=None,
        scale=altair.Scale(domain=names, range=list(_DASHES[: len(names)])),
        legend=None,
    )
    tables: Tables = {}
    base = _rows(tables, rows)
    layers = [
        base.transform_filter("isValid(datum.low)")
        .mark_rule(opacity=0.55, strokeWidth=1.2)
        .encode(x=x, y=altair.Y("low:Q"), y2="high:Q", color=colour)
    ]
    if any(s.line for s in series):
        layers.append(base.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour, strokeDash=dash))
    if chart.zero:
        line = _rows(tables, [{"y": 0}]).mark_rule(strokeDash=[4, 3], color=colours()["muted"])
        layers.append(line.encode(y="y:Q"))
    dots = base.mark_circle(size=30, fillOpacity=0.7, opacity=1, aria=True)
    layers.append(_tipped(dots, x=x, y=y, color=colour))
    size = {"width": chart.width, "height": chart.height}
    fit = altair.AutoSizeParams(type="fit", contains="padding")
    return _spec(altair.layer(*layers).properties(autosize=fit, **size), chart.title, tables)


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
    bars = _rows(tables, rows).mark_bar(color=colours()["accent"], stroke=colours()["surface"], aria=True)
    drawn = _tipped(
        bars,
        x=altair.X(
            "start:Q", title=x, bin="binned", scale=altair.Scale(domain=(steps[0].start, steps[-1].stop))
        ),
        x2="stop:Q",
        y=altair.Y("count:Q", title="targets (count)", axis=altair.Axis(values=whole, format="d")),
    )
    fit = altair.AutoSizeParams(type="fit", contains="padding")
    return _spec(drawn.properties(width=width, height=height, autosize=fit), title, tables)


def ranks_spec(
    title: str, ranks: Sequence[tuple[str, float]], distance: float, groups: Sequence[Sequence[str]]
) -> Spec:
    """Draw a critical-difference diagram (Demšar 2006): ranks on a line, bars over what cannot be told apart.

    ranks: (method, average rank), best first; groups: names of methods that lie within `distance`.
    """
    c, k, of = colours(), len(ranks), dict(ranks)
    half = math.ceil(k / 2)
    last = max(k, 2)
    edge = (last - 1) / 35  # from the line's ends to the names
    under = 14 + 6 * len(groups)  # pixels from the line to the first name
    leaders: Rows = []
    names: Tables = {"right": [], "left": []}
    for i, (name, rank) in enumerate(ranks):
        is_left = i < half
        end = 1 - edge if is_left else last + edge
        y = under + 17 * (i if is_left else k - 1 - i)
        tip = f"{name}: average rank {number(rank, 3)}"
        corners = ((rank, 0), (rank, y), (end, y))
        leaders += [{"name": name, "x": at, "y": down, "order": j} for j, (at, down) in enumerate(corners)]
        names["right" if is_left else "left"].append({"name": name, "x": end, "y": y, "tip": tip})
    cliques = [
        {"x": min(of[m] for m in group), "x2": max(of[m] for m in group), "y": 7 + 6 * i}
        for i, group in enumerate(groups)
    ]
    bottom = under + 17 * half
    x = altair.X("x:Q", scale=altair.Scale(domain=(1, last), nice=False, zero=False), axis=None)
    y = altair.Y("y:Q", scale=altair.Scale(domain=(bottom, -36), nice=False, zero=False), axis=None)
    ticks = [{"x": rank, "y": 0, "y2": -5, "name": str(rank)} for rank in range(1, k + 1)]
    line = [{"x": 1, "x2": last, "y": 0}]
    ruler = [{"x": 1, "x2": 1 + distance, "y": -32}]
    ink = {"color": c["ink"]}
    tables: Tables = {}
    layers = [
        _rows(tables, line).mark_rule(strokeWidth=1.6, **ink).encode(x=x, x2="x2:Q", y=y),
        _rows(tables, ticks).mark_rule(strokeWidth=1.6, **ink).encode(x=x, y=y, y2="y2:Q"),
        _rows(tables, ticks).mark_text(dy=-12, fontSize=11, color=c["muted"]).encode(x=x, y=y, text="name:N"),
        _rows(tables, leaders)
        .mark_line(strokeWidth=1, color=c["muted"])
        .encode(x=x, y=y, detail="name:N", order="order:Q"),
        _rows(tables, cliques)
        .mark_rule(strokeWidth=4, strokeCap="round", color=c["accent"])
        .encode(x=x, x2="x2:Q", y=y),
        _rows(tables, ruler).mark_rule(strokeWidth=1.2, color=c["muted"]).encode(x=x, x2="x2:Q", y=y),
        _rows(tables, [{"x": 1 + distance, "y": -32, "text": f"critical difference {number(distance, 3)}"}])
        .mark_text(align="left", dx=5, fontSize=11, color=c["muted"])
        .encode(x=x, y=y, text="text:N"),
        _rows(tables, [{"x": (1 + last) / 2, "y": bottom, "text": "average rank (1 is best)"}])
        .mark_text(fontSize=11.5, **ink)
        .encode(x=x, y=y, text="text:N"),
    ]
    for align, rows in names.items():
        if rows:
            shift = -4 if align == "right" else 4
            text = _rows(tables, rows).mark_text(align=align, dx=shift, fontSize=13, aria=True, **ink)
            layers.append(_tipped(text, x=x, y=y, text="name:N"))
    size = {"width": 280, "height": bottom + 36}
    return _spec(altair.layer(*layers).properties(view=_no_frame(), **size), title, tables)


def _parity(tables: Tables, unit: str, points: Sequence[Point]) -> Any:
    """Draw predicted against actual, both in `unit`, on one scale."""
    values = [v for point in points for v in (point.actual, point.predicted)] or [0.0, 1.0]
    low, high = _domain(values, "linear")
    said = "" if unit == "dimensionless" else f" {unit}"
    rows = [
        {
            "actual": p.actual,
            "predicted": p.predicted,
            "tip": f"{p.name}: actual {number(p.actual)}, predicted {number(p.predicted)}{said}",
        }
        for p in thin(points)
    ]
    scale = altair.Scale(domain=(low, high), nice=False, zero=False)
    # all plots have their frame at one place, whatever numbers stand beside it
    across, up = _plain((low, high), tickCount=4), _plain((low, high), tickCount=4, minExtent=42)
    x = altair.X("actual:Q", title=f"actual ({unit})", scale=scale, axis=across)
    y = altair.Y("predicted:Q", title=f"predicted ({unit})", scale=scale, axis=up)
    ends = _rows(tables, [{"actual": v, "predicted": v} for v in (low, high)])
    ideal = ends.mark_line(strokeWidth=1, strokeDash=[4, 3], color=colours()["muted"])
    dots = _rows(tables, rows).mark_circle(
        size=36, color=colours()["accent"], fillOpacity=0.62, opacity=1, aria=True
    )
    return altair.layer(ideal.encode(x=x, y=y), _tipped(dots, x=x, y=y)).properties(width=236, height=236)


def parity_spec(title: str, unit: str, points: Sequence[Point]) -> Spec:
    """Draw predicted against actual as a figure of its own."""
    tables: Tables = {}
    drawn = _parity(tables, unit, points)
    return _spec(drawn, f"{title}: predicted against actual, {unit}", tables)


def _ratios(tables: Tables, bars: Sequence[Bar], top: float, width: int = 344) -> Any:
    """Draw test MAE / Base MAE as bars with intervals, and Base as the mark at 1; `top` ends the scale."""
    c = colours()
    rows = []
    for i, bar in enumerate(bars):
        interval = None if bar.low is None or bar.high is None else (bar.low, bar.high)
        tip = f"{bar.label}: test MAE is {number(bar.ratio, 3)} × Base"
        if interval:
            tip += f", 95 % interval {number(interval[0], 3)} to {number(interval[1], 3)}"
        rows.append(
            {"row": i, "label": bar.label, "ratio": min(bar.ratio, top), "figure": number(bar.ratio, 2)}
            | {"zero": 0, "one": 1, "end": top, "note": bar.note, "worse": bar.ratio >= 1}
            | {"tip": tip + (f" ({bar.note})" if bar.note else "")}
            | ({"low": min(interval[0], top), "high": min(interval[1], top)} if interval else {})
        )
    x = {"scale": altair.Scale(domain=(0, top), nice=False), "title": "test MAE / Base MAE (ratio; Base = 1)"}
    x["axis"] = altair.Axis(format="~f", tickCount=4)
    y = altair.Y("row:O", axis=None)
    base = _rows(tables, rows)
    fill = altair.condition("datum.worse", altair.value(c["second"]), altair.value(c["accent"]))
    upper = {"yOffset": -13, "baseline": "middle"}
    layers = [
        _tipped(base.mark_bar(height=11, yOffset=5, aria=True), x=altair.X("ratio:Q", **x), y=y, color=fill),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=1.3, yOffset=5, color=c["ink"])
        .encode(x=altair.X("low:Q", **x), x2="high:Q", y=y),
        base.mark_tick(thickness=2, height=15, yOffset=5, color=c["second"]).encode(
            x=altair.X("one:Q", **x), y=y
        ),
        base.mark_text(align="left", fontSize=13, color=c["ink"], **upper).encode(
            x=altair.X("zero:Q", **x), y=y, text="label:N"
        ),
        base.mark_text(align="right", xOffset=-50, fontSize=11.5, color=c["muted"], **upper).encode(
            x=altair.X("end:Q", **x), y=y, text="note:N"
        ),
        base.mark_text(align="right", fontSize=13, fontWeight="bold", color=c["ink"], **upper).encode(
            x=altair.X("end:Q", **x), y=y, text="figure:N"
        ),
    ]
    return altair.layer(*layers).properties(width=width, height=altair.Step(40), view=_no_frame())


def ratio_spec(title: str, bars: Sequence[Bar], top: float) -> Spec:
    """Draw the bars of one dataset as a figure of its own."""
    tables: Tables = {}
    return _spec(_ratios(tables, bars, top), f"{title}: test MAE of the chosen head divided by Base", tables)


def result_spec(
    headline: str,
    parities: Sequence[tuple[str, str, Sequence[Point]]],
    bars: Sequence[Bar],
    footnotes: Sequence[str] = (),
) -> Spec:
    """Draw the README's picture: parity plots (title, unit, points) beside the bars."""
    tables: Tables = {}
    drawn = [_parity(tables, unit, points).properties(title=title) for title, unit, points in parities]
    side = _ratios(tables, bars, ratio_limit(bars), 430)
    notes = altair.TitleParams(
        list(footnotes),
        orient="bottom",
        fontSize=12,
        fontWeight="normal",
        color=colours()["muted"],
        offset=16,
    )
    beside = altair.hconcat(*drawn, side, spacing=28).properties(title=notes)
    head = altair.TitleParams(headline, fontSize=18, offset=16)
    return _spec(altair.vconcat(beside).properties(title=head, padding=24), headline, tables)
