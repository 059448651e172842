"""Figures: where marks lie, what is left out, what they say, and that they can be drawn."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.report.charts import (
    Chart,
    Mark,
    Series,
    Step,
    chart_spec,
    histogram_spec,
    log_ticks,
    parity_spec,
    ranks_spec,
    ratio_spec,
    result_spec,
)
from evaluation.report.plots import Bar, Point, ratio_limit

values = st.floats(-1e5, 1e5).map(lambda value: round(value, 6))


def chart(*marks: Mark, **changes) -> dict:
    return chart_spec(Chart("t", "rows (count)", "MAE (eV)", (Series("a", marks),), **changes))


def layers(spec: dict, mark: str) -> list[dict]:
    """Return the layers drawn by one kind of mark, wherever they stand; several may share their rows."""
    found = [spec] if isinstance(spec.get("mark"), dict) and spec["mark"]["type"] == mark else []
    shared = {"data": spec.get("data")}
    for inner in ("layer", "hconcat", "vconcat"):
        found += [layer for part in spec.get(inner, ()) for layer in layers(shared | part, mark)]
    return found


def table(spec: dict, layer: dict) -> list[dict]:
    return spec["datasets"][layer["data"]["name"]]


def rows(spec: dict, mark: str) -> list[dict]:
    return [row for layer in layers(spec, mark) for row in table(spec, layer)]


def domain(spec: dict, axis: str, mark: str = "circle") -> tuple[float, float]:
    low, high = layers(spec, mark)[0]["encoding"][axis]["scale"]["domain"]
    return low, high


@settings(deadline=None, max_examples=20)  # a specification takes longer than a number
@given(st.lists(st.tuples(values, values), max_size=30))
def test_every_point_lies_within_the_frame_and_both_axes_are_one(pairs):
    spec = parity_spec("x", "eV", [Point(str(i), a, b) for i, (a, b) in enumerate(pairs)])
    assert domain(spec, "x") == domain(spec, "y")
    low, high = domain(spec, "x")
    drawn = rows(spec, "circle")
    assert len(drawn) == len(pairs)
    assert all(low < row[name] < high for row in drawn for name in ("actual", "predicted"))


def test_the_diagonal_goes_from_corner_to_corner():
    spec = parity_spec("x", "eV", [Point("a", 1.0, 2.0)])
    ends = rows(spec, "line")
    assert [row["actual"] for row in ends] == [row["predicted"] for row in ends] == list(domain(spec, "x"))


def test_parity_names_units_and_entries():
    spec = parity_spec("modulus", "GPa", [Point("Al", 1.0, 2.5)])
    (dots,) = layers(spec, "circle")
    assert dots["encoding"]["x"]["title"] == "actual (GPa)"
    assert dots["encoding"]["y"]["title"] == "predicted (GPa)"
    assert table(spec, dots)[0]["tip"] == "Al: actual 1, predicted 2.5 GPa"
    plain = parity_spec("share", "dimensionless", [Point("Al", 1.0, 2.5)])
    assert rows(plain, "circle")[0]["tip"] == "Al: actual 1, predicted 2.5"


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
    spec = histogram_spec("t", "change (%)", [Step(-10, 0, 2), Step(0, 10, 3)])
    assert [(row["start"], row["stop"], row["count"]) for row in rows(spec, "bar")] == [
        (-10, 0, 2),
        (0, 10, 3),
    ]
    assert rows(spec, "bar")[0]["tip"] == "−10 to 0: 2"
    assert spec["encoding"]["y"]["axis"]["values"] == [0, 1, 2, 3]  # no half targets


def test_bars_end_at_the_scale_and_worse_than_base_is_marked():
    bars = [Bar("a", 0.5, 0.4, 0.6, "demo"), Bar("b", 1.0, None, None), Bar("d", 9.0, 8.0, 10.0)]
    a, b, d = rows(ratio_spec("x", bars, ratio_limit(bars)), "bar")
    assert [row["ratio"] for row in (a, b, d)] == [0.5, 1.0, 2.0]  # cut off, with its number in words
    assert [row["worse"] for row in (a, b, d)] == [False, True, True]
    assert (a["low"], a["high"], d["low"], d["high"]) == (0.4, 0.6, 2.0, 2.0)
    assert "low" not in b
    assert a["tip"] == "a: test MAE is 0.5 × Base, 95 % interval 0.4 to 0.6 (demo)"
    assert d["tip"].startswith("d: test MAE is 9 × Base")


def test_ranks_have_a_leader_each_and_a_bar_a_group():
    spec = ranks_spec("t", [("a", 1.2), ("b", 2.0), ("c", 2.8)], 1.0, [["a", "b"], ["b", "c"]])
    leaders = rows(spec, "line")
    assert {row["name"]: row["x"] for row in leaders if row["order"] == 0} == {"a": 1.2, "b": 2.0, "c": 2.8}
    cliques = [layer for layer in layers(spec, "rule") if layer["mark"].get("strokeCap") == "round"]
    assert [(row["x"], row["x2"]) for row in table(spec, cliques[0])] == [(1.2, 2.0), (2.0, 2.8)]
    said = {row.get("text") or row.get("name") for row in rows(spec, "text")}
    assert {"critical difference 1", "a", "b", "c"} <= said


def test_the_picture_holds_all_parts():
    points = [Point("a", 1.0, 1.1)]
    bars = [Bar("a", 0.5, None, None)]
    spec = result_spec("Title", [("one", "eV", points), ("two", "GPa", points)], bars, ["note"])
    assert spec["title"]["text"] == "Title"
    assert len(rows(spec, "circle")) == 2
    assert len(rows(spec, "bar")) == 1
    assert spec["vconcat"][0]["title"]["text"] == ["note"]


@given(st.floats(1e-6, 1e6), st.floats(1.5, 1e6))
def test_logarithmic_axes_have_few_ticks_within(low, factor):
    ticks = log_ticks(low, low * factor)
    assert all(low <= tick <= low * factor for tick in ticks)
    assert len(ticks) <= 13
    assert factor < 10 or ticks


def test_ticks_of_many_decades_are_powers_of_ten():
    assert log_ticks(1, 1e4) == [1, 10, 100, 1000, 1e4]
