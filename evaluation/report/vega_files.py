"""Vega-Lite specifications drawn as SVG and PNG, for the page and as files of their own."""

import re
from xml.sax.saxutils import quoteattr

from core.lazy import need
from evaluation.report.templates import TEMPLATES, colours
from evaluation.report.vega_look import Spec

_HEAD = re.compile(r'<svg [^>]*viewBox="([^"]*)"[^>]*><rect [^>]*/>')
# Vega writes them on every mark, and the drawing as a whole says what they say
_IDLE = re.compile(r' (?:role|aria-roledescription|aria-hidden|pointer-events|class|font-family)="[^"]*"')


def svg(spec: Spec) -> str:
    """Draw a figure as a file of its own, for a paper: light colours, written out, on white."""
    drawn: str = need("vl_convert", "figures").vegalite_to_svg(spec)
    return drawn


def png(spec: Spec, scale: float = 3.0) -> bytes:
    """Draw a figure as PNG, at `scale` pixels a drawing unit."""
    drawn: bytes = need("vl_convert", "figures").vegalite_to_png(spec, scale=scale)
    return drawn


def inline(spec: Spec, kind: str = "chart") -> str:
    """Draw a figure for the page: colours follow its style sheet, and a mark's tip is its `aria-label`."""
    drawn = svg(spec)
    head = _HEAD.match(drawn)
    if head is None:
        raise ValueError(f"vl-convert draws an SVG otherwise than expected: {drawn[:200]}")
    text = _IDLE.sub("", drawn[head.end() :])
    for name, colour in colours().items():
        text = text.replace(f'="{colour}"', f'="var(--{name})"')
    said = quoteattr(spec["description"])
    return f'<svg class="plot {kind}" viewBox="{head[1]}" role="img" aria-label={said}>{text}'


def alone(spec: Spec) -> str:
    """Draw a figure as a file of its own that is light or dark as its reader's screen is."""
    drawn = inline(spec).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    sheet = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("colours.css", "plot.css"))
    style = f'<style>{sheet}</style><rect fill="var(--surface)" width="100%" height="100%"/>'
    box = drawn.partition('viewBox="')[2].partition('"')[0].split()
    start, _, rest = drawn.partition(">")
    return f'{start} width="{box[2]}" height="{box[3]}">{style}{rest}'
