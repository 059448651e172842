"""The contract: input, refusals, files, and that `check_head` notices each breach."""

import json
import pickle
from typing import ClassVar

import numpy as np
import pytest

from core.errors import StrataError
from featurestore.query.feature_sets import Block
from heads import Head, InvalidData, Mean, NotApplicable, Ridge, check_head
from heads.base import takes_blocks

X = np.arange(12.0).reshape(6, 2) ** 1.5
Y = np.array([1.0, 3.0, 2.0, 5.0, 4.0, 7.0])


class Line(Head):
    """A correct head of a few lines, to break in one point at a time."""

    def __init__(self, slope: float = 1.0) -> None:
        self.slope = slope

    def _fit(self, X, y, X_val, y_val):
        self.mean_ = float(y.mean())
        self.columns_ = X.mean(axis=0)

    def _predict(self, X):
        return self.mean_ + self.slope * (X - self.columns_).sum(axis=1)


def test_a_correct_head_passes():
    check_head(Line())


class KeepsNumpyScalars(Line):
    def _fit(self, X, y, X_val, y_val):
        super()._fit(X, y, X_val, y_val)
        self.mean_ = y.mean()  # NumPy's float64 makes float32 predictions float64, Python's float does not


def test_numpy_scalars_predict_the_same_before_and_after_saving():
    check_head(KeepsNumpyScalars())


class AltersInput(Line):
    def _fit(self, X, y, X_val, y_val):
        super()._fit(X, y, X_val, y_val)
        X -= 1


class Drifts(Line):
    fits: ClassVar[list[int]] = []

    def _fit(self, X, y, X_val, y_val):
        super()._fit(X, y, X_val, y_val)
        self.fits.append(1)
        self.mean_ += len(self.fits)


class Forgets(Line):
    def _load(self, folder):
        self.mean_ = 0.0


class Pickles(Line):
    def _save(self, folder):
        (folder / "extra.bin").write_bytes(pickle.dumps(self.mean_))


class ChangesSettings(Line):
    def _fit(self, X, y, X_val, y_val):
        super()._fit(X, y, X_val, y_val)
        self.slope = 2.0


class NeedsValidation(Line):
    def _fit(self, X, y, X_val, y_val):
        super()._fit(X, y, X_val, y_val)
        if X_val is None:
            self.mean_ = np.inf


class AnyData(Line):
    def fit(self, X, y, X_val=None, y_val=None):
        self._fit(np.nan_to_num(X), np.nan_to_num(y), X_val, y_val)
        self.n_features_in_ = np.shape(X)[1]
        return self


class AnyTarget(Line):
    def fit(self, X, y, X_val=None, y_val=None):
        if np.ptp(y) == 0:
            y = y + np.arange(len(y))
        return super().fit(X, y, X_val, y_val)


class WrongShape(Line):
    def predict(self, X):
        return super().predict(X)[:, None]


class WrongType(Line):
    def predict(self, X):
        return super().predict(X).astype(np.float32)


@pytest.mark.parametrize(
    ("cls", "point"),
    [
        (AltersInput, "alters its input"),
        (Drifts, "a second fit predicts otherwise"),
        (Forgets, "a loaded head predicts otherwise"),
        (Pickles, "it saves pickles: .*extra.bin"),
        (ChangesSettings, "alters the head's settings"),
        (NeedsValidation, "predicts inf for row 0"),
        (AnyData, "accepts NaN"),
        (AnyTarget, "constant target is not refused"),
        (WrongShape, r"not \(48,\)"),
        (WrongType, "not float64"),
    ],
)
def test_check_head_notices(cls, point):
    with pytest.raises(StrataError, match=point):
        check_head(cls())


BLOCKS = (Block("a", "x_0", "x", 0, 0, 1), Block("b", "y_0", "y", 0, 1, 2))


class ByBlock(Line):
    """A head that wants to know which columns belong together."""

    def _fit(self, X, y, X_val, y_val):
        super()._fit(X, y, X_val, y_val)
        self.seen_ = [[block.source, block.start, block.stop] for block in self._blocks]


