"""Tables written piece by piece: all kinds say the same, and a file is whole or not there."""

import errno
import json
import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from core import table_file
from core.errors import StrataError
from core.table_file import ENDINGS, TableFile

FIRST = pd.DataFrame(
    {
        "name": ["salt", 'says "x", y', "Å"],
        "value": [1.25, np.nan, 0.1 + 0.2],
        "rows": np.array([1, 2, 3], np.int64),
        "inside": [True, False, True],
        "single": np.array([1.5, 2.5, 3.5], np.float32),
    }
)
SECOND = FIRST.assign(name=["=1+1", "", "line\nbreak"], value=[np.nan, -1e-300, 5.0], rows=[4, 5, 6])
BOTH = pd.concat([FIRST, SECOND], ignore_index=True)
READ = {
    ".csv": lambda path: pd.read_csv(
        path, keep_default_na=False, na_values={"value": ""}, float_precision="round_trip"
    ),
    ".json": lambda path: pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))),
    ".parquet": pd.read_parquet,
    ".xlsx": lambda path: pd.read_excel(path, keep_default_na=False, na_values={"value": [""]}),
}


def write(path, *frames):
    return write_all(path, frames)


def write_all(path, frames):
    with TableFile(path) as file:
        for frame in frames:
            file.append(frame)
    return file


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
def test_pieces_are_one_table_in_every_kind(tmp_path, ending):
    path = tmp_path / f"found{ending}"
    assert write(path, FIRST, SECOND).rows == 6
    found = READ[ending](path)
    assert found.columns.tolist() == BOTH.columns.tolist()
    assert found["name"].tolist() == BOTH["name"].tolist()
    digits = 1e-15 if ending == ".xlsx" else 0  # Excel keeps sixteen
    np.testing.assert_allclose(found["value"], BOTH["value"], rtol=digits, atol=0)  # NaN where it was
    assert found["rows"].tolist() == [1, 2, 3, 4, 5, 6]
    assert found["inside"].tolist() == BOTH["inside"].tolist()
    assert leftovers(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_piece_without_rows_decides_columns_and_adds_nothing(tmp_path, ending):
    path = tmp_path / f"found{ending}"
    assert write(path, FIRST.head(0), FIRST).rows == 3
    assert READ[ending](path)["name"].tolist() == FIRST["name"].tolist()


def test_capitals_in_an_ending_are_no_other_ending(tmp_path):
    write(tmp_path / "FOUND.CSV", FIRST)
    assert READ[".csv"](tmp_path / "FOUND.CSV")["name"].tolist() == FIRST["name"].tolist()


def test_json_says_null_where_there_is_no_number(tmp_path):
    path = tmp_path / "found.json"
    write(path, pd.DataFrame({"a": [np.nan, np.inf, -np.inf, 1.0]}))
    text = path.read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text) == [{"a": None}, {"a": None}, {"a": None}, {"a": 1.0}]


def test_parquet_keeps_kinds_whatever_the_first_piece_lacks(tmp_path):
    path = tmp_path / "found.parquet"
    empty = FIRST.assign(value=np.full(3, np.nan), name="")
    write(path, empty, SECOND)
    schema = pq.read_schema(path)
    kinds = {name: str(schema.field(name).type) for name in schema.names}
    assert kinds == {
        "name": "string",
        "value": "double",
        "rows": "int64",
        "inside": "bool",
        "single": "double",
    }


def test_in_excel_what_looks_like_a_formula_is_text(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    texts = ["=1+1", '=HYPERLINK("http://x","y")', "+1", "-Al", "@SUM(A1)", "=="]
    path = tmp_path / "found.xlsx"
    write(path, pd.DataFrame({"=name": texts}))
    cells = [row[0] for row in openpyxl.load_workbook(path).active.iter_rows()]
    assert [cell.value for cell in cells] == ["=name", *texts]  # as they are, without a mark before them
    assert {cell.data_type for cell in cells} == {"s"}


def test_excel_shows_what_it_cannot_hold_as_a_mark(tmp_path):
    pytest.importorskip("openpyxl")
    path = tmp_path / "found.xlsx"
    write(path, pd.DataFrame({"error": ["byte \x01 of the file", "line\nbreak"]}))
    assert READ[".xlsx"](path)["error"].tolist() == ["byte \ufffd of the file", "line\nbreak"]


def test_more_rows_than_excel_holds_are_refused_and_nothing_is_left(tmp_path, monkeypatch):
    pytest.importorskip("openpyxl")
    monkeypatch.setattr(table_file, "_EXCEL_ROWS", 5)
    with pytest.raises(StrataError, match=r"found\.xlsx: Excel holds 5 rows; write \.csv or \.parquet"):
        write(tmp_path / "found.xlsx", FIRST, SECOND)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_after_an_exception_there_is_what_there_was_before(tmp_path, ending):
    path = tmp_path / f"found{ending}"
    path.write_text("before", encoding="utf-8")

    def interrupted():
        yield FIRST
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_all(path, interrupted())
    assert path.read_text(encoding="utf-8") == "before"
    assert leftovers(tmp_path) == [path.name]


def test_where_nothing_was_appended_no_file_is_made(tmp_path):
    with TableFile(tmp_path / "found.csv"):
        pass
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("ending", [".csv", ".json"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch, ending):
    class Full:
        """A file on a disk that is full once the first piece was written."""

        def __init__(self, file):
            self.file = file

        def write(self, text):
            if len(text) > 10:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(text)

        def __getattr__(self, name):
            return getattr(self.file, name)

    path = tmp_path / f"found{ending}"
    path.write_text("before", encoding="utf-8")
    opened = type(path).open
    monkeypatch.setattr(type(path), "open", lambda self, *args, **more: Full(opened(self, *args, **more)))
    with pytest.raises(StrataError, match=r"cannot write .*found.*: No space left on device"):
        write(path, FIRST)
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == "before"
    assert leftovers(tmp_path) == [path.name]


def test_a_disk_that_is_full_when_the_file_is_closed_is_said(tmp_path, monkeypatch):
    pytest.importorskip("openpyxl")
    from openpyxl import Workbook

    def save(self, path):
        path.write_text("half", encoding="utf-8")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Workbook, "save", save)
    with pytest.raises(StrataError, match="No space left on device"):
        write(tmp_path / "found.xlsx", FIRST)
    assert leftovers(tmp_path) == []


def test_another_ending_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(StrataError, match=r"unknown kind of table '\.xls'.*did you mean '\.xlsx'"):
        TableFile(tmp_path / "found.xls")
    with pytest.raises(StrataError, match="unknown kind of table 'found'"):
        TableFile(tmp_path / "found")


def test_a_folder_that_is_not_there_or_stands_in_the_way_is_named(tmp_path):
    with pytest.raises(StrataError, match=r"there is no folder .*gone"):
        TableFile(tmp_path / "gone" / "found.csv")
    (tmp_path / "found.csv").mkdir()
    with pytest.raises(StrataError, match="it is a folder"):
        TableFile(tmp_path / "found.csv")
