"""Drawings: what the page and the files hold, and that names are text."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from evaluation.report.drawings import Chart, Histogram, Mark, Series, Step
from evaluation.report.points import Bar, Point
from evaluation.report.vega_charts import chart_spec, histogram_spec
from evaluation.report.vega_files import alone, inline, png, svg
from evaluation.report.vega_ranks import ranks_spec
from evaluation.report.vega_scores import parity_spec, result_spec

HOSTILE = '"><script>alert(1)</script>'


PLACE = re.compile(r"translate\(([^,]+),([^)]+)\)")


def tipped(drawn: str) -> dict[str, ElementTree.Element]:
    """Return the marks by their tips; a drawing that is not well-formed fails here."""
    inside = list(ElementTree.fromstring(drawn).iter())[1:]
    return {mark.get("aria-label"): mark for mark in inside if mark.get("aria-label") is not None}


def places(drawn: str) -> list[tuple[float, float]]:
    """Return where the marks with tips lie."""
    return [tuple(map(float, PLACE.match(mark.get("transform")).groups())) for mark in tipped(drawn).values()]


def test_dots_lie_where_they_belong_and_say_what_they_are():
    drawn = inline(parity_spec("x", "eV", [Point(f"e{i}", float(i), float(i)) for i in range(3)]), "parity")
    (x0, y0), (x1, y1), (x2, y2) = places(drawn)
    assert next(iter(tipped(drawn))) == "e0: actual 0, predicted 0 eV"
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y0 - y1 == pytest.approx(x1 - x0, abs=0.11)  # larger is higher, and exact ones lie on the diagonal
    assert y1 - y2 == pytest.approx(y0 - y1, abs=0.11)


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis():
    marks = tuple(Mark(x, 1.0, str(x)) for x in (10, 100, 1000))
    drawn = chart_spec(Chart("t", "x", "y", (Series("a", tuple(marks)),), x_scale="log"))
    (a, _), (b, _), (c, _) = places(inline(drawn))
    assert b - a == pytest.approx(c - b, abs=0.2)


def test_bars_carry_tips_and_follow_the_page():
    drawn = inline(result_spec("x", [], [Bar("a", 0.5, 0.4, 0.6), Bar("b", 1.5, None, None)]))
    bars = {tip: mark for tip, mark in tipped(drawn).items() if "test MAE is" in tip}
    assert [tip[:10] for tip in bars] == ["a: test MA", "b: test MA"]
    assert [bar.get("fill") for bar in bars.values()] == ["var(--accent)", "var(--second)"]
    assert not re.search(r"#[0-9a-f]{3,6}", drawn)


def test_names_are_text_and_files_are_xml():
    hostile = Series(HOSTILE, (Mark(1, 1.0, HOSTILE), Mark(2, 2.0, "b")))
    specs = [
        chart_spec(Chart(HOSTILE, HOSTILE, HOSTILE, (hostile, hostile))),
        histogram_spec(Histogram(HOSTILE, HOSTILE, (Step(0, 1, 2), Step(1, 2, 0)))),
        ranks_spec(HOSTILE, [(HOSTILE, 1.0), ("b", 2.0), ("c", 3.0)], 1.5, [[HOSTILE, "b"]]),
        parity_spec(HOSTILE, HOSTILE, [Point(HOSTILE, 1.0, 2.0)]),
        result_spec(HOSTILE, [], [Bar(HOSTILE, 0.5, None, None, HOSTILE)]),
    ]
    for spec in specs:
        for drawn in (inline(spec), svg(spec), alone(spec)):
            assert "<script" not in drawn
            assert ElementTree.fromstring(drawn).tag.removeprefix("{http://www.w3.org/2000/svg}") == "svg"


def test_a_file_for_a_paper_is_drawn_in_light_colours():
    series = tuple(Series(name, (Mark(1, 1.0, "a"), Mark(2, 2.0, "b"))) for name in ("one", "two"))
    spec = chart_spec(Chart("t", "rows (count)", "MAE (eV)", series))
    assert "var(--" not in svg(spec)
    picture = np.asarray(Image.open(io.BytesIO(png(spec, scale=2))).convert("RGB")).reshape(-1, 3)
    seen = {tuple(pixel) for pixel in np.unique(picture, axis=0).tolist()}
    assert {(0x00, 0x72, 0xB2), (0xB8, 0x4A, 0x00)} <= seen  # each series in its colour, on white
    assert (255, 255, 255) in seen


def test_a_picture_stands_alone():
    points = [Point("a", 1.0, 1.1)]
    drawn = alone(result_spec("Title <&", [("one", "eV", points)], [Bar("a", 0.5, None, None)], ["note"]))
    root = ElementTree.fromstring(drawn)
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Title <&", "one", "note", "actual (eV)"} <= texts
    assert "prefers-color-scheme:dark" in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def test_the_same_figure_is_the_same_bytes():
    spec = parity_spec("x", "eV", [Point("a", 1.0, 1.1)])
    assert (inline(spec), svg(spec), png(spec)) == (inline(spec), svg(spec), png(spec))
