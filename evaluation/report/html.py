"""The page as HTML: one file that opens from disk and asks the network for nothing."""

from collections.abc import Sequence

from evaluation.report.answers import Answer, summarise
from evaluation.report.checkpoint_svg import checkpoint_svg
from evaluation.report.class_targets import reliability
from evaluation.report.contents import Page
from evaluation.report.experiment_blocks import Drill, drills
from evaluation.report.inline_svg import draw, parity
from evaluation.report.points import SHOWN_POINTS, Bar, ratio_limit
from evaluation.report.templates import environment, policy, sheet
from evaluation.verdict import RULE, Word

SHEETS = ("colours.css", "page.css", "cells.css", "plot.css", "print.css")
TONES = {Word.WORTH: "worth", Word.BARELY: "barely", Word.NOT: "not", Word.UNKNOWN: "unknown"}
SHOWN_REJECTS = 100  # a code; the store has them all


def render(page: Page) -> str:
    """Turn a page into HTML; every name and text from outside is escaped by the templates."""
    from markupsafe import Markup

    widths = "".join(
        f".w{i}{{width:{i}%}}" for i in range(101)
    )  # of bars: the policy lets in no attribute style
    style, script = sheet(SHEETS) + widths, sheet(("page.js",))
    facts = summarise(page.answers, page.classes)
    grouped: dict[str, list[Answer]] = {}
    for answer in page.answers:
        grouped.setdefault(answer.run.dataset, []).append(answer)
    found = drills(page.blocks)
    bars = {answer.key: bar for answer in page.answers if (bar := answer.target.bar(""))}
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            page=page,
            facts=facts,
            grouped=grouped,
            bars=bars,
            top=ratio_limit(list(bars.values())),
            bar_places=bar_places,
            rule=RULE,
            tones=TONES,
            word=Word,
            column=Markup(checkpoint_svg(page.checkpoints)),  # noqa: S704 - its template escapes
            n_used=sum(checkpoint.is_used for checkpoint in page.checkpoints),
            shown=SHOWN_POINTS,
            shown_rejects=SHOWN_REJECTS,
            drills=found,
            drilled={(drill.dataset, drill.property) for drill in found},
            anchor=Drill.anchor,
            # drawn as XML by functions that escape names
            draw=lambda drawing: Markup(draw(drawing)),  # noqa: S704
            parity=lambda points, unit: Markup(parity(points, unit)),  # noqa: S704
            reliability=reliability,
            widest=widest,
            style=Markup(style),  # noqa: S704 - files of the project
            script=Markup(script),  # noqa: S704
            policy=Markup(policy(style, script)),  # noqa: S704 - hashes
        )
    )


def bar_places(bar: Bar, top: float) -> dict[str, float]:
    """Return where a bar and its interval lie on a scale of 100 that ends at `top`."""
    ends = {"ratio": bar.ratio, "one": 1.0, "low": bar.low, "high": bar.high}
    return {name: round(100 * min(end, top) / top, 1) for name, end in ends.items() if end is not None}


def widest(numbers: Sequence[float | None]) -> float:
    """Return the largest number, or 1 where there is none: what bars are drawn against."""
    return max((one for one in numbers if one is not None), default=0.0) or 1.0
