"""Diagrams of average ranks."""

from evaluation.report.vega_ranks import ranks_spec
from tests.evaluation.report.specs import layers, rows, table


def test_ranks_have_a_leader_each_and_a_bar_a_group():
    spec = ranks_spec("t", [("a", 1.2), ("b", 2.0), ("c", 2.8)], 1.0, [["a", "b"], ["b", "c"]])
    leaders = rows(spec, "line")
    assert {row["name"]: row["x"] for row in leaders if row["order"] == 0} == {"a": 1.2, "b": 2.0, "c": 2.8}
    cliques = [layer for layer in layers(spec, "rule") if layer["mark"].get("strokeCap") == "round"]
    assert [(row["x"], row["x2"]) for row in table(spec, cliques[0])] == [(1.2, 2.0), (2.0, 2.8)]
    said = {row.get("text") or row.get("name") for row in rows(spec, "text")}
    assert {"critical difference 1", "a", "b", "c"} <= said
