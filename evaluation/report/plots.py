"""What all figures share: points and bars, colours, and the templates."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.text import number

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_POINTS = 150  # a plot; keeps the page of a hundred targets small enough to mail
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
class Checkpoint:
    """A place in a source model where vectors of `width` numbers were read; used: by the runs shown."""

    source: str
    name: str
    kind: str
    depth: int
    width: int
    is_used: bool = False


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


@cache
def colours() -> dict[str, str]:
    """Return the colours of the light page by name; the first rule of its style sheet has them.

    >>> colours()["accent"]
    '#0072b2'
    """
    light = (TEMPLATES / "colours.css").read_text(encoding="utf-8").splitlines()[0]
    return dict(re.findall(r"--(\w+):(#\w+)", light))


def ratio_limit(bars: Sequence[Bar]) -> float:
    """Return where the scale of these bars ends, so that several drawings can share it.

    Never below 1, so that Base shows; never above 2, so that one hopeless run does not press the others
    together: it is cut off, with its number written out.

    >>> ratio_limit([Bar("a", 0.5, 0.4, 1.3), Bar("b", 0.1, None, None)])
    1.3
    """
    return min(2.0, max([1.0, *(bar.ratio if bar.high is None else bar.high for bar in bars)]))


def checkpoint_svg(checkpoints: Sequence[Checkpoint]) -> str:
    """Draw the checkpoints as layers, one column per source model and kind; used ones are filled."""
    columns: dict[tuple[str, str], list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        columns.setdefault((checkpoint.source, checkpoint.kind), []).append(checkpoint)
    sources = [source for source, _ in columns]
    return (
        environment()
        .get_template("checkpoints.svg.jinja")
        .render(
            columns=columns,
            starts={source: sources.index(source) for source in sources},
            deepest=max((checkpoint.depth for checkpoint in checkpoints), default=0),
            widths=sorted({checkpoint.width for checkpoint in checkpoints}),
        )
    )
