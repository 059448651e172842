"""What experiments leave on disk."""

import errno

import pandas as pd
import pytest

from core.errors import StrataError
from evaluation.experiments.results import Result, read, write


def result(**tables: pd.DataFrame) -> Result:
    return Result(
        "checkpoints", tables, {"a": 0.1 + 0.2, "b": {"c": float("nan")}}, {"seeds": [0]}, {}, ("n",)
    )


def test_written_and_read_again(tmp_path):
    table = pd.DataFrame({"name": ["x", "y"], "mae": [1 / 3, None]})
    folder = write(result(table=table), tmp_path)
    assert (folder / "table.csv").read_text() == "name,mae\nx,0.33333333\ny,\n"
    assert (folder / "metrics.json").read_text() == '{\n  "a": 0.3,\n  "b": {\n    "c": null\n  }\n}\n'
    found = read("checkpoints", tmp_path)
    assert found.tables["table"]["mae"].iloc[0] == 0.33333333
    assert pd.isna(found.tables["table"]["mae"].iloc[1])
    assert (found.settings, found.notes) == ({"seeds": [0]}, ("n",))


def test_the_same_result_has_the_same_bytes_and_old_tables_go(tmp_path):
    table = pd.DataFrame({"mae": [1.0]})
    folder = write(result(table=table, more=table), tmp_path)
    write(result(table=table), tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "more.csv" not in before
    write(result(table=table), tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_there_names_the_command(tmp_path):
    with pytest.raises(
        StrataError, match=r"experiment.json is missing; make it with: strata experiment transfer"
    ):
        read("transfer", tmp_path)


@pytest.mark.parametrize("name", ["experiment.json", "metrics.json", "table.parquet"])
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_torn_file_is_told_with_what_to_do(tmp_path, name, kept):
    folder = write(result(table=pd.DataFrame({"mae": [1.0]})), tmp_path)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(StrataError, match=r"checkpoints is damaged.*strata experiment checkpoints"):
        read("checkpoints", tmp_path)


def test_a_result_is_replaced_only_when_the_new_one_is_whole(tmp_path, monkeypatch):
    folder = write(result(table=pd.DataFrame({"mae": [1.0]})), tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_args, **_settings):
        raise OSError(errno.ENOSPC, "x")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
    with pytest.raises(OSError, match="x"):
        write(result(table=pd.DataFrame({"mae": [2.0]})), tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
