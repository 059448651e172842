"""Drawings as SVG inside of the page: small, quick, and in the colours of its style sheet.

A drawing of Vega takes about a tenth of a second, and a page of a hundred properties has hundreds of them.
Names are shortened where they would not fit; the page says them in full beside the drawing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from core.text import number
from evaluation.report.drawings import Chart, Histogram, Scale, Series, domain_of, log_ticks, ticks
from evaluation.report.points import WORST_POINTS, Point, by_error, thin
from evaluation.report.vega_files import inline
from evaluation.report.vega_look import Spec

_WIDTH, _HEIGHT = 340, 250  # drawing units
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 8, 38
_LINE = 15  # of the legend
_LETTERS = 46  # that fit across
_COLOURS = 5  # classes s0 to s4 of the style sheet


@dataclass(frozen=True, slots=True)
class _Axis:
    """A scale from values to drawing units, with its ticks."""

    low: float
    high: float
    start: float
    stop: float
    scale: Scale = "linear"

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.scale == "log":
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / ((high - low) or 1.0)
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self) -> list[float]:
        """Return round numbers; a logarithmic axis of less than a decade may have too few of its own."""
        found = log_ticks(self.low, self.high) if self.scale == "log" else []
        return found if len(found) > 2 else ticks(self.low, self.high, 4)


def draw(drawing: Chart | Histogram | Spec) -> str:
    """Draw a figure for the page; those that are Vega-Lite specifications are drawn by Vega."""
    if isinstance(drawing, Chart):
        return chart(drawing)
    return histogram(drawing) if isinstance(drawing, Histogram) else inline(drawing)


def chart(of: Chart) -> str:
    """Draw curves and dots; each series has its colour and its stroke, and a name where there are several."""
    series = of.visible()
    legend = series if len(series) > 1 else []
    (x_low, x_high), (y_low, y_high) = of.domains()
    top = _TOP + _LINE * len(legend)
    height = _HEIGHT + _LINE * len(legend)
    x = _Axis(x_low, x_high, _LEFT, _WIDTH - _RIGHT, of.x_scale)
    y = _Axis(y_low, y_high, height - _BOTTOM, top, of.y_scale)
    parts = _frame(x, y, of.x, of.y)
    parts += [
        f'<path class="s{i % _COLOURS}" d="M{_LEFT} {_TOP + _LINE * i + 4}h14"/>'
        f'<text class="k" x="{_LEFT + 19}" y="{_TOP + _LINE * i + 8}">{_short(s.name)}</text>'
        for i, s in enumerate(legend)
    ]
    if of.zero:
        parts.append(f'<path class="z" d="M{x.start} {y(0)}H{x.stop}"/>')
    for i, s in enumerate(series):
        parts += _series(s, i % _COLOURS, x, y)
    return _whole("curves", height, f"{of.title}: {of.y} against {of.x}", parts)


def _series(of: Series, colour: int, x: _Axis, y: _Axis) -> list[str]:
    floor = y.low if y.scale == "log" else -math.inf
    parts = []
    for mark in of.marks:
        if mark.low is not None and mark.high is not None:
            ends = f"M{x(mark.x)} {y(max(mark.low, floor))}V{y(mark.high)}"
            parts.append(f'<path class="i s{colour}" d="{ends}"/>')
    if of.line and len(of.marks) > 1:
        line = "L".join(f"{x(mark.x)} {y(mark.y)}" for mark in of.marks)
        parts.append(f'<path class="s{colour}" d="M{line}"/>')
    parts += [
        f'<circle class="s{colour}" cx="{x(mark.x)}" cy="{y(mark.y)}" r="3" data-tip={quoteattr(mark.tip)}/>'
        for mark in of.marks
    ]
    return parts


def histogram(of: Histogram) -> str:
    """Draw counts over steps."""
    steps = of.steps
    x = _Axis(steps[0].start, steps[-1].stop, _LEFT, _WIDTH - _RIGHT, of.scale)
    top = max(step.count for step in steps)
    y = _Axis(0, top * 1.05 or 1, _HEIGHT - _BOTTOM, _TOP)
    parts = _frame(x, y, of.x, of.y, [tick for tick in y.ticks() if tick == int(tick)])
    bars = "".join(
        f"M{x(step.start)} {y(0)}V{y(step.count)}H{x(step.stop)}V{y(0)}z" for step in steps if step.count
    )
    if steps[0].start < 0 < steps[-1].stop and of.scale == "linear":
        parts.append(f'<path class="z" d="M{x(0)} {y.start}V{y.stop}"/>')
    parts.append(f'<path class="b" d="{bars}"/>')
    return _whole("histogram", _HEIGHT, f"{of.title}: {of.y} against {of.x}", parts)


def parity(points: Sequence[Point], unit: str) -> str:
    """Draw predicted against actual, both in `unit`, on one scale; the worst bear numbers, 1 the worst."""
    values = [v for point in points for v in (point.actual, point.predicted)] or [0.0, 1.0]
    low, high = domain_of(values, "linear")
    height = _WIDTH - _LEFT - _RIGHT + _TOP + _BOTTOM  # a square
    x, y = _Axis(low, high, _LEFT, _WIDTH - _RIGHT), _Axis(low, high, height - _BOTTOM, _TOP)
    said = "" if unit == "dimensionless" else f" {unit}"
    kept = thin(points)
    worst = [kept[i] for i in by_error(kept)[:WORST_POINTS]]
    named = {id(point) for point in worst}
    dots = "".join(f"M{x(p.actual)} {y(p.predicted)}h0" for p in kept if id(p) not in named)
    name = "dimensionless" if unit == "dimensionless" else unit
    parts = _frame(x, y, f"actual ({name})", f"predicted ({name})")
    parts.append(f'<path class="z" d="M{x(low)} {y(low)}L{x(high)} {y(high)}"/><path class="d" d="{dots}"/>')
    for i, point in reversed(list(enumerate(worst, 1))):
        at_x, at_y = x(point.actual), y(point.predicted)
        side = -13 if at_x > _WIDTH - 40 else 5
        tip = f"{i}. {point.name}: actual {number(point.actual)}, predicted {number(point.predicted)}{said}"
        parts.append(
            f'<circle class="w" cx="{at_x}" cy="{at_y}" r="3" data-tip={quoteattr(tip)}/>'
            f'<text class="w" x="{at_x + side:.1f}" y="{at_y - 3:.1f}">{i}</text>'
        )
    return _whole("parity", height, "predicted against actual", parts)


def _frame(x: _Axis, y: _Axis, below: str, beside: str, up: Sequence[float] | None = None) -> list[str]:
    """Draw ticks, their grid, and the names of the axes."""
    across, upward = x.ticks(), y.ticks() if up is None else up
    grid = "".join(f"M{x(t)} {y.stop}V{y.start}" for t in across)
    grid += "".join(f"M{x.start} {y(t)}H{x.stop}" for t in upward)
    parts = [f'<path class="g" d="{grid}"/>']
    shown = [t for i, t in enumerate(across) if not _crowded(x, across[: i + 1])]
    below_it = "".join(f'<text x="{x(t):g}" y="{y.start + 13:g}">{number(t, 3)}</text>' for t in shown)
    beside_it = "".join(f'<text x="{x.start - 5}" y="{y(t) + 4:g}">{number(t, 3)}</text>' for t in upward)
    parts.append(f'<g class="x">{below_it}</g><g class="y">{beside_it}</g>')
    middle = round((y.start + y.stop) / 2)
    parts.append(
        f'<g class="t"><text x="{round((x.start + x.stop) / 2)}" y="{y.start + 30:g}">{_short(below)}</text>'
        f'<text transform="rotate(-90)" x="{-middle}" y="11">{_short(beside, 36)}</text></g>'
    )
    return parts


def _crowded(x: _Axis, so_far: Sequence[float]) -> bool:
    """Tell whether the last tick's number would touch the one before it."""
    if len(so_far) < 2:
        return False
    before, last = so_far[-2:]
    letters = (len(number(before, 3)) + len(number(last, 3))) / 2
    return abs(x(last) - x(before)) < 6.2 * letters


def _short(text: str, letters: int = _LETTERS) -> str:
    return escape(text if len(text) <= letters else f"{text[: letters - 1]}…")


def _whole(kind: str, height: float, said: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="plot {kind}" viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label={quoteattr(said)}>'
        f"{''.join(parts)}</svg>"
    )
