"""Intervals hold as often as they say, are narrow where errors are small, and none where nothing is known."""

import dataclasses
import warnings

import numpy as np
import pytest

from core.errors import StrataError
from heads.domain import Domain, Place
from heads.intervals import BINNED_FROM, FEWEST_TO_TELL, Interval, Intervals, coverage, score

TRAIN, WIDTH = 200, 4


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.fixture(scope="module")
def domain() -> Domain:
    """Training rows in a cloud."""
    X = np.random.default_rng(0).normal(size=(TRAIN, WIDTH)).astype(np.float32)
    return Domain.learn({"a": X}, np.arange(TRAIN), [[1]] * TRAIN)


class World:
    """Rows at which members lie apart as the errors are large: what an interval can learn from."""

    def __init__(self, domain: Domain, n: int, seed: int, error=None, log: bool = False) -> None:
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, WIDTH)).astype(np.float32)
        self.place: Place = domain.place({"a": X}, [[1]] * n)
        self.size = np.exp(rng.normal(0, 1.0, n))
        self.spread = self.size * np.exp(rng.normal(0, 0.2, n))
        self.predicted = X[:, 0].astype(float)
        drawn = rng.normal(size=n) if error is None else error(rng, n)
        self.actual = self.predicted + self.size * drawn
        if log:
            self.predicted, self.actual = np.exp(self.predicted), np.exp(self.actual)

    def learn(self, log: bool = False) -> Intervals:
        n = len(self.predicted)
        values = np.exp(np.zeros(TRAIN)) if log else np.zeros(TRAIN)
        return Intervals.learn(
            self.place, self.predicted, self.spread, self.actual, values, np.full(n, -1), np.arange(n), log
        )

    def ask(self, intervals: Intervals, level: float = 0.9) -> Interval:
        return intervals(self.place, self.predicted, self.spread, level)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [250, 800], ids=["one quantile", "two"])
def test_they_hold_as_often_as_they_say(domain, n, level):
    found = []
    for seed in range(4):
        intervals = World(domain, n, seed).learn()
        new = World(domain, 2000, 100 + seed)
        asked = new.ask(intervals, level)
        assert asked.level == level
        found.append(coverage(asked, new.actual).mean())
    assert np.mean(found) == pytest.approx(level, abs=0.03 if level < 0.95 else 0.012)


def test_they_hold_where_errors_are_large_as_where_they_are_small(domain):
    held = {"easy": [], "hard": []}
    for seed in range(4):
        intervals, new = World(domain, 800, seed).learn(), World(domain, 2000, 100 + seed)
        inside, hard = coverage(new.ask(intervals), new.actual), new.spread > np.median(new.spread)
        held["easy"].append(inside[~hard].mean())
        held["hard"].append(inside[hard].mean())
    for shares in held.values():
        assert np.mean(shares) == pytest.approx(0.9, abs=0.04)


def test_they_are_narrow_where_errors_are_small_and_better_than_a_constant_width(domain):
    world, new = World(domain, 800, 0), World(domain, 2000, 1)
    found = new.ask(world.learn())
    constant = np.quantile(np.abs(world.actual - world.predicted), 0.9)
    easy = new.size < np.quantile(new.size, 0.3)
    assert np.median((found.high - found.low)[easy]) < constant
    assert np.median((found.high - found.low)[easy]) < np.median((found.high - found.low)[~easy]) / 2
    fixed = score(new.predicted - constant, new.predicted + constant, new.actual)
    assert score(found.low, found.high, new.actual).mean() < 0.9 * fixed.mean()


def test_the_expected_error_follows_the_error(domain):
    new = World(domain, 2000, 1)
    found = new.ask(World(domain, 800, 0).learn())
    actual = np.abs(new.actual - new.predicted)
    assert found.error.mean() == pytest.approx(actual.mean(), rel=0.25)
    fifth = np.quantile(found.error, [0.2, 0.8])
    assert actual[found.error > fifth[1]].mean() > 3 * actual[found.error < fifth[0]].mean()


def test_skewed_errors_have_an_uneven_interval(domain):
    def upward(rng, n):
        return rng.exponential(size=n) - 0.3

    new = World(domain, 2000, 1, upward)
    found = new.ask(World(domain, 800, 0, upward).learn())
    above, below = found.high - new.predicted, new.predicted - found.low
    assert (above > 2 * below).all()
    assert (new.actual > found.high).mean() == pytest.approx(0.05, abs=0.025)
    assert (new.actual < found.low).mean() == pytest.approx(0.05, abs=0.025)


