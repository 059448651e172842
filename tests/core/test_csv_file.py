"""CSV tables: what is read, and what is wrong with its line."""

import pytest

from core.csv_file import read_csv
from core.errors import StrataError


def read(folder, content):
    path = folder / "x.csv"
    path.write_bytes(content)
    return read_csv(path)


def test_rows_with_their_lines_and_cells_without_spaces(tmp_path):
    content = b'\xef\xbb\xbfid, gap\r\n\r\n"a\r\nb", 1 \r\nc,\r\n'
    assert read(tmp_path, content) == [(1, ["id", "gap"]), (4, ["a\r\nb", "1"]), (5, ["c", ""])]
    assert read(tmp_path, b"") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,\xe5\n", r"x.csv: not UTF-8 at byte 2 \(0xe5\)"),
        (b"a,b\n1\n", "line 2: 1 cells, where the first line has 2"),
        (b"a,b\n1," + b"2" * 200_000, "line 2: field larger than field limit"),
        (b'a,b\n1,"2' + b"\n" * 200_000, "quotation mark"),
    ],
)
def test_what_is_wrong(tmp_path, content, words):
    with pytest.raises(StrataError, match=words):
        read(tmp_path, content)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(StrataError, match=r"none.csv cannot be read: No such file"):
        read_csv(tmp_path / "none.csv")
