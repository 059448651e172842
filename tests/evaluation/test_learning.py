"""Learning curves inside train and validation."""

import numpy as np
import pytest

from evaluation.learning import MOST, curve


def made(n, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, np.sin(X[:, 0]) + X[:, 1] + noise * rng.normal(size=n)


def test_what_can_be_learned_is_learned_better_from_more():
    X, y = made(300)
    found = curve([X], y, np.arange(300))
    assert [rows for rows, _ in found] == [30, 60, 120, 240]
    errors = [mae for _, mae in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.4 * errors[0]
    assert curve([X], y, np.arange(300)) == found


def test_noise_is_not_learned():
    X, _ = made(300)
    found = curve([X], np.random.default_rng(1).normal(size=300), np.arange(300))
    assert found[-1][1] == pytest.approx(found[0][1], rel=0.2)


def test_rows_of_one_group_do_not_help_each_other():
    X = 5 * made(50)[0]  # far apart: only a row of the same place helps
    y = np.random.default_rng(1).normal(size=50)
    twice = (np.repeat(X, 2, axis=0), np.repeat(y, 2))
    kept = curve([twice[0]], twice[1], np.repeat(np.arange(50), 2))[-1][1]
    leaked = curve([twice[0]], twice[1], np.arange(100))[-1][1]
    assert leaked < 0.8 * kept


def test_a_source_model_without_a_vector_of_a_row_is_left_out_there():
    X, y = made(80)
    holes = X.copy()
    holes[::2] = np.nan
    found = curve([X, holes], y, np.arange(80))
    assert all(np.isfinite(mae) for _, mae in found)


def test_logarithms_have_errors_in_the_unit_and_many_rows_are_drawn_from():
    X, y = made(MOST + 500)
    rows, mae = curve([X], np.exp(y), np.arange(len(y)), log=True)[-1]
    assert rows == round(0.8 * MOST)
    assert 0 < mae < 1
