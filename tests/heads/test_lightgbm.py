"""Boosted trees on few and on more rows."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from core.checksums import write_checksums
from core.errors import StrataError
from heads import LightGBM, check_head

DRAWN = dict.fromkeys(
    ("check_sample_weight_equivalence_on_dense_data",),
    "rows are drawn for every tree, and a row that is there twice is drawn more often than one of weight two",
)


@parametrize_with_checks([LightGBM(n_estimators=60)], expected_failed_checks=lambda _: DRAWN)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


def test_contract():
    check_head(LightGBM(n_estimators=30))


def data(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 12)).astype(np.float32)
    return X, 50 + 10 * np.sign(X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=rows)


@pytest.mark.parametrize("rows", [30, 100])
def test_small_data_are_learnt_from(rows):
    X, y = data(rows + 50)
    head = LightGBM(n_estimators=200, feature_fraction=1.0).fit(X[:rows], y[:rows])
    mae = np.abs(head.predict(X[rows:]) - y[rows:]).mean()
    assert mae < 0.5 * np.abs(y[:rows].mean() - y[rows:]).mean()


def test_two_rows_are_enough_to_fit():
    assert np.isfinite(LightGBM(n_estimators=5).fit([[0.0], [1.0]], [0.0, 1.0]).predict([[0.5]])).all()


def test_it_stops_early_on_the_validation_part():
    X, y = data(120)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=40)
    head = LightGBM(n_estimators=400, early_stopping=5).fit(X[:80], y[:80], X[80:], noise)
    assert head.n_trees_ < 400
    assert head.booster_.num_trees() == head.n_trees_


def test_threads_do_not_change_the_result(monkeypatch):
    X, y = data(200)
    one = LightGBM(n_estimators=20).fit(X, y).predict(X)
    monkeypatch.setattr(LightGBM, "_threads", lambda self, rows: 2)
    assert np.array_equal(LightGBM(n_estimators=20).fit(X, y).predict(X), one)


def test_a_setting_that_lightgbm_refuses_is_a_users_error():
    X, y = data(30)
    with pytest.raises(StrataError, match="lightgbm: "):
        LightGBM(objective="no_such_objective").fit(X, y)


def test_a_folder_without_trees_says_so(tmp_path):
    X, y = data(30)
    LightGBM(n_estimators=5).fit(X, y).save(tmp_path)
    (tmp_path / "model.txt").unlink()
    write_checksums(tmp_path)
    with pytest.raises(StrataError, match=r"model\.txt is missing"):
        LightGBM.load(tmp_path)


def test_a_text_is_given_to_lightgbm_only_if_its_hash_holds(tmp_path):
    X, y = data(30)
    LightGBM(n_estimators=5).fit(X, y).save(tmp_path)
    path = tmp_path / "model.txt"
    text = path.read_text()
    path.write_text(text.replace("left_child=", "left_child=0 ", 1))  # LightGBM would go round in it for ever
    with pytest.raises(StrataError, match=r"model\.txt has another SHA-256"):
        LightGBM.load(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()  # as earlier versions saved it
    path.write_text(text[: len(text) // 2])  # LightGBM would end the process
    with pytest.raises(StrataError, match="it is cut"):
        LightGBM.load(tmp_path)
    path.write_text(text)
    assert LightGBM.load(tmp_path).predict(X).size == 30