class Older(Line):
    def fit(self, X, y, X_val=None, y_val=None):
        return super().fit(X, y, X_val, y_val)


def test_a_head_that_wants_blocks_gets_them(tmp_path):
    head = ByBlock().fit(X, Y, blocks=BLOCKS)
    assert head.seen_ == [["a", 0, 1], ["b", 1, 2]]
    head.save(tmp_path)
    assert ByBlock.load(tmp_path).seen_ == head.seen_
    assert ByBlock().fit(X, Y).seen_ == []
    assert head.fit(X, Y).seen_ == []  # not those of the fit before


def test_blocks_change_no_head_that_does_not_care():
    assert np.array_equal(Ridge().fit(X, Y, blocks=BLOCKS).predict(X), Ridge().fit(X, Y).predict(X))


def test_a_fit_without_blocks_is_told_apart():
    assert takes_blocks(ByBlock())
    assert not takes_blocks(Older())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((np.where(X[2, 1] == X, np.nan, X), Y), "Ridge: Input X contains NaN"),
        ((X, np.where(Y == 5, np.nan, Y)), "Ridge: Input y contains NaN"),
        ((X, np.where(Y == 5, np.inf, Y)), "Ridge: Input y contains infinity"),
        ((X, Y[:-1]), "inconsistent numbers of samples"),
        ((X[0], Y), "Expected 2D array"),
        ((X[:1], Y[:1]), "minimum of 2 is required"),
        ((X, Y, X), "give both X_val and y_val, or neither"),
        ((X, Y, X[:, :1], Y), "X has 1 features, but Ridge is expecting 2"),
        ((X, Y, np.where(X[2, 1] == X, np.nan, X), Y), "Ridge: Input X contains NaN"),
    ],
)
def test_bad_data_are_refused(bad, message):
    with pytest.raises(InvalidData, match=message):
        Ridge().fit(*bad)


@pytest.mark.parametrize("bad", [X[:, :1], np.where(X[2, 1] == X, np.nan, X)])
def test_predict_refuses_bad_data(bad):
    with pytest.raises(InvalidData):
        Ridge().fit(X, Y).predict(bad)


def test_a_constant_target_is_not_applicable_but_to_base():
    with pytest.raises(NotApplicable, match="every one of the 6 training targets is 2"):
        Ridge().fit(X, np.full(6, 2.0))
    assert Mean().fit(X, np.full(6, 2.0)).predict(X).tolist() == [2.0] * 6


def test_a_folder_without_head_says_so(tmp_path):
    with pytest.raises(StrataError, match=r"head\.json is missing"):
        Ridge.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[]", "does not name class"), ('{"class": "x"}', "does not name")],
)
def test_a_damaged_head_says_so(tmp_path, text, message):
    (tmp_path / "head.json").write_text(text)
    with pytest.raises(StrataError, match=message):
        Ridge.load(tmp_path)


def test_a_folder_of_another_class_is_refused(tmp_path):
    Mean().fit(X, Y).save(tmp_path)
    with pytest.raises(StrataError, match=r"holds a heads\.mean\.Mean, not a heads\.ridge\.Ridge"):
        Ridge.load(tmp_path)


def test_what_is_neither_array_nor_json_must_be_saved_by_the_head(tmp_path):
    class Odd(Line):
        def _fit(self, X, y, X_val, y_val):
            super()._fit(X, y, X_val, y_val)
            self.model_ = object()

    with pytest.raises(StrataError, match="`own_files`"):
        Odd().fit(X, Y).save(tmp_path)
    assert not (tmp_path / "head.json").exists()


def test_a_saved_head_is_json_and_safetensors(tmp_path):
    Ridge([1.0]).fit(X, Y).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "SHA256SUMS",
        "arrays.safetensors",
        "head.json",
    ]
    facts = json.loads((tmp_path / "head.json").read_text())
    assert facts["class"] == "heads.ridge.Ridge"
    assert facts["settings"] == {"alphas": [1.0]}
