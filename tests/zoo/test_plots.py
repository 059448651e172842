"""Geometry and marks of the hand-made pictures."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.plots import (
    SHOWN_POINTS,
    Axis,
    Bar,
    Point,
    checkpoint_svg,
    nice_step,
    number,
    parity_svg,
    ratio_svg,
    result_svg,
    thin,
)

SVG = "{http://www.w3.org/2000/svg}"
values = st.floats(-1e5, 1e5).map(lambda value: round(value, 6))


def marks(svg: str, tag: str) -> list[ET.Element]:
    """Return the elements of one kind; a picture that is not well-formed fails here."""
    return [element for element in ET.fromstring(svg).iter() if element.tag.removeprefix(SVG) == tag]


@given(st.floats(1e-9, 1e9))
def test_step_is_round_and_at_most_two_and_a_half_times_too_wide(raw):
    step = nice_step(raw)
    assert raw * (1 - 1e-9) <= step <= raw * 2.5
    assert float(f"{step:.2g}") == pytest.approx(step)


@given(values, st.floats(1e-3, 1e5))
def test_ticks_lie_within_the_axis_and_are_enough_to_read_it(low, width):
    axis = Axis(low, low + width, 10, 210)
    ticks = axis.ticks(5)
    assert 2 <= len(ticks) <= 7
    assert all(9.9 <= place <= 210.1 for place, _ in ticks)


@given(st.lists(st.tuples(values, values), max_size=30))
def test_every_point_lies_inside_the_frame(pairs):
    svg = parity_svg("x", "eV", [Point(str(i), a, b) for i, (a, b) in enumerate(pairs)])
    (frame,) = marks(svg, "rect")
    left, top, side = (float(frame.get(name)) for name in ("x", "y", "width"))
    circles = marks(svg, "circle")
    assert len(circles) == len(pairs)
    for circle in circles:
        assert left - 0.2 <= float(circle.get("cx")) <= left + side + 0.2
        assert top - 0.2 <= float(circle.get("cy")) <= top + side + 0.2


def test_exact_predictions_lie_on_the_diagonal():
    svg = parity_svg("x", "eV", [Point(str(i), float(i), float(i)) for i in range(5)])
    (frame,) = marks(svg, "rect")
    left, top, side = (float(frame.get(name)) for name in ("x", "y", "width"))
    for circle in marks(svg, "circle"):
        assert float(circle.get("cx")) - left == pytest.approx(top + side - float(circle.get("cy")), abs=0.2)


def test_parity_names_units_and_entries_and_escapes_them():
    svg = parity_svg("modulus", "GPa <b>", [Point("<script>&", 1.0, 2.0)])
    texts = [element.text for element in marks(svg, "text")]
    assert "actual (GPa <b>)" in texts
    assert "predicted (GPa <b>)" in texts
    (title,) = marks(svg, "title")
    assert title.text == "<script>&: actual 1, predicted 2 GPa <b>"
    assert "<script" not in svg


def test_equal_values_still_have_an_axis():
    assert len(marks(parity_svg("x", "eV", [Point("a", 3.0, 3.0)]), "circle")) == 1


def test_many_points_are_thinned_alike_each_time():
    points = [Point(str(i), 0.0, float(i % 997)) for i in range(5000)]
    kept = thin(points)
    assert len(kept) == SHOWN_POINTS
    assert kept == thin(points)
    worst = sorted(points, key=lambda point: -point.predicted)[:10]
    assert set(worst) <= set(kept)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-2.5, "−2.5"), (1e-9, "1e-9"), (123456.0, "123500"), (None, "–"), (float("nan"), "–")],
)
def test_numbers_are_written_for_people(value, text):
    assert number(value) == text.replace("-", "−")


def test_bars_are_as_long_as_their_ratio_and_worse_than_base_is_marked():
    bars = [
        Bar("a", 0.5, 0.4, 0.6),
        Bar("b", 1.0, None, None),
        Bar("c", 1.5, 1.0, 3.0),
        Bar("d", 9.0, 8.0, 10.0),
    ]
    svg = ratio_svg("x", bars)
    rects = marks(svg, "rect")
    widths = [float(rect.get("width")) for rect in rects]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.3)
    assert widths[3] < 360  # cut at the edge, with its number in words
    assert [rect.get("class") for rect in rects] == ["fill", "worse", "worse", "worse"]
    assert "9 × Base" in marks(svg, "title")[3].text


def test_bars_can_share_a_scale():
    bar = Bar("a", 0.5, None, None)
    alone, shared = (float(marks(ratio_svg("x", [bar], top), "rect")[0].get("width")) for top in (None, 2.0))
    assert alone == pytest.approx(2 * shared, abs=0.2)


def test_column_shows_23_checkpoints_and_fills_those_used():
    rects = marks(checkpoint_svg(["atom_8", "bond_8", "angle_4"]), "rect")
    assert len(rects) == 23
    assert [rect.get("class") for rect in rects if "used" in rect.get("class")] == [
        "atom used",
        "bond used",
        "angle used",
    ]


def test_picture_stands_alone():
    points = [Point("a", 1.0, 1.1)]
    svg = result_svg(
        "Title <&", [("one", "eV", points), ("two", "GPa", points)], [Bar("a", 0.5, None, None)], ["note"]
    )
    texts = [element.text for element in marks(svg, "text")]
    assert {"Title <&", "one", "two", "note", "actual (GPa)"} <= set(texts)
    assert len(marks(svg, "style")) == 1
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