def test_of_logarithms_the_ends_are_positive_and_hold(domain):
    world, new = World(domain, 800, 0, log=True), World(domain, 2000, 1, log=True)
    found = new.ask(world.learn(log=True))
    assert (found.low > 0).all()
    assert (found.low < found.high).all()
    assert coverage(found, new.actual).mean() == pytest.approx(0.9, abs=0.03)
    assert (found.error > 0).all()


@pytest.mark.parametrize(("rows", "level"), [(19, 0.9), (18, 17 / 19), (9, 0.8), (3, 0.5), (2, 1 / 3)])
def test_with_few_rows_the_level_that_they_reach_is_said(domain, rows, level):
    world = World(domain, rows, 0)
    found = world.ask(world.learn(), 0.9)
    assert found.level == pytest.approx(level)
    residuals = np.sort(world.actual - world.predicted)
    np.testing.assert_allclose(found.low, world.predicted + residuals[0])  # the two ends of all that was seen
    np.testing.assert_allclose(found.high, world.predicted + residuals[-1])


@pytest.mark.parametrize("rows", [0, 1])
def test_of_one_row_or_none_there_is_no_interval(domain, rows):
    new = World(domain, 5, 1)
    found = new.ask(World(domain, rows, 0).learn())
    assert found.level == 0
    for numbers in (found.low, found.high, found.error):
        assert np.isnan(numbers).all()
        assert len(numbers) == 5


def test_a_level_that_few_rows_reach_is_given(domain):
    world = World(domain, 19, 0)
    assert world.ask(world.learn(), 0.5).level == 0.5


def test_without_rows_to_tell_the_expected_error_is_the_mean_of_those_seen(domain):
    world = World(domain, FEWEST_TO_TELL - 1, 0)
    intervals = world.learn()
    assert intervals.forest is None
    found = world.ask(intervals)
    np.testing.assert_allclose(found.error, np.abs(world.actual - world.predicted).mean())
    np.testing.assert_allclose(found.high - found.low, (found.high - found.low)[0])
    assert World(domain, FEWEST_TO_TELL, 0).learn().forest is not None


def test_rows_of_one_group_tell_no_hard_ones(domain):
    """They say the same: none of them is apart from those that it would be judged by."""
    world, n = World(domain, 100, 0), 100
    found = Intervals.learn(
        world.place, world.predicted, world.spread, world.actual, np.zeros(TRAIN), np.full(n, -1), np.zeros(n)
    )
    assert found.forest is None
    assert world.ask(found).level == 0.9


def test_what_is_expected_of_a_row_knows_nothing_of_its_own_group(domain):
    world, n = World(domain, 300, 0), 300
    groups = np.arange(n) // 3
    given = (world.place, world.predicted, world.spread)
    rest = (np.zeros(TRAIN), np.full(n, -1), groups)
    before = Intervals.learn(*given, world.actual, *rest).expected
    changed = world.actual.copy()
    changed[groups == 0] += 1000
    after = Intervals.learn(*given, changed, *rest).expected
    # Beside the constant that keeps zero away, which is the median's and hardly moves.
    np.testing.assert_allclose(after[groups == 0], before[groups == 0], rtol=0.02)
    assert not np.allclose(after, before, rtol=0.02)


