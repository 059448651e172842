"""Charts: where marks lie, what is left out, and what they say."""

import math

import pytest

from evaluation.report.drawings import Chart, Histogram, Mark, Series, Step
from evaluation.report.vega_charts import chart_spec, histogram_spec
from tests.evaluation.report.specs import domain, layers, rows


def chart(*marks: Mark, **changes) -> dict:
    return chart_spec(Chart("t", "rows (count)", "MAE (eV)", (Series("a", marks),), **changes))


def test_what_is_not_positive_has_no_place_on_a_logarithmic_axis():
    marks = (Mark(1, 0.0, "zero"), Mark(2, 1.0, "one"), Mark(3, 2.0, "two", low=-1.0, high=3.0))
    spec = chart(*marks, y_scale="log")
    low, high = domain(spec, "y")
    drawn = rows(spec, "circle")
    assert [row["tip"] for row in drawn] == ["one", "two"]
    assert 0 < low < 1
    assert high > 3
    assert drawn[1]["low"] == low  # an interval that reaches 0 goes to the end of the axis


def test_intervals_lie_within_the_axis():
    spec = chart(Mark(1, 1.0, "", 0.5, 2.0), Mark(2, 3.0, "", 2.0, 9.0), zero=True)
    low, high = domain(spec, "y")
    assert low < 0
    assert high > 9


def test_a_mark_without_an_interval_has_no_rule():
    assert all("low" not in row for row in rows(chart(Mark(1, 1.0, "")), "circle"))


@pytest.mark.parametrize("marks", [(), (Mark(5, 5.0, "one"),)])
def test_none_or_one_mark_can_be_drawn(marks):
    for scale in ("linear", "log"):
        spec = chart(*marks, x_scale=scale, y_scale=scale)
        assert len(rows(spec, "circle")) == len(marks)
        assert all(math.isfinite(end) for axis in "xy" for end in domain(spec, axis))


def test_each_series_has_its_colour_and_its_stroke():
    series = tuple(Series(name, (Mark(1, 1.0, "a"), Mark(2, 2.0, "b"))) for name in ("one", "two", "three"))
    spec = chart_spec(Chart("t", "rows (count)", "MAE (eV)", series))
    (lines,) = layers(spec, "line")
    for channel in ("color", "strokeDash"):
        scale = lines["encoding"][channel]["scale"]
        assert scale["domain"] == ["one", "two", "three"]
        assert len({str(value) for value in scale["range"]}) == 3
    assert not layers(
        chart_spec(Chart("t", "x", "y", (Series("a", (Mark(1, 1.0, ""),), line=False),))), "line"
    )


def test_histogram_counts():
    spec = histogram_spec(Histogram("t", "change (%)", (Step(-10, 0, 2), Step(0, 10, 3))))
    assert [(row["start"], row["stop"], row["count"]) for row in rows(spec, "bar")] == [
        (-10, 0, 2),
        (0, 10, 3),
    ]
    assert rows(spec, "bar")[0]["tip"] == "−10 to 0: 2"
    assert spec["encoding"]["y"]["axis"]["values"] == [0, 1, 2, 3]  # no half targets
