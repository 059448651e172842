"""Charts: where marks lie, what is left out, and that names are text."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from zoo.charts import Chart, LogAxis, Mark, Series, Step, alone, chart_svg, histogram_svg, png, ranks_svg

HOSTILE = '"><script>alert(1)</script>'


def chart(*marks: Mark, **changes) -> str:
    return chart_svg(Chart("t", "rows (count)", "MAE (eV)", (Series("a", marks),), **changes))


def circles(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([-\d.]+)" cy="([-\d.]+)"', svg)]


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis():
    (a, _), (b, _), (c, _) = circles(chart(*(Mark(x, 1.0, "") for x in (10, 100, 1000)), x_scale="log"))
    assert b - a == pytest.approx(c - b, abs=0.2)


def test_what_is_not_positive_has_no_place_on_a_logarithmic_axis():
    marks = (Mark(1, 0.0, "zero"), Mark(2, 1.0, "one"), Mark(3, 2.0, "two", low=-1.0, high=3.0))
    svg = chart(*marks, y_scale="log")
    assert len(circles(svg)) == 2
    assert "zero" not in svg


def test_larger_is_higher_and_bounds_lie_within_the_frame():
    svg = chart(Mark(1, 1.0, "", 0.5, 2.0), Mark(2, 3.0, "", 2.0, 9.0), zero=True)
    (_, low), (_, high) = circles(svg)
    assert high < low
    frame = re.search(r'class="frame" x="([\d.]+)" y="(\d+)" width="([\d.]+)" height="(\d+)"', svg)
    top, height = int(frame[2]), int(frame[4])
    for start, stop in re.findall(r'class="bounds" d="M[\d.]+ ([\d.]+)V([\d.]+)"', svg):
        assert top <= float(stop) <= float(start) <= top + height


@pytest.mark.parametrize("marks", [(), (Mark(5, 5.0, "one"),)])
def test_none_or_one_mark_can_be_drawn(marks):
    for scale in ("linear", "log"):
        assert len(circles(chart(*marks, x_scale=scale, y_scale=scale))) == len(marks)


def test_names_are_text_and_files_are_xml():
    hostile = Series(HOSTILE, (Mark(1, 1.0, HOSTILE), Mark(2, 2.0, "b")))
    drawn = [
        chart_svg(Chart(HOSTILE, HOSTILE, HOSTILE, (hostile, hostile))),
        histogram_svg(HOSTILE, HOSTILE, [Step(0, 1, 2), Step(1, 2, 0)]),
        ranks_svg(HOSTILE, [(HOSTILE, 1.0), ("b", 2.0), ("c", 3.0)], 1.5, [[HOSTILE, "b"]]),
    ]
    for svg in drawn:
        assert "<script" not in svg
        root = ElementTree.fromstring(alone(svg))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_a_file_of_its_own_needs_no_style_variables_and_is_drawn_by_others():
    series = tuple(Series(name, (Mark(1, 1.0, "a"), Mark(2, 2.0, "b"))) for name in ("one", "two"))
    whole = alone(chart_svg(Chart("t", "rows (count)", "MAE (eV)", series)))
    assert "var(--" not in whole
    picture = np.asarray(Image.open(io.BytesIO(png(whole, scale=1))).convert("RGB")).reshape(-1, 3)
    seen = {tuple(pixel) for pixel in np.unique(picture, axis=0).tolist()}
    assert {(0x00, 0x72, 0xB2), (0xC2, 0x4E, 0x00)} <= seen  # each series in its colour, on white
    assert (255, 255, 255) in seen


def test_ranks_have_a_leader_each_and_a_bar_a_group():
    svg = ranks_svg("t", [("a", 1.2), ("b", 2.0), ("c", 2.8)], 1.0, [["a", "b"], ["b", "c"]])
    assert svg.count('class="leader"') == 3
    assert svg.count('class="clique"') == 2
    assert "critical difference 1" in svg


def test_ticks_of_many_decades_are_powers_of_ten():
    assert [name for _, name in LogAxis(1, 1e4, 0, 1).ticks()] == ["1", "10", "100", "1000", "10000"]
