"""Drawings inside of the page: where marks lie, and that names are text."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.report.drawings import Chart, Histogram, Mark, Series, Step
from evaluation.report.inline_svg import chart, draw, histogram, parity
from evaluation.report.points import Point

HOSTILE = "\"><script>alert(1)</script>'&\u202e"


def circles(drawn: str) -> list[tuple[float, float]]:
    """Return where the circles lie; a drawing that is not well-formed fails here."""
    found = [e for e in ElementTree.fromstring(drawn).iter() if e.tag.rpartition("}")[2] == "circle"]
    return [(float(e.get("cx")), float(e.get("cy"))) for e in found]


def box(drawn: str) -> tuple[float, float]:
    return tuple(map(float, ElementTree.fromstring(drawn).get("viewBox").split()[2:]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=30))
def test_points_lie_inside_and_larger_is_higher(pairs):
    drawn = parity([Point(str(i), a, b) for i, (a, b) in enumerate(pairs)], "eV")
    width, height = box(drawn)
    assert all(0 < x < width and 0 < y < height for x, y in circles(drawn))
    assert len(circles(drawn)) == min(len(pairs), 10)


def test_exact_predictions_lie_on_the_diagonal_and_the_worst_bear_numbers():
    drawn = parity([Point("a", 0.0, 0.0), Point("b", 10.0, 10.0), Point("c", 5.0, 9.0)], "eV")
    assert 'data-tip="1. c: actual 5, predicted 9 eV"' in drawn
    (x0, y0), (x1, y1) = circles(drawn)[:2]  # the last drawn are the worst
    assert abs(x1 - x0) == pytest.approx(abs(y1 - y0), abs=0.11)


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis():
    marks = tuple(Mark(x, 1.0, str(x)) for x in (10, 100, 1000, -1))  # the last is left out
    (a, _), (b, _), (c, _) = circles(chart(Chart("t", "x", "y", (Series("a", marks),), x_scale="log")))
    assert b - a == pytest.approx(c - b, abs=0.2)


def test_series_are_named_where_there_are_several():
    series = tuple(Series(name, (Mark(1, 1.0, "a", 0.5, 2.0), Mark(2, 2.0, "b"))) for name in ("one", "two"))
    drawn = chart(Chart("t", "x", "y", series))
    assert ">one</text>" in drawn
    assert {'class="s0"', 'class="s1"', 'class="i s0"'} <= {
        f'class="{p[: p.index(chr(34))]}"' for p in drawn.split('class="')[1:]
    }
    assert ">one</text>" not in chart(Chart("t", "x", "y", series[:1]))


@pytest.mark.parametrize("marks", [(), (Mark(5, 5.0, "one"),)])
def test_none_or_one_mark_can_be_drawn(marks):
    for scale in ("linear", "log"):
        drawn = chart(Chart("t", "x", "y", (Series("a", marks),), scale, scale))
        assert len(circles(drawn)) == len(marks)


def test_names_are_text_and_short_enough():
    long = HOSTILE + "x" * 300
    series = Series(long, (Mark(1, 1.0, long), Mark(2, 2.0, "b")))
    for drawn in (
        draw(Chart(long, long, long, (series, series))),
        histogram(Histogram(long, long, (Step(0, 1, 2), Step(1, 2, 0)), long)),
        parity([Point(long, 1.0, 2.0)], long),
    ):
        assert "<script" not in drawn
        texts = [
            e.text or "" for e in ElementTree.fromstring(drawn).iter() if e.tag.rpartition("}")[2] == "text"
        ]
        assert max(map(len, texts)) <= 46
