"""What stands below the line of a property."""

import numpy as np
import pandas as pd
import pytest

from evaluation.neighbours import Neighbour
from evaluation.report.details import quarters, worst
from evaluation.report.points import Point


def rows(n=40):
    expected = np.linspace(1, 4, n)
    found = pd.DataFrame({"entry_id": [f"e{i}" for i in range(n)], "actual": 0.0, "predicted": expected})
    found = found.assign(
        error=expected, expected_error=expected, low=-1.0, high=3.0, domain="inside", n_atoms=2
    )
    found.loc[0, "low"] = 0.5  # the first is missed
    return found


def test_quarters_go_from_the_easiest_to_the_hardest():
    found = quarters(rows().sample(frac=1, random_state=0))
    assert [one.n for one in found] == [10] * 4
    assert [one.seen for one in found] == sorted(one.seen for one in found)
    assert [one.seen for one in found] == pytest.approx([one.expected for one in found])
    assert [one.inside for one in found] == [0.9, 1.0, 1.0, 1.0]
    assert quarters(rows(10)) == ()
    assert quarters(rows()[["entry_id", "error"]]) == ()


def test_the_worst_come_first_with_their_neighbours_by_distance():
    points = [Point(f"e{i} (Al)", 0.0, 0.0, f"e{i}") for i in range(40)]
    near = [
        Neighbour("d", "p", "random-0", "e39", name, "Al", 1.0, distance)
        for name, distance in (("far", 2.0), ("close", 0.5))
    ]
    found = worst(rows(), points, near)
    assert [one.point.name for one in found[:2]] == ["e39 (Al)", "e38 (Al)"]
    assert len(found) == 10
    assert [one.neighbour for one in found[0].near] == ["close", "far"]
    assert found[1].near == ()
    assert found[0].is_inside is True
