import csv
import io
import json
import math

import duckdb
import pyarrow.parquet as pq
import pytest

from core.errors import StrataError
from featurestore.query import output as results

QUERY = """
SELECT * FROM (VALUES
    ('é, "x"', 0.1::DOUBLE, [1.5, 2.5]::FLOAT[2], {'a': 1}, TIMESTAMP '2030-01-01', true, 1),
    (NULL, 'nan'::DOUBLE, NULL, NULL, NULL, false, NULL)
) t(name, number, vector, record, moment, yes, n)
"""


@pytest.fixture
def relation():
    return duckdb.connect().sql(QUERY)


def test_csv_can_be_read_back(relation):
    file = io.StringIO()
    results.write_text(relation, "csv", file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert rows[0]["name"] == 'é, "x"'
    assert float(rows[0]["number"]) == 0.1
    assert json.loads(rows[0]["vector"]) == [1.5, 2.5]
    assert rows[1]["name"] == rows[1]["vector"] == ""
    assert math.isnan(float(rows[1]["number"]))


def test_json_is_strict(relation):
    file = io.StringIO()
    results.write_text(relation, "json", file)
    rows = json.loads(file.getvalue(), parse_constant=pytest.fail)
    assert rows[0]["vector"] == [1.5, 2.5]
    assert rows[0]["record"] == {"a": 1}
    assert rows[0]["moment"] == "2030-01-01 00:00:00"
    assert rows[1]["number"] is None


def test_no_rows_are_an_empty_array():
    file = io.StringIO()
    results.write_text(duckdb.connect().sql("SELECT 1 AS a WHERE false"), "json", file)
    assert json.loads(file.getvalue()) == []


def test_parquet_keeps_the_types(relation, tmp_path):
    results.write_file(relation, "parquet", tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == relation.columns
    assert table["n"].to_pylist() == [1, None]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old")
    relation = duckdb.connect().sql("SELECT error('boom' || i) FROM range(9) t(i)")
    with pytest.raises(duckdb.Error, match="boom"):
        results.write_file(relation, "csv", path)
    assert path.read_text() == "old"
    assert [place.name for place in tmp_path.iterdir()] == ["x.csv"]


def test_a_folder_that_is_not_there_is_named(relation, tmp_path):
    with pytest.raises(StrataError, match="there is no folder"):
        results.write_file(relation, "csv", tmp_path / "no" / "x.csv")


def test_an_unknown_format_names_the_nearest(relation):
    with pytest.raises(StrataError, match="did you mean 'json'"):
        results.write_text(relation, "jsn", io.StringIO())


def test_a_table_shows_brackets_as_they_are_and_shortens(capsys):
    connection = duckdb.connect()
    results.print_answer(
        connection.sql("SELECT '[red]x[/red]' AS a, [0.5]::FLOAT[1] AS \"b[c]\", i FROM range(300) t(i)")
    )
    out = capsys.readouterr().out
    assert "[red]x[/red]" in out
    assert "b[c]" in out
    assert "the first 200 rows" in out


def test_rows_wider_than_the_screen_are_printed_one_by_one(capsys, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(results, "_console", lambda: Console(width=80))
    columns = ", ".join(f"{i} AS c{i}" for i in range(20))
    results.print_answer(duckdb.connect().sql(f"SELECT {columns}"))
    out = capsys.readouterr().out
    assert "row 1" in out
    assert "c19" in out
