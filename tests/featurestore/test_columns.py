"""Tables of a user's own columns: what is read, and which row and column an error names."""

import numpy as np
import pandas as pd
import pytest

from core.errors import StrataError
from featurestore.columns import extraction_of, read_own_columns

TABLE = "id,temperature,ph\na,300,7\nb,,6.5\nc,na,1e-3\n"


def written(tmp_path, text, name="own.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_and_a_parquet_of_the_same_rows_say_the_same(tmp_path):
    found = read_own_columns(written(tmp_path, TABLE))
    assert (found.ids, found.names) == (("a", "b", "c"), ("temperature", "ph"))
    np.testing.assert_array_equal(
        found.values, np.array([[300, 7], [np.nan, 6.5], [np.nan, 1e-3]], np.float32)
    )
    assert found.lacking(0) == []
    assert found.lacking(1) == ["temperature"]
    frame = pd.DataFrame({"id": ["a", "b"], "temperature": [300, None], "ph": [7.0, 6.5]})
    frame.to_parquet(tmp_path / "own.parquet", index=False)
    other = read_own_columns(tmp_path / "own.parquet")
    assert other.names == found.names
    np.testing.assert_array_equal(other.values, found.values[:2])


def test_columns_are_chosen_by_name_and_in_that_order(tmp_path):
    path = written(tmp_path, "note,mine,ph,temperature\nx,a,7,300\n")
    found = read_own_columns(path, ["temperature", "ph"], "mine")
    assert (found.ids, found.names, found.values.tolist()) == (("a",), ("temperature", "ph"), [[300.0, 7.0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,ph\na,7\na,8\n", "line 3: id a stands in line 2 already"),
        ("id,ph\n ,7\n", "line 2: no id in column id"),
        ("id,ph\na,acid\n", "line 2, column ph: 'acid' is no number"),
        ("id,ph\na,inf\n", "line 2, column ph: inf is beyond"),
        ("id,ph\na,1e39\n", "column ph: 1e.39 is beyond"),
        ("id,ph,ph\na,1,2\n", "column ph stands in it twice"),
        ("id,pH value\na,1\n", "column 'pH value' is not a valid name"),
        ("id,\na,1\n", "column '' is not a valid name"),
        ("id,ph\na,1,2\n", "line 2: 3 cells, where the first line has 2"),
        ("id\na\n", "found 1"),
        ("id,ph\n", "no rows"),
        ("", "found 0"),
    ],
)
def test_a_bad_table_is_refused_by_row_and_column(tmp_path, text, message):
    with pytest.raises(StrataError, match=message):
        read_own_columns(written(tmp_path, text))


@pytest.mark.parametrize(
    ("names", "ids", "message"),
    [
        (["hp"], None, "unknown column 'hp'.*did you mean 'ph'"),
        (["id"], None, "cannot be a feature"),
        ([], "di", "'di'"),
    ],
)
def test_names_that_the_table_does_not_have_are_refused(tmp_path, names, ids, message):
    with pytest.raises(StrataError, match=message):
        read_own_columns(written(tmp_path, TABLE), names, ids)


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(StrataError, match="does not exist"):
        read_own_columns(tmp_path / "none.csv")
    for name in ("own.txt", "own.parquet"):
        with pytest.raises(StrataError, match=r"\.parquet|as Parquet"):
            read_own_columns(written(tmp_path, TABLE, name))


def test_the_id_says_which_columns_and_whose():
    ids = {
        extraction_of(*asked)
        for asked in (("own", "d", ["a", "b"]), ("own", "d", ["b", "a"]), ("own", "e", ["a", "b"]))
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,x\na,1_000\n", "'1_000' is no number"),
        ("id,x\na," + "1" * 200_000 + "\n", "line 2: field larger than"),
    ],
)
def test_a_table_that_could_be_misread_is_refused(tmp_path, text, words):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(StrataError, match=words):
        read_own_columns(path)
