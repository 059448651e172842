"""The figure of the search over layers: what it counts, and what it draws."""

import pytest

pytest.importorskip("vl_convert")

from evaluation.report.searched import layers_spec, searched
from evaluation.report.targets import Run
from evaluation.report.vega_files import inline


def run(feature_set, head, val_mae, cv_mae=None, **changes):
    facts = {
        "run_id": "r",
        "dataset": "mine",
        "prop": "band_gap",
        "unit": "eV",
        "split": "random, seed 0",
        "label": "",
        "parts": (8, 1, 1),
        "train_mae": 0.1,
        "seconds": 1.0,
    }
    facts |= {"feature_set": feature_set, "head": head, "val_mae": val_mae, "cv_mae": cv_mae}
    return Run(**(facts | changes))


def test_the_best_head_of_each_set_counts_by_its_folds():
    runs = [
        run("a/last", "svr", 9.0, cv_mae=0.4),
        run("a/last", "mlp", 1.0, cv_mae=0.5),
        run("a/all", "svr", 1.0, cv_mae=0.6),
        run("a/all", "nn17", 0.01),  # not cross-validated: its error is another
        run("a/all", "forest", 0.01, cv_mae=0.01, competes=False),
        run("", "mean", 0.01, cv_mae=0.01, competes=False),
    ]
    assert searched(runs) == {"mine: band gap": {"a/last": (0.4, "svr"), "a/all": (0.6, "svr")}}


def test_without_folds_the_validation_part_counts_and_repetitions_are_averaged():
    first, second = run("a/last", "svr", 0.2), run("a/last", "svr", 0.4, split="random, seed 1")
    runs = [first, second, run("b/all", "svr", 0.6)]
    (sets,) = searched(runs).values()
    assert sets["a/last"] == (pytest.approx(0.3), "svr")


def test_a_property_with_one_set_has_nothing_to_show():
    assert searched([run("a/last", "svr", 0.2), run("a/last", "mlp", 0.3)]) == {}


def test_cells_say_property_set_error_and_head():
    drawn = inline(layers_spec({"mine: <gap>": {"a/last": (0.4, "svr"), "a/all+b/all": (0.5, "mlp")}}))
    assert "mine: &lt;gap&gt; from a/all+b/all: 0.5 (mlp), 1.25 × the best" in drawn
    assert ">1.25<" in drawn
    assert "<gap>" not in drawn
