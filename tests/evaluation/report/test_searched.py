"""What competed for a property: what counts, and in which order."""

import pytest

from evaluation.report.searched import searched, tried
from evaluation.report.targets import Run


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
    assert searched(runs) == {("mine", "band_gap"): {"a/last": (0.4, "svr"), "a/all": (0.6, "svr")}}


def test_without_folds_the_validation_part_counts_and_repetitions_are_averaged():
    first, second = run("a/last", "svr", 0.2), run("a/last", "svr", 0.4, split="random, seed 1")
    runs = [first, second, run("b/all", "svr", 0.6)]
    (sets,) = searched(runs).values()
    assert sets["a/last"] == (pytest.approx(0.3), "svr")


def test_a_property_with_one_set_has_nothing_to_show():
    assert searched([run("a/last", "svr", 0.2), run("a/last", "mlp", 0.3)]) == {}


def test_repetitions_of_what_competed_count_once_and_the_best_comes_first():
    runs = [
        run("a/all", "svr", 0.2, scheme="kfold", split="kfold-0-0"),
        run("a/all", "svr", 0.4, scheme="kfold", split="kfold-0-1"),
        run("a/last", "svr", 0.1, scheme="kfold", split="kfold-0-0", role="chosen", mae=0.5),
    ]
    (found,) = tried(runs).values()
    assert [(one.feature_set, one.repetitions) for one in found] == [("a/last", 1), ("a/all", 2)]
    assert found[1].error == pytest.approx(0.3)
    assert (found[0].role, found[0].mae, found[0].is_folded) == ("chosen", 0.5, False)
