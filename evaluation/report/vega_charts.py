"""Drawings as Vega-Lite specifications, by altair, for files of their own.

Colours are told apart by the colour-blind, and every series also has its own stroke.
"""

import math

from core.text import number
from evaluation.report.drawings import Chart, Histogram
from evaluation.report.templates import colours
from evaluation.report.vega_look import Spec, Tables, altair, axis_of, finished, rows_of, tipped

_SERIES = ("accent", "second", "third", "fourth", "muted")  # colours by their names in colours.css
_DASHES = ([1, 0], [6, 3], [2, 3], [8, 3, 2, 3], [1, 4])


def chart_spec(chart: Chart) -> Spec:
    """Draw a chart; what lies at or below 0 has no place on a logarithmic axis and is left out."""
    series = chart.visible()
    x_domain, y_domain = chart.domains()
    # an interval that reaches 0 goes down to the end of a logarithmic axis
    floor = y_domain[0] if chart.y_scale == "log" else -math.inf
    rows = [
        {"series": s.name, "x": m.x, "y": m.y, "tip": m.tip}
        | ({} if m.low is None or m.high is None else {"low": max(m.low, floor), "high": m.high})
        for s in series
        for m in s.marks
    ]
    x = altair().X("x:Q", **axis_of(chart.x, x_domain, chart.x_scale))
    y = altair().Y("y:Q", **axis_of(chart.y, y_domain, chart.y_scale))
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


def histogram_spec(histogram: Histogram) -> Spec:
    """Draw counts over steps."""
    steps = histogram.steps
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
    scale = altair().Scale(type=histogram.scale, domain=(steps[0].start, steps[-1].stop), nice=False)
    drawn = tipped(
        bars,
        x=altair().X("start:Q", title=histogram.x, bin="binned", scale=scale),
        x2="stop:Q",
        y=altair().Y("count:Q", title=histogram.y, axis=altair().Axis(values=whole, format="d")),
    )
    fit = altair().AutoSizeParams(type="fit", contains="padding")
    size = {"width": histogram.width, "height": histogram.height}
    return finished(drawn.properties(autosize=fit, **size), histogram.title, tables)


def spec_of(drawing: Chart | Histogram | Spec) -> Spec:
    """Return the specification of a drawing; one that is a specification already stays as it is."""
    if isinstance(drawing, Chart):
        return chart_spec(drawing)
    return histogram_spec(drawing) if isinstance(drawing, Histogram) else drawing
