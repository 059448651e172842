"""Scores by target: one line a property, whatever the number of seeds and folds."""

import csv
import json

import numpy as np
import pytest

from evaluation.evaluate import evaluate
from evaluation.report.answers import summarise
from evaluation.report.contents import gather
from evaluation.report.html import render
from evaluation.report.report import picture
from tests.evaluation.conftest import targets_of

DATASET = "ase_elements"
SHIFTS = (4.0, 5.0, 9.0)  # of the chosen head, by repetition; the first is that of the fixture


def repeat(small, scheme="random", prop="volume"):
    """Add repetitions of a property: seeds 1 and 2 of `random`, or folds 0 to 2 of another scheme."""
    numbers = range(3) if scheme != "random" else range(1, 3)
    for i in numbers:
        place = {"seed": i} if scheme == "random" else {"scheme": scheme, "fold": i}
        name = f"{prop}-{scheme}-{i}"
        small.add_run(f"{name}-mean", prop, "mean", np.full(60, 39.0), val_mae=20.0, **place)
        small.add_run(f"{name}-svr", prop, "svr", targets_of(prop) + SHIFTS[i], val_mae=1.0, **place)


def read(small):
    evaluate(small.params, small.store, small.root)
    metrics = json.loads((small.root / "metrics.json").read_text(encoding="utf-8"))[DATASET]
    with (small.root / "plots/scores.csv").open(newline="", encoding="utf-8") as file:
        return metrics, list(csv.DictReader(file))


def page_of(small):
    evaluate(small.params, small.store, small.root)
    return gather(small.params, small.store, small.root / "plots/parity.csv", small.root / "params.yaml")


def test_seeds_become_one_line_with_mean_and_deviation(small):
    repeat(small)
    metrics, bars = read(small)
    assert list(metrics["volume"]) == ["random"]
    found = metrics["volume"]["random"]
    assert (found["mae"], found["mae_sd"]) == (6.0, pytest.approx(np.std(SHIFTS, ddof=1), rel=1e-5))
    assert (found["repetitions"], found["n"], bars[1]["head"]) == (3, 30, "svr, ridge")
    assert found["base_mae"] == 70.0
    assert found["ratio"] == pytest.approx(np.mean(SHIFTS) / 70, rel=1e-5)
    assert found["mae_low"] < 6.0 < found["mae_high"]
    assert [(row["target"], row["split"]) for row in bars] == [
        ("ase_elements bulk_modulus", "random-0"),
        ("ase_elements volume", "random"),
    ]


def numbers_in(found):
    """Every value that lies in nested mappings."""
    if isinstance(found, dict):
        return [value for inner in found.values() for value in numbers_in(inner)]
    return [found]


def test_there_are_numbers_in_metrics_and_nothing_else(small):
    repeat(small)
    metrics, bars = read(small)
    assert {type(value) for value in numbers_in(metrics)} <= {int, float}
    assert metrics["volume"]["random"]["seen"] == 0
    assert [(row["unit"], row["method"], row["label"]) for row in bars] == [
        ("GPa", "features", ""),
        ("Å³/atom", "features", ""),
    ]


def test_a_single_repetition_stays_as_it_was(small):
    before, _ = read(small)
    repeat(small)
    after, _ = read(small)
    assert after["bulk_modulus"] == before["bulk_modulus"]
    assert "mae_sd" not in before["volume"]["random-0"]


def test_ways_of_splitting_are_told_apart_and_not_averaged(small):
    repeat(small, "kfold")
    metrics, bars = read(small)
    assert sorted(metrics["volume"]) == ["kfold", "random-0"]
    assert metrics["volume"]["kfold"]["mae"] == 6.0
    assert metrics["volume"]["random-0"]["mae"] == 4.0
    names = [row["target"] for row in bars if row["property"] == "volume"]
    assert sorted(names) == ["ase_elements volume, kfold", "ase_elements volume, random"]


def test_the_page_has_a_line_a_property(small):
    repeat(small)
    repeat(small, prop="bulk_modulus")
    page = page_of(small)
    assert len(page.targets) == 2
    facts = summarise(page.answers)
    assert (facts.properties, facts.rated) == (2, 2)
    html = render(page)
    assert "of 2 properties worth using" in html
    table = html[html.index('id="t-scores"') :]
    table = table[: table.index("</table>")]
    assert table.count("<tr") == 3
    assert "6 ± 2.6" in table
    assert "random-1" not in table
    assert html.count('class="plot parity"') == 2
    (bar,) = [t.bar("x") for t in page.targets if t.chosen.prop == "volume"]
    assert bar.ratio == pytest.approx(6 / 70)
    assert "3 repetitions" in bar.note
    assert "3 repetitions" in picture(page, [(DATASET, "volume")])


def test_a_property_that_is_split_in_two_ways_is_counted_once(small):
    repeat(small, "kfold")
    page = page_of(small)
    assert summarise(page.answers).properties == 2
    html = render(page)
    assert ", kfold</span>" in html[html.index('id="t-scores"') :]
    assert "kfold-0" not in html[: html.index('id="provenance"')]
    assert "2 of 2</strong> properties" in html
    assert html.count('<details class="property"') == 2
    assert "By other ways of splitting: kfold" in html


def test_folds_of_the_first_seed_are_drawn_together(small):
    repeat(small, "kfold")
    page = page_of(small)
    (target,) = [t for t in page.targets if t.chosen.scheme == "kfold"]
    assert len(page.points_of(target)) == 30
    repeat(small)
    page = page_of(small)
    (target,) = [t for t in page.targets if t.chosen.prop == "volume" and t.chosen.scheme == "random"]
    assert len(page.points_of(target)) == 10