@pytest.mark.parametrize("n", [30, 250, 2 * BINNED_FROM])
@pytest.mark.parametrize("log", [False, True])
def test_the_chance_of_a_window_agrees_with_the_interval(domain, n, log):
    world, new = World(domain, n, 0, log=log), World(domain, 40, 1, log=log)
    intervals = world.learn(log)
    for level in (0.5, 0.8):
        found = new.ask(intervals, level)
        for i in range(0, 40, 8):
            names = ("distance", "remoteness", "percentile", "near", "far")
            one = Place(**{name: getattr(new.place, name)[[i]] for name in names}, new=((),))
            given = (new.predicted[[i]], intervals.difficulty(one, new.predicted[[i]], new.spread[[i]]))
            (share,) = intervals.chance(*given, found.low[i], found.high[i])
            assert share == pytest.approx(level, abs=3.5 / (n // 2 if n >= BINNED_FROM else n))
            (below,) = intervals.chance(*given, -np.inf, found.low[i])
            (above,) = intervals.chance(*given, found.high[i], np.inf)
            assert below + share + above == pytest.approx(1, abs=4 / (n // 2 if n >= BINNED_FROM else n))


def test_the_chance_of_everything_is_one_and_of_nothing_none(domain):
    world = World(domain, 100, 0)
    intervals = world.learn()
    given = (world.predicted, intervals.difficulty(world.place, world.predicted, world.spread))
    assert (intervals.chance(*given, -np.inf, np.inf) == 1).all()
    assert (intervals.chance(*given, 1e6, 1e7) == 0).all()
    positive = World(domain, 100, 0, log=True)
    found = positive.learn(log=True)
    given = (positive.predicted, found.difficulty(positive.place, positive.predicted, positive.spread))
    assert (found.chance(*given, -5, np.inf) == 1).all()  # below zero there is no positive value
    assert (found.chance(*given, -5, -1) == 0).all()


def test_where_nothing_was_seen_there_is_no_chance(domain):
    new = World(domain, 3, 1)
    assert np.isnan(World(domain, 0, 0).learn().chance(new.predicted, np.ones(3), 0, 1)).all()


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, 90, float("nan")])
def test_a_level_that_is_none_is_refused(domain, level):
    world = World(domain, 30, 0)
    with pytest.raises(StrataError, match=r"lies between 0 and 1, such as 0\.9"):
        world.ask(world.learn(), level)


def test_errors_are_kept_by_training_row(domain):
    world, n = World(domain, 60, 0), 60
    rows = np.where(np.arange(n) % 2, np.arange(n), -1)
    found = Intervals.learn(
        world.place, world.predicted, world.spread, world.actual, np.zeros(TRAIN), rows, np.arange(n)
    )
    known = np.flatnonzero(np.isfinite(found.errors))
    assert known.tolist() == rows[rows >= 0].tolist()
    np.testing.assert_allclose(found.errors[known], np.abs(world.actual - world.predicted)[rows >= 0])


def test_no_structure_is_no_interval(domain):
    nothing = domain.place({"a": np.empty((0, WIDTH), np.float32)}, [])
    for n in (10, 100, 2 * BINNED_FROM):
        found = World(domain, n, 0).learn()(nothing, np.empty(0), np.empty(0))
        assert found.low.shape == found.high.shape == found.error.shape == (0,)


def test_a_row_that_lies_infinitely_far_has_an_interval(domain):
    world, new = World(domain, 200, 0), World(domain, 1, 1)
    nowhere = domain.place({"a": np.full((1, WIDTH), np.nan, np.float32)}, [[1]])
    found = world.learn()(nowhere, new.predicted, new.spread)
    assert np.isfinite([found.low, found.high, found.error]).all()


@pytest.mark.parametrize("n", [20, 200])
@pytest.mark.parametrize("log", [False, True])
def test_what_is_saved_answers_to_the_last_bit(domain, tmp_path, n, log):
    intervals, new = World(domain, n, 0, log=log).learn(log), World(domain, 50, 1, log=log)
    intervals.save(tmp_path)
    found = Intervals.load(tmp_path)
    one, other = new.ask(intervals), new.ask(found)
    for field in dataclasses.fields(Interval):
        assert (
            np.asarray(getattr(one, field.name)).tobytes() == np.asarray(getattr(other, field.name)).tobytes()
        )
    hard = [one.difficulty(new.place, new.predicted, new.spread) for one in (found, intervals)]
    assert hard[0].tobytes() == hard[1].tobytes()
    given = (new.predicted, hard[0], 0.5, 2.0)
    assert found.chance(*given).tobytes() == intervals.chance(*given).tobytes()


@pytest.mark.parametrize("name", ["intervals.json", "intervals.safetensors", "difficulty"])
def test_damaged_files_are_refused(domain, tmp_path, name):
    World(domain, 100, 0).learn().save(tmp_path)
    path = tmp_path / name
    for file in path.iterdir() if path.is_dir() else [path]:
        file.write_bytes(b"{}")
    with pytest.raises(StrataError, match=r"intervals|difficulty"):
        Intervals.load(tmp_path)


def test_the_score_counts_width_and_what_was_missed():
    low, high = np.zeros(3), np.ones(3)
    np.testing.assert_allclose(score(low, high, np.array([0.5, -0.1, 2.0]), 0.8), [1, 1 + 10 * 0.1, 1 + 10])
    assert coverage(Interval(low, high, 0.8, low), np.array([0.0, 1.0, 1.1])).tolist() == [True, True, False]
