import random

import numpy as np
import pyarrow as pa
import pytest

from core.errors import StrataError
from featurestore.tables.log import Snapshot, snapshot
from featurestore.tables.schema import WIDTH
from featurestore.tables.vectors import gather, index, read_columns
from tests.stores import EXTRACTION, add_features, structure_id, vectors_of


@pytest.fixture
def features(tmp_path):
    add_features(tmp_path, range(40), chunk=16)
    return tmp_path / "features"


def ids(*numbers):
    return pa.array([structure_id(number) for number in numbers])


def test_rows_come_in_the_order_that_was_asked_for_repeats_included(features):
    numbers = [33, 2, 17, 2, 39, 0]
    wanted, absent = index(snapshot(features), EXTRACTION).locate(ids(*numbers))
    assert not len(absent)
    found = gather(wanted, ["bond_3", "atom_0"], len(numbers))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    for row, number in zip(found, numbers, strict=True):
        assert np.array_equal(row[:WIDTH], vectors_of(number)["bond_3"])
        assert np.array_equal(row[WIDTH:], vectors_of(number)["atom_0"])


def test_only_shards_with_wanted_rows_are_read(features):
    wanted, _ = index(snapshot(features), EXTRACTION).locate(ids(1, 2))
    assert [part.path for part in wanted] == snapshot(features).paths[:1]


def test_ids_without_vectors_are_told(features):
    wanted, absent = index(snapshot(features), EXTRACTION).locate(ids(1, 99, 2, 98))
    assert absent.to_pylist() == ids(99, 98).to_pylist()
    assert sum(len(part.places) for part in wanted) == 2


def test_another_extractions_vectors_are_not_taken(tmp_path, features):
    add_features(tmp_path, range(60), "other", seed=1)
    _, absent = index(snapshot(features), EXTRACTION).locate(ids(50))
    assert len(absent) == 1
    wanted, absent = index(snapshot(features), "other").locate(ids(5))
    assert not len(absent)
    assert np.array_equal(gather(wanted, ["atom_8"], 1)[0], vectors_of(5, seed=1)["atom_8"])


def test_an_empty_store_has_none(tmp_path):
    wanted, absent = index(Snapshot(tmp_path, 0), EXTRACTION).locate(ids(1))
    assert (wanted, len(absent)) == ([], 1)
    assert gather([], ["atom_8"], 0).shape == (0, WIDTH)


def test_vectors_that_lie_there_twice_are_an_error(tmp_path):
    add_features(tmp_path, [1, 2, 1])
    with pytest.raises(StrataError, match="twice"):
        index(snapshot(tmp_path / "features"), EXTRACTION).locate(ids(1))


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
