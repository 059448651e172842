import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StrataError
from featurestore.tables.log import Snapshot, snapshot
from featurestore.tables.vectors import Column, Index, gather, index, read_columns, stream
from tests.stores import (
    EXTRACTION,
    OTHER,
    OTHER_EXTRACTION,
    SOURCE,
    add_features,
    add_other_features,
    structure_id,
    vectors_of,
)


@pytest.fixture
def features(tmp_path):
    add_features(tmp_path, range(40), chunk=16)
    return tmp_path / "features" / SOURCE


def ids(*numbers):
    return pa.array([structure_id(number) for number in numbers])


def test_rows_come_in_the_order_that_was_asked_for_repeats_included(features):
    numbers = [33, 2, 17, 2, 39, 0]
    wanted, absent = index(snapshot(features), EXTRACTION).locate(ids(*numbers))
    assert not len(absent)
    found = np.empty((len(numbers), 512), np.float32)
    gather(wanted, [Column("bond_3", 0, 256), Column("atom_0", 256, 512)], found)
    for row, number in zip(found, numbers, strict=True):
        assert np.array_equal(row[:256], vectors_of(number)["bond_3"])
        assert np.array_equal(row[256:], vectors_of(number)["atom_0"])


def test_columns_of_other_widths_fill_the_places_they_are_given(tmp_path):
    add_other_features(tmp_path, range(9))
    wanted, _ = index(snapshot(tmp_path / "features" / OTHER), OTHER_EXTRACTION).locate(ids(7, 0))
    found = np.zeros((2, 20), np.float32)
    gather(wanted, [Column("pair_1", 12, 18), Column("site_2", 2, 10)], found)
    for row, number in zip(found, (7, 0), strict=True):
        vectors = vectors_of(number, source=OTHER)
        assert np.array_equal(row[12:18], vectors["pair_1"])
        assert np.array_equal(row[2:10], vectors["site_2"])
        assert not row[[0, 1, 10, 11, 18, 19]].any()


def test_only_shards_with_wanted_rows_are_read(features):
    wanted, _ = index(snapshot(features), EXTRACTION).locate(ids(1, 2))
    assert [part.path for part in wanted] == snapshot(features).paths[:1]


def test_ids_without_vectors_are_told(features):
    wanted, absent = index(snapshot(features), EXTRACTION).locate(ids(1, 99, 2, 98))
    assert absent.to_pylist() == ids(99, 98).to_pylist()
    assert sum(len(part.places) for part in wanted) == 2


def test_vectors_stream_shard_by_shard_to_their_places(features):
    numbers = [33, 2, 17, 39, 0]
    wanted, _ = index(snapshot(features), EXTRACTION).locate(ids(*numbers))
    found = {}

    def look(places, vectors):
        found.update((int(place), vector.copy()) for place, vector in zip(places, vectors, strict=True))

    stream(wanted, Column("bond_3", 0, 256), look)
    assert sorted(found) == list(range(len(numbers)))
    for place, number in enumerate(numbers):
        assert np.array_equal(found[place], vectors_of(number)["bond_3"])


def test_ids_of_any_length_and_script_are_found_and_the_first_of_equal_ones_counts():
    shards = [(Path("a"), None), (Path("b"), None)]
    known = [pa.array(["x", "längere", ""]), pa.array(["xy", "x"])]
    found = Index.of(known, [np.arange(3), np.arange(2)], shards)
    assert found.has_repeats
    asked = pa.array(["xy", "x", "längere", "längere ", "", "z"])
    assert found.places(asked).tolist() == [3, 0, 1, -1, 2, -1]
    wanted, absent = found.locate(pa.array(["xy", "längere", "z"]))
    assert [(part.path.name, part.rows.tolist(), part.places.tolist()) for part in wanted] == [
        ("a", [1], [1]),
        ("b", [0], [0]),
    ]
    assert absent.to_pylist() == ["z"]


@given(
    st.lists(
        st.sampled_from(["0", "a", "alike-00", "alike-00b", "alike-00a", "alike-0å"])
        | st.binary(min_size=8, max_size=8).map(bytes.hex),
        max_size=30,
    ),
    st.integers(1, 9),
)
def test_an_id_is_found_at_its_first_place_whatever_begins_alike(known, size):
    pieces = [pa.array(known[start : start + size], pa.string()) for start in range(0, len(known), size)]
    found = Index.of(pieces, [np.arange(len(piece)) for piece in pieces], [(Path("a"), None)] * len(pieces))
    assert found.has_repeats == (len(set(known)) < len(known))
    assert found.places(pa.array(known, pa.string())).tolist() == [known.index(name) for name in known]
    assert found.places(pa.array(["no such id"])).tolist() == [-1]


def test_another_extractions_vectors_are_not_taken(tmp_path, features):
    add_features(tmp_path, range(60), "other", seed=1)
    _, absent = index(snapshot(features), EXTRACTION).locate(ids(50))
    assert len(absent) == 1
    wanted, absent = index(snapshot(features), "other").locate(ids(5))
    assert not len(absent)
    found = np.empty((1, 256), np.float32)
    gather(wanted, [Column("atom_8", 0, 256)], found)
    assert np.array_equal(found[0], vectors_of(5, seed=1)["atom_8"])


def test_an_empty_store_has_none(tmp_path):
    wanted, absent = index(Snapshot(tmp_path, 0), EXTRACTION).locate(ids(1))
    assert (wanted, len(absent)) == ([], 1)


def test_vectors_that_lie_there_twice_are_an_error(tmp_path):
    add_features(tmp_path, [1, 2, 1])
    with pytest.raises(StrataError, match="twice"):
        index(snapshot(tmp_path / "features" / SOURCE), EXTRACTION).locate(ids(1))


def test_a_flipped_byte_in_a_page_is_never_read_silently(features):  # row 7
    path = snapshot(features).paths[0]
    whole = path.read_bytes()
    columns = ["structure_id", "extraction_id", "atom_8", "angle_4"]
    expected = read_columns(path, columns)
    moments, caught = random.Random(0), 0
    for _ in range(60):
        offset = moments.randrange(4, len(whole) - 8)
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        try:
            assert read_columns(path, columns).equals(expected)  # the flip lies in another column
        except StrataError as error:
            assert path.name in str(error)  # noqa: PT017
            caught += 1
    assert caught
