"""What all figures share."""

import xml.etree.ElementTree as ET

from evaluation.report.plots import SHOWN_POINTS, Point, checkpoint_svg, thin

SVG = "{http://www.w3.org/2000/svg}"


def marks(svg: str, tag: str) -> list[ET.Element]:
    """Return the elements of one kind; a picture that is not well-formed fails here."""
    return [element for element in ET.fromstring(svg).iter() if element.tag.removeprefix(SVG) == tag]


def test_many_points_are_thinned_alike_each_time():
    points = [Point(str(i), 0.0, float(i % 997)) for i in range(5000)]
    kept = thin(points)
    assert len(kept) == SHOWN_POINTS
    assert kept == thin(points)
    worst = sorted(points, key=lambda point: -point.predicted)[:10]
    assert set(worst) <= set(kept)


def test_column_shows_23_checkpoints_and_fills_those_used():
    rects = marks(checkpoint_svg(["atom_8", "bond_8", "angle_4"]), "rect")
    assert len(rects) == 23
    assert [rect.get("class") for rect in rects if "used" in rect.get("class")] == [
        "atom used",
        "bond used",
        "angle used",
    ]
