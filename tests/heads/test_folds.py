"""Folds inside train and validation: what stays together, and who predicts a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.params import Fit
from core.structure import Structure
from heads import LightGBM, Mean, Ridge
from heads.folds import Choice, Groups, draw, out_of_fold


class Remembers:
    """What a fold was fitted to and stopped by."""

    def __init__(self, rows, watched):
        self.rows, self.watched = set(rows.tolist()), set() if watched is None else set(watched.tolist())

    def predict(self, X):
        asked = set(X[:, 0].astype(int).tolist())
        assert not asked & (self.rows | self.watched)
        assert not self.rows & self.watched
        self.seen.append((asked, self.rows, self.watched))
        return X[:, 0] + 1.0


@given(st.lists(st.integers(0, 12), min_size=12, max_size=40), st.booleans())
def test_every_row_is_predicted_once_a_repetition_by_a_head_that_saw_neither_it_nor_its_group(labels, stops):
    groups = np.unique(labels, return_inverse=True)[1]
    if len(set(labels)) < 3:
        return
    Remembers.seen = []
    X = np.arange(len(labels), dtype=float)[:, None]
    choice = Choice(cv=True, folds=5, repeats=2)
    values, mae = out_of_fold(X, X[:, 0], groups, choice, Remembers, stops)
    assert np.array_equal(values, X[:, 0] + 1)
    assert mae == 1
    predicted = sorted(row for asked, _, _ in Remembers.seen for row in asked)
    assert predicted == sorted([*range(len(labels))] * 2)
    for asked, rows, watched in Remembers.seen:
        assert bool(watched) is stops
        assert not {groups[row] for row in asked} & {groups[row] for row in rows | watched}
        assert len(asked) + len(rows) + len(watched) == len(labels)


def test_repetitions_have_other_folds():
    first, second = draw(np.arange(30), 5, 2)
    assert [part.tolist() for part in first] != [part.tolist() for part in second]


def test_what_is_done_depends_on_settings_head_and_rows():
    auto = Fit(choose_by="auto", refit=True)
    assert Choice.of(auto, Ridge, 1999).text == "cv, refit"
    assert Choice.of(auto, Ridge, 2000).text == "validation, refit"
    assert Choice.of(auto, LightGBM, 100).plain
    assert Choice.of(auto, Mean, 100).plain
    assert Choice.of(Fit(choose_by="cv"), LightGBM, 10_000).text == "cv"
    assert Choice.of(Fit(choose_by="cv"), Mean, 100).plain
    assert Choice.of(Fit(), Ridge, 100).plain


class Fake:
    """A store of crystals of three chemical systems."""

    asked = 0

    def structures(self, ids):
        self.asked += len(ids)
        cell = np.eye(3) * 4
        return [Structure(cell, np.array([8 + int(name) % 3]), np.zeros((1, 3))) for name in ids]


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [("random", [0, 1, 2, 3, 0]), ("grouped", [0, 1, 2, 0, 0]), ("kfold_grouped", [0, 1, 2, 0, 0])],
)
def test_rows_stay_together_as_the_split_keeps_them(scheme, expected):
    store = Fake()
    groups = Groups(store)
    for _ in range(2):
        found = groups.of(scheme, ["0", "1", "2", "3", "0"])
        assert [np.flatnonzero(found == label)[0] for label in found] == [
            expected.index(label) for label in expected
        ]
    assert store.asked == (0 if scheme == "random" else 4)


def test_one_crystal_in_two_settings_stays_together():
    cell = np.eye(3) * 4

    class Two:
        def structures(self, ids):
            single = Structure(cell, np.array([8]), np.zeros((1, 3)))
            double = Structure(np.diag([8.0, 4, 4]), np.array([8, 8]), np.array([[0.0, 0, 0], [0.5, 0, 0]]))
            return [{"a": single, "b": double}[name] for name in ids]

    assert Groups(Two()).of("grouped_crystal", ["a", "b"]).tolist() == [0, 0]
