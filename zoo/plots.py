"""Small hand-made SVG pictures: parity plots, bars of test MAE over Base, the checkpoint column.

Geometry is worked out here, marks are drawn by the templates; colours come from the page's (or
the picture's) style sheet, so that one drawing serves light and dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_POINTS = 300  # a plot; keeps the page of a hundred targets small enough to mail
WORST_POINTS = 10  # of them always the largest errors: what one wants to look at


@dataclass(frozen=True, slots=True)
class Point:
    """One test entry: what it is called, its target and its prediction in the target's unit."""

    name: str
    actual: float
    predicted: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One target's test MAE divided by Base's, with the interval on the same scale."""

    label: str
    ratio: float
    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale from `low` … `high` (data) to `start` … `stop` (drawing units)."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Place `value`, to a tenth of a drawing unit.

        >>> Axis(0, 10, 50, 250).at(5)
        150.0
        """
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start), 1)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Place and name about `count` round numbers within the axis.

        >>> [name for _, name in Axis(0, 1.13, 0, 100).ticks()]
        ['0', '0.25', '0.5', '0.75', '1']
        """
        step = nice_step((self.high - self.low) / max(count, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(self.at(i * step), number(i * step, 6)) for i in range(first, last + 1)]


def nice_step(raw: float) -> float:
    """Round a tick distance up to 1, 2, 2.5 or 5 times a power of ten.

    >>> nice_step(0.226), nice_step(60), nice_step(7)
    (0.25, 100.0, 10.0)
    """
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= raw * (1 - 1e-9))


def number(value: float | None, digits: int = 4) -> str:
    """Write a number for people: `digits` significant digits, no trailing zeros, true minus.

    >>> number(-0.123456), number(406.5612), number(12345678.0), number(0.0), number(None)
    ('−0.1235', '406.6', '1.235e7', '0', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        text = f"{float(text):.0f}" if 0 <= int(exponent) <= 6 else f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−") if value else "0"


def thin(points: Sequence[Point], limit: int = SHOWN_POINTS, worst: int = WORST_POINTS) -> list[Point]:
    """Keep at most `limit` points: the `worst` largest errors and a fixed-seed draw of the others.

    >>> kept = thin([Point(str(i), 0.0, float(i)) for i in range(1000)], limit=20, worst=3)
    >>> len(kept), {"997", "998", "999"} <= {point.name for point in kept}
    (20, True)
    """
    if len(points) <= limit:
        return list(points)
    errors = np.array([abs(point.actual - point.predicted) for point in points])
    order = np.argsort(-errors, kind="stable")
    others = np.random.default_rng(0).choice(order[worst:], limit - worst, replace=False)
    keep = sorted([*order[:worst].tolist(), *others.tolist()])
    return [points[i] for i in keep]


@cache
def environment() -> "jinja2.Environment":
    """Give the template environment: everything escaped, an unknown name is an error."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["number"] = number
    return env


def parity_svg(title: str, unit: str, points: Sequence[Point]) -> str:
    """Draw predicted against actual, both in `unit`, on one scale; hovering names the entry."""
    values = [v for point in points for v in (point.actual, point.predicted)] or [0.0, 1.0]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin
    # wide tick names ("−1.235e7") push the frame to the right
    across = Axis(low, high, 0, 1)
    left = 34 + 6.2 * max(len(name) for _, name in across.ticks())
    return (
        environment()
        .get_template("parity.svg.jinja")
        .render(
            title=title,
            unit=unit,
            points=thin(points),
            x=Axis(low, high, left, 292),
            y=Axis(low, high, 8 + 292 - left, 8),
            frame=(left, 8, 292 - left),
        )
    )


def ratio_limit(bars: Sequence[Bar]) -> float:
    """Return where the scale of these bars ends, so that several drawings can share it.

    Never below 1, so that Base shows; never above 2, so that one hopeless run does not press the others
    together: it is cut off, with its number written out.

    >>> ratio_limit([Bar("a", 0.5, 0.4, 1.3), Bar("b", 0.1, None, None)])
    1.3
    """
    return min(2.0, max([1.0, *(bar.ratio if bar.high is None else bar.high for bar in bars)]))


def ratio_svg(title: str, bars: Sequence[Bar], top: float | None = None, width: int = 360) -> str:
    """Draw test MAE / Base MAE as bars with their intervals, and Base as the mark at 1.

    `top` ends the scale; by default `ratio_limit(bars)`.
    """
    top = ratio_limit(bars) if top is None else top
    row = 40
    return (
        environment()
        .get_template("ratios.svg.jinja")
        .render(
            title=title,
            bars=bars,
            x=Axis(0, top * 1.04, 8, width - 8),
            width=width,
            row=row,
            bottom=row * len(bars) + 6,
        )
    )


def checkpoint_svg(used: Sequence[str]) -> str:
    """Draw the 23 checkpoints as a column of layers; those in `used` ("atom_8", …) are filled."""
    return (
        environment()
        .get_template("checkpoints.svg.jinja")
        .render(used=frozenset(used), kinds=(("atom", 9), ("bond", 9), ("angle", 5)))
    )


def result_svg(
    headline: str,
    parities: Sequence[tuple[str, str, Sequence[Point]]],
    bars: Sequence[Bar],
    footnotes: Sequence[str] = (),
) -> str:
    """Draw the README's picture: parity plots (title, unit, points) beside the bars; stands alone."""
    from markupsafe import Markup

    # both are drawn by our own templates, which escape every name
    plots = [(title, Markup(parity_svg(title, unit, points))) for title, unit, points in parities]  # noqa: S704
    ratios = Markup(ratio_svg("all targets", bars, width=430))  # noqa: S704
    return (
        environment()
        .get_template("result.svg.jinja")
        .render(headline=headline, plots=plots, bars=ratios, rows=len(bars), footnotes=footnotes)
    )
