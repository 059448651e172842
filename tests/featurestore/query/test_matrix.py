import numpy as np
import pytest

import featurestore
from core.errors import StrataError
from featurestore import SplitKey
from featurestore.query.matrix import PARTS, Matrix, Selection, drawn_splits, select


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


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "random",
        "random:",
        "random:x",
        "random:-1",
        ":0",
        "random:0:1:2",
        "random:²",
        None,
        0,
        ("random", 0),
    ],
)
def test_a_split_is_scheme_and_seed(nonsense):
    with pytest.raises(StrataError, match="is not scheme:seed or scheme:seed:fold, such as random:0"):
        SplitKey.of(nonsense)


def test_a_split_is_read_as_it_is_written():
    for key in (SplitKey(), SplitKey("kfold", 2, 3), SplitKey("ladder", 1)):
        assert SplitKey.of(str(key)) == SplitKey.of(key) == key


def test_a_matrix_without_a_unit_says_so():
    empty = np.empty(0, object)
    matrix = Matrix(np.empty((0, 256), np.float32), np.empty(0), empty, empty, None, "", "x", "m", "s_0")
    assert repr(matrix) == "Matrix(0 entries × 256 features of m (s_0), targets in no unit)"


def test_arrow_has_a_list_a_checkpoint_beside_the_rows(shared_store):
    matrix = featurestore.open(shared_store).matrix("alpha", "gap", "atom_bond_2", split=SplitKey())
    table = matrix.to_arrow()
    assert table.column_names == ["entry_id", "structure_id", "part", "value", "atom_2", "bond_2"]
    assert np.array_equal(
        table["bond_2"].combine_chunks().flatten().to_numpy().reshape(-1, 256), matrix.X[:, 256:]
    )
    assert table["value"].to_pylist() == list(matrix.y)
    assert table.schema.metadata == {b"unit": b"eV", b"extraction_id": matrix.extraction_id.encode()}


def test_pandas_has_a_column_a_number(shared_store):
    matrix = featurestore.open(shared_store).inputs("beta", "gap", "atom_bond_2")
    frame = matrix.to_pandas()
    assert list(frame.index) == list(matrix.entry_ids)
    assert frame.shape == (20, 513)
    assert np.array_equal(frame[[f"bond_2_{i}" for i in range(256)]].to_numpy(), matrix.X[:, 256:])
    assert list(frame.columns[-1:]) == ["structure_id"]
    assert frame.attrs["unit"] == "eV"


def test_torch_gets_pairs(shared_store):
    pytest.importorskip("torch")
    store = featurestore.open(shared_store)
    matrix, inputs = store.matrix("alpha", "gap", "atom_8"), store.inputs("alpha", "gap", "atom_8")
    data = matrix.to_torch()
    assert len(data) == len(matrix)
    x, y = data[3]
    assert np.array_equal(x.numpy(), matrix.X[3])
    assert y.item() == pytest.approx(matrix.y[3], rel=1e-6)
    assert len(inputs.to_torch()[0]) == 1
