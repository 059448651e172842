"""The picture of the checkpoints."""

import xml.etree.ElementTree as ET

from evaluation.report.checkpoint_svg import Checkpoint, checkpoint_svg

SVG = "{http://www.w3.org/2000/svg}"


def marks(svg: str, tag: str) -> list[ET.Element]:
    """Return the elements of one kind; a picture that is not well-formed fails here."""
    return [element for element in ET.fromstring(svg).iter() if element.tag.removeprefix(SVG) == tag]


def test_columns_show_the_checkpoints_of_any_network_and_fill_those_used():
    places = [("site", 0, 64), ("site", 1, 64), ("edge", 0, 32), ("edge", 3, 32)]
    made = [Checkpoint("net", f"{k}_{d}", k, d, width, is_used=d == 1) for k, d, width in places]
    drawn = checkpoint_svg(made)
    rects = marks(drawn, "rect")
    assert [rect.get("class") for rect in rects] == ["kind-0", "kind-0 used", "kind-1", "kind-1"]
    assert len({rect.get("x") for rect in rects}) == 2
    said = [text.text for text in marks(drawn, "text")]
    assert {"site", "edge", "0", "3", "depth ↓ · 32 or 64 numbers each"} <= set(said)
    assert "The 4 checkpoints" in drawn
