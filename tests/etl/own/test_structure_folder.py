import numpy as np
import pandas as pd
import pytest

from core.errors import StrataError
from etl import raw
from etl.own.structure_folder import Files
from etl.providers import folder
from tests.etl.providers.test_folder import read, table, write_crystal


def test_files_in_folders_below_by_path_and_by_name(tmp_path):
    for place in ("set0/x.cif", "set0/y.cif", "set1/x.cif", "set1/deep/POSCAR", ".hidden/z.cif"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        write_crystal(tmp_path / place, len(place) % 4) if "POSCAR" not in place else write_crystal(
            tmp_path / place
        )
    table(tmp_path, "file,gap\nset0/x.cif,1\nset1\\x,2\n./y,3\nset1/deep/POSCAR,4\nx,5\nz,6\n")
    found = read(tmp_path, "gap")
    assert [record.entry_id for record in found] == ["set0/x", "set1/x", "y", "set1/deep/POSCAR", "x", "z"]
    assert [record.error and record.error.code for record in found] == [None] * 4 + [
        "unreadable",
        "no_structure",
    ]
    assert "x may be set0/x.cif and set1/x.cif" in str(found[4].error)


def test_a_folder_below_counts_in_the_hash(tmp_path):
    table(tmp_path, "file,gap\nset0/x.cif,1\n")
    (tmp_path / "set0").mkdir()
    flat = raw.own(tmp_path).sha256
    write_crystal(tmp_path / "set0/x.cif")
    one = raw.own(tmp_path).sha256
    (tmp_path / "set0/notes.txt").write_text("not read")
    assert raw.own(tmp_path).sha256 == one != flat
    write_crystal(tmp_path / "set0/x.cif", 1)
    assert raw.own(tmp_path).sha256 != one


@pytest.mark.parametrize("name", ["a/../../x", "/x", "a//x", "a/", "."])
def test_a_path_that_leads_out(tmp_path, name):
    table(tmp_path, f"file,gap\n{name},1\n")
    with pytest.raises(StrataError, match="is not the name of a file"):
        read(tmp_path, "gap")


def test_a_very_long_name_is_a_reject(tmp_path):
    (record,) = read(table(tmp_path, f"file,gap\n{'x' * 5000},1\n"), "gap")
    assert record.error.code == "no_structure"
    assert Files(tmp_path).find("x" * 5000) is None


def test_the_index_that_pandas_writes_is_left_out(tmp_path):
    write_crystal(tmp_path / "a.cif")
    frame = pd.DataFrame({"file": ["a.cif", "b.cif"], "gap": [1.0, 2.0]}, index=[7, 3])
    frame.to_csv(tmp_path / "id_prop.csv")
    assert [record.entry_id for record in read(tmp_path, "gap")] == ["a", "b"]
    read_back = pd.read_csv(tmp_path / "id_prop.csv")  # the index is a column by now
    read_back.to_csv(tmp_path / "id_prop.csv", index=False)
    assert folder.columns(tmp_path).values == ["gap"]


def test_files_that_are_named_by_numbers_are_no_index(tmp_path):
    for name in ("0.cif", "1.cif"):
        write_crystal(tmp_path / name)
    pd.DataFrame({"gap": [1.0, 2.0], "K": [1.0, 2.0]}, index=[0, 1]).to_csv(tmp_path / "id_prop.csv")
    assert [record.entry_id for record in read(tmp_path, "gap")] == ["0", "1"]


def test_tables_of_excel(tmp_path):
    pytest.importorskip("openpyxl")
    write_crystal(tmp_path / "a.cif")
    pd.DataFrame({"file": ["a.cif"], "gap": [1.5]}).to_excel(tmp_path / "mine.xlsx", index=False)
    (record,) = read(tmp_path, "gap")
    assert (record.entry_id, record.values, record.error) == ("a", {"gap": "1.5"}, None)
    pd.DataFrame({"formula": ["TiO2"], "gap": [np.nan]}).to_excel(tmp_path / "formulas.xlsx")
    found = folder.columns(tmp_path / "formulas.xlsx")
    assert (found.values, found.composition_column) == (["gap"], "formula")
    (record,) = read(tmp_path / "formulas.xlsx", "gap")
    assert record.values["gap"] == ""


def test_a_frame_of_formulas_and_the_index_of_pandas(tmp_path):
    frame = pd.DataFrame({"composition": ["TiO2", "NaCl"], "gap": [1.0, 2.0]}, index=["a", "b"])
    frame.to_parquet(tmp_path / "x.parquet")
    found = folder.columns(tmp_path / "x.parquet")
    assert (found.composition_column, found.structure_column) == ("composition", None)
    assert [r.entry_id for r in read(tmp_path / "x.parquet", "gap", id_column=found.id_column)] == ["a", "b"]
