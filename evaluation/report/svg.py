"""Vega-Lite specifications drawn as SVG and PNG, for the page and as files of their own."""

import re
from xml.etree import ElementTree

from core.lazy import need
from evaluation.report.charts import Spec
from evaluation.report.plots import TEMPLATES, colours

_SVG = "http://www.w3.org/2000/svg"
_CIRCLE = re.compile(r"M([\d.]+),0A")
_PLACE = re.compile(r"translate\(([^,]+),([^)]+)\)")
_LONG = re.compile(r"-?\d+\.\d\d+")
_SAID = (
    "role",
    "aria-hidden",
    "aria-roledescription",
    "aria-label",
    "pointer-events",
    "class",
    "font-family",
)
_INHERITED = (
    "fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "font-size", "font-weight",
    "text-anchor",
)  # fmt: skip


def svg(spec: Spec) -> str:
    """Draw a figure as a file of its own, for a paper: light colours, written out, on white."""
    drawn: str = need("vl_convert", "figures").vegalite_to_svg(spec)
    return drawn


def png(spec: Spec, scale: float = 3.0) -> bytes:
    """Draw a figure as PNG, at `scale` pixels a drawing unit."""
    drawn: bytes = need("vl_convert", "figures").vegalite_to_png(spec, scale=scale)
    return drawn


def inline(spec: Spec, kind: str = "chart") -> str:
    """Draw a figure for the page: colours follow its style sheet, marks carry their tips, no byte is idle.

    Vega writes all attributes on every mark. Here they stand once, on the group; a dot is a circle; places
    are kept to a tenth of a drawing unit. It makes a plot of many dots less than half as large.
    """
    root = ElementTree.fromstring(svg(spec))  # noqa: S314 - drawn a line above, from our own specification
    width, height = root.get("width", "0"), root.get("height", "0")
    root.remove(root[0])  # the background
    _tidy(root)
    root.attrib = {
        "class": f"plot {kind}",
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-label": spec["description"],
    }
    text = ElementTree.tostring(root, encoding="unicode")
    for name, colour in colours().items():
        text = text.replace(f'="{colour}"', f'="var(--{name})"')
    return text


def alone(spec: Spec) -> str:
    """Draw a figure as a file of its own that is light or dark as its reader's screen is."""
    drawn = inline(spec).replace("<svg ", f'<svg xmlns="{_SVG}" ', 1)
    sheet = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("colours.css", "plot.css"))
    style = f'<style>{sheet}</style><rect fill="var(--surface)" width="100%" height="100%"/>'
    box = drawn.partition('viewBox="')[2].partition('"')[0].split()
    start, _, rest = drawn.partition(">")
    return f'{start} width="{box[2]}" height="{box[3]}">{style}{rest}'


def _tidy(element: ElementTree.Element) -> None:
    """Drop what says nothing, bottom up."""
    element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
    tip = element.get("aria-label") if element.tag in ("path", "text") else None
    for name in _SAID:
        element.attrib.pop(name, None)
    if element.get("opacity") == "1":
        del element.attrib["opacity"]
    _place(element)
    for child in list(element):
        _tidy(child)
        is_nothing = child.tag == "path" and child.get("d") in (None, "", "M0,0h0v0h0Z")
        is_empty = child.tag == "g" and len(child) == 0
        if is_nothing or is_empty or child.get("display") == "none":
            element.remove(child)
    if tip:
        ElementTree.SubElement(element, "title").text = tip
    if element.tag == "g":
        _share(element)


def _place(element: ElementTree.Element) -> None:
    round_ = element.tag == "path" and _CIRCLE.match(element.get("d", ""))
    for name in ("transform", "d", "x2", "y2", "width", "height"):
        if name in element.attrib:
            element.set(name, _LONG.sub(lambda found: f"{float(found[0]):.1f}", element.attrib[name]))
    if element.get("transform") == "translate(0,0)":
        del element.attrib["transform"]
    place = _PLACE.fullmatch(element.get("transform", ""))
    if round_ and place:
        element.tag = "circle"
        del element.attrib["d"], element.attrib["transform"]
        element.attrib |= {"cx": place[1], "cy": place[2], "r": f"{float(round_[1]):.1f}"}


def _share(group: ElementTree.Element) -> None:
    """Move what all marks of a group have in common to the group."""
    for name in _INHERITED:
        values = {child.get(name) for child in group}
        if len(group) > 1 and len(values) == 1 and (value := values.pop()) is not None:
            group.set(name, value)
            for child in group:
                del child.attrib[name]
