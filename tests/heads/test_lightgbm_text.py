"""LightGBM's text: what says the same is passed on, and what could harm its reader is not."""

import numpy as np
import pytest

from core.checksums import write_checksums
from core.errors import StrataError
from heads.lightgbm import MODEL_FILE, LightGBM
from heads.lightgbm_classes import LightGBMClassifier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
Y = X[:, 0] * 3 + np.abs(X[:, 1])


@pytest.fixture
def saved(tmp_path):
    LightGBM(n_estimators=5).fit(X, Y).save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("rows", [2, 20, 90])
@pytest.mark.parametrize("objective", ["regression", "regression_l1", "huber"])
def test_the_same_trees_say_exactly_the_same(tmp_path, rows, objective):
    head = LightGBM(n_estimators=20, objective=objective).fit(X[:rows], Y[:rows])
    head.save(tmp_path / "a")
    loaded = LightGBM.load(tmp_path / "a")
    assert np.array_equal(loaded.predict(X), head.predict(X))
    loaded.save(tmp_path / "b")
    assert np.array_equal(LightGBM.load(tmp_path / "b").predict(X), head.predict(X))


def test_classes_too(tmp_path):
    head = LightGBMClassifier(n_estimators=5).fit(X, np.digitize(Y, [0, 2]).astype(float))
    head.save(tmp_path)
    loaded = LightGBMClassifier.load(tmp_path)
    assert np.array_equal(loaded.predict_proba(X, 3), head.predict_proba(X, 3))


def first(text: str, name: str, value: str) -> str:
    """Put a value in the first place of the first line of that name."""
    start = text.index(f"\n{name}=") + len(name) + 2
    end = min(i for i in (text.find(" ", start), text.find("\n", start)) if i > 0)
    return text[:start] + value + text[end:]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: first(text, "left_child", "0"), "split 0 leads to 0"),
        (lambda text: first(text, "left_child", "999999"), "split 0 leads to 999999"),
        (lambda text: first(text, "left_child", "-999999"), "do not hang together"),
        (lambda text: first(text, "split_feature", "4"), "a column that is none"),
        (lambda text: first(text, "split_feature", "-1"), "a column that is none"),
        (lambda text: first(text, "decision_type", "1"), "another kind"),
        (lambda text: first(text, "num_leaves", "2000000000"), "2000000000 leaves"),
        (lambda text: first(text, "num_leaves", "3"), "expected 2"),
        (lambda text: first(text, "num_cat", "1"), "categories"),
        (lambda text: first(text, "leaf_value", "nan"), "nan in leaf_value"),
        (lambda text: first(text, "leaf_value", "x"), "leaf_value|float"),
        (lambda text: first(text, "num_class", "7"), "of 7 classes|trees"),
        (lambda text: first(text, "max_feature_idx", "99"), "for 100 columns, not 4"),
        (lambda text: first(text, "objective", "custom$(x)"), "objective"),
        (lambda text: text.replace("\nthreshold=", "\nthresh="), "threshold"),
    ],
)
def test_a_text_that_was_made_to_harm(saved, change, match):
    path = saved / MODEL_FILE
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    write_checksums(saved)
    with pytest.raises(StrataError, match=match):
        LightGBM.load(saved)


def test_sizes_of_trees_that_lie_are_not_believed(saved):
    path = saved / MODEL_FILE
    before = LightGBM.load(saved).predict(X)
    path.write_text(first(path.read_text(), "tree_sizes", "999999999"))
    write_checksums(saved)
    assert np.array_equal(LightGBM.load(saved).predict(X), before)
