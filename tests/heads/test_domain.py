"""How far structures lie from training rows: distances in the training rows' own units, verdicts, files."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import StrataError
from heads.domain import (
    EDGE,
    EDGE_FROM,
    INSIDE,
    KEPT,
    NEAREST,
    OUTSIDE,
    OUTSIDE_FROM,
    Domain,
    Place,
)
from tests.stores import flip

N, WIDTH = 120, 10


@pytest.fixture(autouse=True)
def no_warnings():
    """No row, column or group may make a division go wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def cloud(n: int = N, seed: int = 0, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def learned(*names: str, n: int = N, groups=None, elements=None) -> Domain:
    vectors = {name: cloud(n, seed) for seed, name in enumerate(names or ("a",))}
    groups = np.arange(n) if groups is None else groups
    return Domain.learn(vectors, groups, elements or [[1, 8]] * n)


def brute(X: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean distance of each row from its nearest five of other groups, in all standardised columns."""
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    apart = np.linalg.norm(Z[:, None] - Z[None], axis=2)
    apart[groups[:, None] == groups[None]] = np.inf
    near = np.sort(apart, axis=1)[:, :NEAREST]
    return np.array([row[np.isfinite(row)].mean() for row in near])


def test_distances_are_in_units_of_the_training_rows_own():
    own = learned().own
    expected = brute(cloud(), np.arange(N))
    np.testing.assert_allclose(own.distance, expected / np.median(expected), rtol=1e-4)
    assert np.median(own.distance) == pytest.approx(1)


def test_the_unit_of_a_network_plays_no_part():
    X, new = cloud(), cloud(7, seed=5)
    shift = np.linspace(-3, 3, WIDTH, dtype=np.float32)
    one = Domain.learn({"a": X}, np.arange(N), [[1]] * N).place({"a": new}, [[1]] * 7)
    other = Domain.learn({"a": 1000 * X + shift}, np.arange(N), [[1]] * N)
    np.testing.assert_allclose(
        other.place({"a": 1000 * new + shift}, [[1]] * 7).distance, one.distance, rtol=1e-3
    )


def test_rows_of_one_group_are_no_neighbours_of_each_other():
    """Of every row there are two: as rows of their own all lie at nothing, in groups none sees its copy."""
    X, groups = np.repeat(cloud(40), 2, axis=0), np.repeat(np.arange(40), 2)
    own = Domain.learn({"a": X}, groups, [[1]] * 80).own
    assert (own.far[:, 0] > 0.05).all()
    assert (groups[own.near] != groups[:, None])[np.isfinite(own.far)].all()
    alone = Domain.learn({"a": X}, np.arange(80), [[1]] * 80).own
    assert (alone.far[:, 0] < 1e-3).all()


def test_percentiles_of_training_rows_are_spread_evenly():
    own = learned().own
    np.testing.assert_allclose(np.sort(own.percentile), 100 * np.arange(N) / N)
    assert np.array_equal(np.argsort(own.percentile), np.argsort(own.distance))
    verdicts = own.verdicts
    assert (verdicts == OUTSIDE).mean() == pytest.approx((100 - OUTSIDE_FROM) / 100, abs=1 / N)
    assert (verdicts == EDGE).mean() == pytest.approx((OUTSIDE_FROM - EDGE_FROM) / 100, abs=1 / N)


def test_new_rows_of_the_same_kind_have_percentiles_of_all_sizes():
    percentile = learned().place({"a": cloud(500, seed=9)}, [[1]] * 500).percentile
    assert abs(np.mean(percentile) - 50) < 12
    assert percentile.min() < 5
    assert percentile.max() > 90


def test_verdicts_change_where_they_are_said_to():
    at = np.array([0, EDGE_FROM - 0.1, EDGE_FROM, OUTSIDE_FROM - 0.1, OUTSIDE_FROM, 100])
    place = Place(at, at, at, np.zeros((6, 1), int), np.zeros((6, 1)), ((),) * 6)
    assert place.verdicts.tolist() == [INSIDE, INSIDE, EDGE, EDGE, OUTSIDE, OUTSIDE]


def test_what_lies_far_away_is_outside():
    far = cloud(5) + 6
    place = learned().place({"a": far}, [[1]] * 5)
    assert (place.percentile == 100).all()
    assert (place.distance > 2).all()
    assert set(place.verdicts) == {OUTSIDE}


def test_a_new_element_is_outside_however_near():
    domain = learned()
    place = domain.place({"a": cloud()[:3]}, [[1, 8], [26, 8, 3], [8]])
    assert place.new == ((), (3, 26), ())
    assert place.verdicts.tolist() == [INSIDE, OUTSIDE, INSIDE]


def test_the_nearest_are_named_in_order():
    domain = learned("a", "b")
    X = {name: cloud(4, seed=seed + 7) for seed, name in enumerate("ab")}
    place = domain.place(X, [[1]] * 4)
    assert place.near.shape == place.far.shape == (4, KEPT)
    assert (np.diff(place.far, axis=1) >= 0).all()
    assert (np.diff(np.sort(place.near, axis=1), axis=1) > 0).all()  # each once
    itself = domain.place({name: cloud(N, seed)[:4] for seed, name in enumerate("ab")}, [[1]] * 4)
    assert itself.near[:, 0].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(itself.far[:, 0], 0, atol=1e-3)


def test_how_many_are_named_does_not_change_where_a_structure_lies():
    domain, new = learned(), {"a": cloud(3, seed=4)}
    usual = domain.place(new, [[1]] * 3)
    for kept in (1, NEAREST, 50, 10_000):
        place = domain.place(new, [[1]] * 3, kept)
        assert place.near.shape == (3, min(kept, N))
        np.testing.assert_array_equal(place.distance, usual.distance)
        np.testing.assert_array_equal(place.percentile, usual.percentile)
        shared = min(kept, KEPT)
        np.testing.assert_array_equal(place.near[:, :shared], usual.near[:, :shared])


def test_a_source_model_without_a_vector_is_left_out_of_the_mean():
    both, one = learned("a", "b"), learned("a")
    a, b = cloud(3, seed=11), cloud(3, seed=12)
    b[1] = np.nan
    place = both.place({"a": a, "b": b}, [[1]] * 3)
    alone = one.place({"a": a}, [[1]] * 3)
    np.testing.assert_allclose(place.far[1], alone.far[1])
    assert place.near[1].tolist() == alone.near[1].tolist()
    assert np.isfinite(place.distance).all()
    assert place.far[0, 0] != pytest.approx(alone.far[0, 0])


def test_training_rows_without_a_vector_of_one_source_model_keep_the_others():
    a, b = cloud(), cloud(seed=1)
    b[::2] = np.nan
    domain = Domain.learn({"a": a, "b": b}, np.arange(N), [[1]] * N)
    assert np.isfinite(domain.own.distance).all()
    place = domain.place({"a": a[:2], "b": b[:2]}, [[1]] * 2)
    assert place.near[:, 0].tolist() == [0, 1]


def test_what_no_source_model_has_a_vector_of_lies_infinitely_far():
    place = learned("a", "b").place(dict.fromkeys("ab", np.full((2, WIDTH), np.nan, np.float32)), [[1]] * 2)
    assert np.isinf(place.distance).all()
    assert (place.percentile == 100).all()
    assert set(place.verdicts) == {OUTSIDE}


def test_vectors_of_a_source_model_that_are_missing_altogether_are_named():
    with pytest.raises(StrataError, match="the domain of this model needs vectors by b, c"):
        learned("a", "b", "c").place({"a": cloud(1)}, [[1]])


def test_a_source_model_that_has_no_training_row_says_nothing():
    nothing = np.full((N, 4), np.nan, np.float32)
    domain = Domain.learn({"a": cloud(), "b": nothing}, np.arange(N), [[1]] * N)
    np.testing.assert_array_equal(domain.own.distance, learned().own.distance)
    place = domain.place({"a": cloud(2), "b": np.ones((2, 4), np.float32)}, [[1]] * 2)
    np.testing.assert_array_equal(place.near[:, 0], [0, 1])
    assert domain.same({"b": np.ones((2, 4), np.float32)}, [[0], [1]]) == [[], []]


def test_where_no_row_has_a_vector_there_is_no_domain():
    with pytest.raises(StrataError, match="no training row has vectors"):
        Domain.learn({"a": np.full((3, 2), np.nan)}, np.arange(3), [[1]] * 3)


def test_no_structure_is_no_row():
    place = learned().place({"a": cloud(0)}, [])
    assert len(place.distance) == len(place.verdicts) == 0
    assert place.near.shape == (0, KEPT)


def test_fewer_rows_than_neighbours():
    domain = learned(n=3)
    place = domain.place({"a": cloud(2, seed=3)}, [[1]] * 2)
    assert place.near.shape == (2, 3)
    assert np.isfinite(place.distance).all()
    assert np.isinf(domain.own.far[:, -1]).all()  # a row itself is none of its neighbours


def test_two_rows_know_each_other():
    domain = learned(n=2)
    np.testing.assert_allclose(domain.own.distance, 1)
    assert domain.place({"a": cloud(N)[:1] + 50}, [[1]]).verdicts.tolist() == [OUTSIDE]


def test_of_one_row_nothing_is_known():
    domain = learned(n=1)
    assert domain.place({"a": cloud(1)}, [[1]]).verdicts.tolist() == [OUTSIDE]
    assert domain.same({"a": cloud(1)}, [[0]]) == [[]]  # it tells no crystals apart


def test_columns_of_one_value_say_nothing():
    X, new = cloud(), cloud(4, seed=3)
    wide = np.concatenate([X, np.full((N, 2), 7, np.float32)], axis=1)
    one = Domain.learn({"a": X}, np.arange(N), [[1]] * N).place({"a": new}, [[1]] * 4)
    other = Domain.learn({"a": wide}, np.arange(N), [[1]] * N)
    place = other.place({"a": np.concatenate([new, cloud(4, seed=8)[:, :2]], axis=1)}, [[1]] * 4)
    np.testing.assert_allclose(place.distance, one.distance, rtol=1e-4)


def test_rows_that_are_all_alike_have_no_distance():
    domain = Domain.learn({"a": np.ones((9, 3), np.float32)}, np.arange(9), [[1]] * 9)
    assert domain.own.distance.tolist() == [0] * 9
    assert domain.same({"a": np.full((1, 3), 5, np.float32)}, [[0, 1]]) == [[]]


def test_rows_of_one_group_alone_are_compared_with_each_other():
    one, usual = learned(groups=np.zeros(N, int)).own, learned().own
    np.testing.assert_array_equal(one.distance, usual.distance)


def test_a_crystal_that_is_given_again_is_the_same_and_a_near_one_is_not():
    domain, X = learned("a", "b"), {name: cloud(N, seed)[[3, 3]] for seed, name in enumerate("ab")}
    noise = {name: vectors * (1 + 1e-5) for name, vectors in X.items()}  # rounding, another cell
    noise["a"][1] += 0.2
    noise["b"][1] += 0.2
    assert domain.same(noise, [[2, 3, 4], [2, 3, 4]]) == [[3], []]
    assert domain.same(noise, [[2, 4], []]) == [[], []]  # of another composition it is not looked at


def test_one_source_model_that_sees_no_difference_is_enough_to_be_the_same():
    domain = learned("a", "b")
    a, b = cloud(N, 0)[[3]], np.full((1, WIDTH), np.nan, np.float32)
    assert domain.same({"a": a, "b": b}, [[2, 3]]) == [[3]]
    assert domain.same({"a": a}, [[2, 3]]) == [[3]]


def test_what_is_saved_answers_to_the_last_bit(tmp_path):
    a, b = cloud(), cloud(seed=1)
    b[5] = np.nan
    domain = Domain.learn({"x/y": a, "b": b}, np.arange(N), [[1, 8]] * 60 + [[92]] * 60)
    domain.save(tmp_path)
    found = Domain.load(tmp_path)
    new = {"x/y": cloud(9, seed=5), "b": cloud(9, seed=6)}
    for one, other in (
        (domain.own, found.own),
        (domain.place(new, [[1]] * 9), found.place(new, [[1]] * 9)),
    ):
        for name in ("distance", "percentile", "near", "far"):
            first, second = getattr(one, name), getattr(other, name)
            assert first.tobytes() == second.tobytes()
            assert first.dtype == second.dtype
        assert one.new == other.new
    assert found.elements == {1, 8, 92}
    assert domain.same(new, [[0, 1]] * 9) == found.same(new, [[0, 1]] * 9)


def damaged(folder, how):
    facts, arrays = folder / "domain.json", folder / "domain.safetensors"
    if how == "gone":
        arrays.unlink()
    elif how == "no JSON":
        facts.write_text("{", encoding="utf-8")
    elif how == "a list":
        facts.write_text("[]", encoding="utf-8")
    elif how == "another name":
        text = json.loads(facts.read_text(encoding="utf-8"))
        facts.write_text(json.dumps(text | {"typical": {"other": 1.0}}), encoding="utf-8")
    elif how == "no elements":
        facts.write_text(json.dumps({"typical": {"a": 1.0}}), encoding="utf-8")
    elif how == "a flipped bit of the header":
        flip(arrays, 3, 6)


@pytest.mark.parametrize(
    "how", ["gone", "no JSON", "a list", "another name", "no elements", "a flipped bit of the header"]
)
def test_damaged_files_are_refused(tmp_path, how):
    learned().save(tmp_path)
    damaged(tmp_path, how)
    with pytest.raises(StrataError, match=r"can be read"):
        Domain.load(tmp_path)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 40), st.integers(1, 50), st.integers(1, 5), st.integers(0, 100))
def test_of_any_shape_places_are_finite_and_ordered(n, width, count, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, width)).astype(np.float32)
    domain = Domain.learn({"a": X}, rng.integers(0, count, n), [[1]] * n)
    place = domain.place({"a": rng.normal(size=(6, width)).astype(np.float32)}, [[1]] * 6)
    assert np.isfinite(place.distance).all()
    assert ((place.percentile >= 0) & (place.percentile <= 100)).all()
    assert (np.diff(place.far, axis=1) >= 0).all()


def test_pieces_of_many_rows_say_what_all_at_once_would(monkeypatch):
    whole = learned("a", "b")
    monkeypatch.setattr("heads.domain._AT_ONCE", 7)
    pieces = learned("a", "b")
    np.testing.assert_array_equal(pieces.own.near, whole.own.near)
    np.testing.assert_allclose(pieces.own.distance, whole.own.distance, rtol=1e-6)
