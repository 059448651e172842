import numpy as np
import pytest

import featurestore
from featurestore import SplitKey
from featurestore.matrix import PARTS, Matrix, Selection, drawn_splits, select


@pytest.fixture(scope="module")
def connection(shared_store):
    return featurestore.open(shared_store).connection


def test_targets_of_parts_that_were_not_asked_for_are_not_read(connection):
    chosen = Selection("alpha", "gap", SplitKey("random", 1, 0), ("train",))
    rows = select(connection, chosen, with_targets=True)
    assert set(rows["part"].to_pylist()) == {"train"}
    assert rows["value"].null_count == 0


def test_without_targets_no_value_comes_along(connection):
    rows = select(connection, Selection("alpha", "gap"), with_targets=False)
    assert rows.schema.names == ["entry_id", "structure_id"]
    assert rows.num_rows == 27


def test_without_parts_all_parts_of_the_split_come(connection):
    rows = select(connection, Selection("beta", "energy", SplitKey()), with_targets=True)
    assert set(rows["part"].to_pylist()) == set(PARTS)
    assert rows.num_rows == 30
    positions = [int(name.split("-")[1]) for name in rows["entry_id"].to_pylist()]
    assert positions == sorted(positions)


def test_splits_are_listed_in_order(connection):
    assert drawn_splits(connection, "alpha", "gap") == [SplitKey("random", 0, 0), SplitKey("random", 1, 0)]
    assert drawn_splits(connection, "alpha", "nothing") == []


def test_a_matrix_without_a_unit_says_so():
    empty = np.empty(0, object)
    matrix = Matrix(np.empty((0, 256), np.float32), np.empty(0), empty, empty, None, "", "x")
    assert repr(matrix) == "Matrix(0 entries × 256 features, targets in no unit)"
