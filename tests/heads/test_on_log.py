"""Heads that learn logarithms."""

import numpy as np
import pytest

from core.checksums import write_checksums
from core.errors import StrataError
from heads import Mean, Ridge, load_head
from heads.base import NotApplicable
from heads.on_log import FILE, OnLog

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
LOGS = X @ [1.0, -2.0, 0.5]


def test_a_law_in_logarithms_is_met_over_orders_of_magnitude():
    head = OnLog(Ridge(alphas=[1e-6])).fit(X[:30], np.exp(LOGS[:30]), X[30:], np.exp(LOGS[30:]))
    np.testing.assert_allclose(head.predict(X), np.exp(LOGS), rtol=1e-3)


def test_it_comes_back_from_its_folder_in_the_unit(tmp_path):
    head = OnLog(Ridge()).fit(X, np.exp(LOGS))
    head.save(tmp_path)
    assert np.array_equal(load_head(tmp_path).predict(X), head.predict(X))
    (tmp_path / FILE).write_text("sqrt")
    write_checksums(tmp_path)
    with pytest.raises(StrataError, match="does not say log"):
        load_head(tmp_path)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_what_has_no_logarithm_is_refused(bad):
    with pytest.raises(StrataError, match=r"target 1 is .*only of positive values"):
        OnLog(Mean()).fit(X[:2], [1.0, bad])


def test_a_prediction_beyond_numbers_is_a_verdict():
    head = OnLog(Ridge(alphas=[1e-9])).fit(X, np.exp(LOGS))
    with pytest.raises(NotApplicable, match="predicts a logarithm for row 0"):
        head.predict(np.full((1, 3), 1e6) * [1, -1, 1])
