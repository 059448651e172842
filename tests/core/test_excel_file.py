import pytest

from core.errors import StrataError
from core.excel_file import read_excel

openpyxl = pytest.importorskip("openpyxl")


def sheet(path, *rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet("notes").append(["not read"])
    book.save(path)
    return path


def test_cells_as_text_with_the_numbers_of_their_rows(tmp_path):
    path = sheet(
        tmp_path / "x.xlsx", ["formula", "gap", None], [], [" TiO2", 3.2], ["NaCl", 8], ["GaAs", None]
    )
    assert read_excel(path) == [
        (1, ["formula", "gap"]),
        (3, ["TiO2", "3.2"]),
        (4, ["NaCl", "8"]),
        (5, ["GaAs", ""]),
    ]
    number = 1.2345e-7
    ((_, cells),) = read_excel(sheet(tmp_path / "y.xlsx", [number, True]))
    assert (float(cells[0]), cells[1]) == (number, "true")


def test_what_cannot_be_understood(tmp_path):
    with pytest.raises(StrataError, match="row 2: B2 holds a formula without a value"):
        read_excel(sheet(tmp_path / "x.xlsx", ["formula", "gap"], ["TiO2", "=1+1"]))
    with pytest.raises(StrataError, match="row 2: a cell beyond the 1 columns"):
        read_excel(sheet(tmp_path / "x.xlsx", ["formula"], ["TiO2", 1]))
    (tmp_path / "x.xlsx").write_bytes(b"formula,gap\n")
    with pytest.raises(StrataError, match=r"x\.xlsx cannot be read as \.xlsx"):
        read_excel(tmp_path / "x.xlsx")


def test_a_sheet_that_unpacks_to_far_more_than_its_size(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 20_000_000)
    with pytest.raises(StrataError, match="unpacks to 20,000,000 bytes"):
        read_excel(tmp_path / "x.xlsx")
