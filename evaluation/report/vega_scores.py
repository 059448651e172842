"""Figures of test scores by altair, for files: predicted against actual, and errors as parts of Base's."""

from collections.abc import Sequence
from typing import Any

from core.text import number
from evaluation.report.drawings import domain_of
from evaluation.report.points import Bar, Point, ratio_limit, thin
from evaluation.report.templates import colours
from evaluation.report.vega_look import (
    Spec,
    Tables,
    altair,
    finished,
    no_frame,
    plain_axis,
    rows_of,
    tipped,
)


def _parity(tables: Tables, unit: str, points: Sequence[Point]) -> Any:
    """Draw predicted against actual, both in `unit`, on one scale."""
    values = [v for point in points for v in (point.actual, point.predicted)] or [0.0, 1.0]
    low, high = domain_of(values, "linear")
    said = "" if unit == "dimensionless" else f" {unit}"
    rows = [
        {
            "actual": p.actual,
            "predicted": p.predicted,
            "tip": f"{p.name}: actual {number(p.actual)}, predicted {number(p.predicted)}{said}",
        }
        for p in thin(points)
    ]
    scale = altair().Scale(domain=(low, high), nice=False, zero=False)
    # all plots have their frame at one place, whatever numbers stand beside it
    across, up = plain_axis((low, high), tickCount=4), plain_axis((low, high), tickCount=4, minExtent=42)
    x = altair().X("actual:Q", title=f"actual ({unit})", scale=scale, axis=across)
    y = altair().Y("predicted:Q", title=f"predicted ({unit})", scale=scale, axis=up)
    ends = rows_of(tables, [{"actual": v, "predicted": v} for v in (low, high)])
    ideal = ends.mark_line(strokeWidth=1, strokeDash=[4, 3], color=colours()["muted"])
    dots = rows_of(tables, rows).mark_circle(
        size=36, color=colours()["accent"], fillOpacity=0.62, opacity=1, aria=True
    )
    return altair().layer(ideal.encode(x=x, y=y), tipped(dots, x=x, y=y)).properties(width=236, height=236)


def parity_spec(title: str, unit: str, points: Sequence[Point]) -> Spec:
    """Draw predicted against actual as a figure of its own."""
    tables: Tables = {}
    drawn = _parity(tables, unit, points)
    return finished(drawn, f"{title}: predicted against actual, {unit}", tables)


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
    x = {
        "scale": altair().Scale(domain=(0, top), nice=False),
        "title": "test MAE / Base MAE (ratio; Base = 1)",
    }
    x["axis"] = altair().Axis(format="~f", tickCount=4)
    y = altair().Y("row:O", axis=None)
    base = rows_of(tables, rows)
    fill = altair().condition("datum.worse", altair().value(c["second"]), altair().value(c["accent"]))
    upper = {"yOffset": -13, "baseline": "middle"}
    layers = [
        tipped(base.mark_bar(height=11, yOffset=5, aria=True), x=altair().X("ratio:Q", **x), y=y, color=fill),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=1.3, yOffset=5, color=c["ink"])
        .encode(x=altair().X("low:Q", **x), x2="high:Q", y=y),
        base.mark_tick(thickness=2, height=15, yOffset=5, color=c["second"]).encode(
            x=altair().X("one:Q", **x), y=y
        ),
        base.mark_text(align="left", fontSize=13, color=c["ink"], **upper).encode(
            x=altair().X("zero:Q", **x), y=y, text="label:N"
        ),
        base.mark_text(align="right", xOffset=-50, fontSize=11.5, color=c["muted"], **upper).encode(
            x=altair().X("end:Q", **x), y=y, text="note:N"
        ),
        base.mark_text(align="right", fontSize=13, fontWeight="bold", color=c["ink"], **upper).encode(
            x=altair().X("end:Q", **x), y=y, text="figure:N"
        ),
    ]
    return altair().layer(*layers).properties(width=width, height=altair().Step(40), view=no_frame())


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
    notes = altair().TitleParams(
        list(footnotes),
        orient="bottom",
        fontSize=12,
        fontWeight="normal",
        color=colours()["muted"],
        offset=16,
    )
    beside = altair().hconcat(*drawn, side, spacing=28).properties(title=notes)
    head = altair().TitleParams(headline, fontSize=18, offset=16)
    return finished(altair().vconcat(beside).properties(title=head, padding=24), headline, tables)
