"""Charts of experiments as hand-made SVG: curves, dots, bars, and the critical-difference diagram.

As in plots.py, geometry is worked out here, marks are drawn by templates, and colours come from the page's
style sheet. Colours are told apart by the colour-blind, and every series also has its own stroke.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from etl.lazy import need
from zoo.plots import TEMPLATES, Axis, environment, number

Scale = Literal["linear", "log"]
_LEFT, _TOP, _RIGHT = 8, 8, 12


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
    width: int = 420
    height: int = 280
    x_names: tuple[str, ...] = field(default=())  # of x = 0, 1, 2, … in place of numbers


@dataclass(frozen=True, slots=True)
class LogAxis:
    """A logarithmic scale from `low` … `high` (data, positive) to `start` … `stop` (drawing units)."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Place `value`, to a tenth of a drawing unit.

        >>> LogAxis(1, 100, 0, 200).at(10)
        100.0
        """
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Place and name 1, 2 and 5 times the powers of ten within; the powers alone where these are many.

        >>> [name for _, name in LogAxis(9, 210, 0, 1).ticks()]
        ['10', '20', '50', '100', '200']
        """
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for steps in ((1, 2, 5), (1, 3), (1,)):
            values = [m * 10.0**p for p in range(first, last + 1) for m in steps]
            inside = [v for v in values if self.low * (1 - 1e-9) <= v <= self.high * (1 + 1e-9)]
            if len(inside) <= count:
                break
        return [(self.at(v), number(v, 3)) for v in inside]


def _axis(values: Sequence[float], scale: Scale, start: float, stop: float) -> Axis | LogAxis:
    low, high = min(values), max(values)
    if scale == "log":
        if low == high:
            low, high = low / 2, high * 2
        margin = (high / low) ** 0.06
        return LogAxis(low / margin, high * margin, start, stop)
    margin = 0.06 * (high - low) or abs(high) * 0.06 or 1.0
    return Axis(low - margin, high + margin, start, stop)


def chart_svg(chart: Chart) -> str:
    """Draw a chart; what lies at or below 0 has no place on a logarithmic axis and is left out."""

    def there(mark: Mark) -> bool:
        return (chart.x_scale == "linear" or mark.x > 0) and (chart.y_scale == "linear" or mark.y > 0)

    series = [Series(s.name, tuple(filter(there, s.marks)), s.line) for s in chart.series]
    series = [s for s in series if s.marks]
    xs = [mark.x for s in series for mark in s.marks] or [1.0, 2.0]
    ends = [v for s in series for m in s.marks for v in (m.low, m.y, m.high) if v is not None]
    ys = [v for v in ends if chart.y_scale == "linear" or v > 0] or [1.0, 2.0]
    if chart.zero:
        ys.append(0.0)
    bottom = chart.height - 40
    across = _axis(ys, chart.y_scale, 0, 1)
    left = 30 + 6.2 * max((len(name) for _, name in across.ticks(5)), default=1)
    legend = _legend([s.name for s in series], left, chart.width - _RIGHT) if len(series) > 1 else []
    top = legend[-1][1] + 14 if legend else _TOP
    return (
        environment()
        .get_template("chart.svg.jinja")
        .render(
            chart=chart,
            series=series,
            x=_axis(xs, chart.x_scale, left, chart.width - _RIGHT),
            y=_axis(ys, chart.y_scale, bottom, top),
            left=left,
            right=chart.width - _RIGHT,
            top=top,
            bottom=bottom,
            legend=legend,
        )
    )


def _legend(names: Sequence[str], left: float, right: float) -> list[tuple[float, int, str]]:
    """Place the series' names (x, y) side by side, in as many rows as they need."""
    places, x, y = [], left, 11
    for name in names:
        width = 30 + 6.4 * len(name)
        if x > left and x + width > right:
            x, y = left, y + 16
        places.append((round(x, 1), y, name))
        x += width
    return places


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of a histogram."""

    start: float
    stop: float
    count: int


def histogram_svg(title: str, x: str, steps: Sequence[Step], width: int = 420, height: int = 240) -> str:
    """Draw counts over equal steps."""
    top = max((step.count for step in steps), default=1) or 1
    bottom = height - 40
    return (
        environment()
        .get_template("histogram.svg.jinja")
        .render(
            title=title,
            label=x,
            steps=steps,
            x=Axis(steps[0].start, steps[-1].stop, 44, width - _RIGHT),
            y=Axis(0, top * 1.05, bottom, _TOP),
            width=width,
            height=height,
            bottom=bottom,
            top=_TOP,
        )
    )


def ranks_svg(
    title: str, ranks: Sequence[tuple[str, float]], distance: float, groups: Sequence[Sequence[str]]
) -> str:
    """Draw a critical-difference diagram: ranks (1 is best) on a line, bars over what cannot be told apart.

    ranks: (method, average rank), best first; groups: names of methods that lie within `distance`.
    """
    k = len(ranks)
    width, top = 460, 34 + 10 * len(groups)
    half = math.ceil(k / 2)
    axis = Axis(1, max(k, 2), 90, width - 90)
    of = dict(ranks)
    labels = []
    for i, (name, rank) in enumerate(ranks):
        is_left = i < half
        row = i if is_left else k - 1 - i
        labels.append((name, number(rank, 3), axis.at(rank), top + 22 + 17 * row, is_left))
    bars = [
        (axis.at(min(of[m] for m in group)) - 3, axis.at(max(of[m] for m in group)) + 3, top + 6 + 6 * i)
        for i, group in enumerate(groups)
    ]
    shift = 6 * len(bars)
    return (
        environment()
        .get_template("ranks.svg.jinja")
        .render(
            title=title,
            axis=axis,
            k=k,
            labels=[(n, r, x, y + shift, is_left) for n, r, x, y, is_left in labels],
            bars=bars,
            top=top,
            width=width,
            height=top + shift + 30 + 17 * half,
            distance=number(distance, 3),
            ruler=(axis.at(1), axis.at(1 + distance)),
        )
    )


def alone(svg: str) -> str:
    """Return a chart as a file of its own, for a paper: light colours, written out, on white.

    Drawing programs know no variables in style sheets and no sizes given there, so there are none.
    """
    width, height = _size(svg)
    sized = svg.replace("<svg ", f'<svg width="{width}" height="{height}" ', 1)
    colours = _light()
    sheet = (TEMPLATES / "plot.css").read_text(encoding="utf-8").replace("width:100%;height:auto;", "")
    style = re.sub(r"var\(--(\w+)\)", lambda name: colours[name[1]], sheet)
    return (
        environment()
        .get_template("alone.svg.jinja")
        .render(svg=_markup(sized), size=(width, height), style=_markup(style), paper=colours["surface"])
    )


def png(svg: str, scale: float = 3.0) -> bytes:
    """Draw a figure that stands alone (see `alone`) as PNG, at `scale` pixels a drawing unit."""
    drawn: bytes = need("vl_convert", "figures").svg_to_png(svg, scale=scale)
    return drawn


def _light() -> dict[str, str]:
    """Return the colours of the light page by name; the first rule of the style sheet has them."""
    light = (TEMPLATES / "colours.css").read_text(encoding="utf-8").splitlines()[0]
    return dict(re.findall(r"--(\w+):(#\w+)", light))


def _size(svg: str) -> tuple[str, str]:
    box = svg.partition('viewBox="')[2].partition('"')[0].split()
    return box[2], box[3]


def _markup(svg: str) -> str:
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704 - drawn by our own templates, which escape every name
