"""How many more values a smaller error would take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.learning import Rung
from evaluation.report.more_values import LearningCurve, curves, steepness


@given(st.floats(0.05, 2), st.floats(0.1, 100))
def test_the_steepness_of_a_power_is_its_exponent(b, scale):
    assert steepness([(n, scale * n**-b) for n in (10, 20, 40, 80)]) == pytest.approx(b)


def test_the_answer_is_a_sentence():
    falling = LearningCurve(((25, 4.0), (100, 2.0), (400, 1.0)), "eV", 400, is_stand_in=True)
    assert falling.factor == pytest.approx(0.8**-2)
    assert falling.answer == "20\xa0% less error would take about 220 more values, 1.6 times as many as now."
    flat = LearningCurve(((25, 1.0), (100, 1.0), (400, 0.99)), "eV", 400, is_stand_in=True)
    assert flat.factor is None
    assert "will hardly help" in flat.answer
    rising = LearningCurve(((25, 1.0), (100, 1.1), (400, 1.2)), "eV", 400, is_stand_in=True)
    assert rising.factor is None


def test_repetitions_of_a_split_are_averaged():
    rungs = [
        Rung("d", "p", split, rows, mae)
        for split, more in (("kfold-0", 0.0), ("kfold-0-1", 2.0))
        for rows, mae in ((10, 4.0 + more), (20, 3.0 + more), (40, 2.0 + more))
    ]
    found = curves(rungs, (), {("d", "p"): (["kfold-0", "kfold-0-1"], "eV", 50), ("d", "q"): (["x"], "", 1)})
    assert found == {("d", "p"): LearningCurve(((10, 5.0), (20, 4.0), (40, 3.0)), "eV", 50, is_stand_in=True)}
