"""Domain and intervals without the training rows say nearly what those with them say."""

import numpy as np
import pytest

from heads.domain import Domain
from heads.intervals import Intervals, coverage
from heads.summarised import FEWEST, summarised_domain, summarised_intervals

RNG = np.random.default_rng(0)
N = 200
X = {"a": RNG.normal(size=(N, 12)).astype(np.float32), "b": RNG.normal(size=(N, 5)).astype(np.float32)}
ELEMENTS = [[1 + i % 7] for i in range(N)]


@pytest.fixture(scope="module")
def domain():
    return Domain.learn(X, np.arange(N), ELEMENTS)


def test_what_lies_far_away_is_outside_still(domain):
    bare = summarised_domain(domain)
    new = {name: np.concatenate([X[name][:50], 6 + X[name][:50]]) for name in X}
    asked = [[1]] * 100
    assert (
        set(domain.place(new, asked).verdicts[50:])
        == set(bare.place(new, asked).verdicts[50:])
        == {"outside"}
    )
    inside = bare.place(new, asked).percentile[:50]
    assert 25 < inside.mean() < 75
    assert bare.place(new, [[99]] * 100).new[0] == (99,)


def test_no_centre_is_a_row_or_stands_for_few(domain):
    bare = summarised_domain(domain)
    for name, space in bare.spaces.items():
        rows = domain.spaces[name].points
        assert len(space.points) <= N // FEWEST
        apart = np.linalg.norm(space.points[:, None] - rows[None], axis=2)
        assert apart.min() > 1e-3
    assert bare.own.near.shape == (N, 0)
    assert (np.diff(bare.own.distance) >= 0).all()


def test_saved_and_read_again(domain, tmp_path):
    bare = summarised_domain(domain)
    bare.save(tmp_path)
    first, second = (one.place(X, ELEMENTS).percentile for one in (bare, Domain.load(tmp_path)))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("log", [False, True])
def test_intervals_of_one_width_hold_as_often(domain, log):
    actual = np.exp(RNG.normal(size=N))
    predicted = actual * np.exp(0.1 * RNG.normal(size=N))
    rows, none = np.arange(N), np.zeros(N)
    known = Intervals.learn(domain.own, predicted, none, actual, actual, rows, rows, log=log)
    bare = summarised_intervals(known)
    place = summarised_domain(domain).place(X, ELEMENTS)
    found = bare(place, predicted, none)
    assert 0.85 <= coverage(found, actual).mean() <= 0.95
    width = np.log(found.high / found.low) if log else found.high - found.low
    np.testing.assert_allclose(width, width[0])
    error = found.error / predicted if log else found.error
    np.testing.assert_allclose(error, np.abs(known.residuals).mean())
    assert not len(bare.values)
    assert not len(bare.errors)
