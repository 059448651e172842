"""Figures of test scores: where marks lie, and what they say."""

from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.report.points import Bar, Point
from evaluation.report.vega_scores import parity_spec, result_spec
from tests.evaluation.report.specs import domain, layers, rows, table

values = st.floats(-1e5, 1e5).map(lambda value: round(value, 6))


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


def test_bars_end_at_the_scale_and_worse_than_base_is_marked():
    bars = [Bar("a", 0.5, 0.4, 0.6, "demo"), Bar("b", 1.0, None, None), Bar("d", 9.0, 8.0, 10.0)]
    a, b, d = rows(result_spec("x", [], bars), "bar")
    assert [row["ratio"] for row in (a, b, d)] == [0.5, 1.0, 2.0]  # cut off, with its number in words
    assert [row["worse"] for row in (a, b, d)] == [False, True, True]
    assert (a["low"], a["high"], d["low"], d["high"]) == (0.4, 0.6, 2.0, 2.0)
    assert "low" not in b
    assert a["tip"] == "a: test MAE is 0.5 × Base, 95 % interval 0.4 to 0.6 (demo)"
    assert d["tip"].startswith("d: test MAE is 9 × Base")


def test_the_picture_holds_all_parts():
    points = [Point("a", 1.0, 1.1)]
    bars = [Bar("a", 0.5, None, None)]
    spec = result_spec("Title", [("one", "eV", points), ("two", "GPa", points)], bars, ["note"])
    assert spec["title"]["text"] == "Title"
    assert len(rows(spec, "circle")) == 2
    assert len(rows(spec, "bar")) == 1
    assert spec["vconcat"][0]["title"]["text"] == ["note"]
