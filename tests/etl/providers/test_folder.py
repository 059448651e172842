import json
import os

import numpy as np
import pandas as pd
import pytest

from core.errors import StrataError
from core.params import Ingest
from etl.cards import DatasetCard
from etl.providers import folder
from featurestore.columns import NULL_TOKENS
from tests.published import crystal

WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"
PDB = """CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1
ATOM      1  O   HOH A   1       0.000   0.000   0.119  1.00  0.00           O
ATOM      2  H1  HOH A   1       0.000   0.763  -0.477  1.00  0.00           H
ATOM      3  H2  HOH A   1       0.000  -0.763  -0.477  1.00  0.00           H
END
"""


def card(*columns, **changes):
    facts = {
        "name": "mine",
        "title": "t",
        "note": "n",
        "provider": "folder",
        "path": "here",
        "material_class": "3D",
        "null_tokens": list(NULL_TOKENS),
        "text_numbers": True,
        "properties": {
            f"p{i}": {"column": column, "unit": "eV", "description": "d", "origin": "measured"}
            for i, column in enumerate(columns)
        },
        "licence": "l",
        "citation": "c",
    }
    return DatasetCard.model_validate(facts | changes)


def write_crystal(path, row=0):
    """One of the fixture's crystals in the format of the suffix."""
    structure = crystal(row)
    if path.suffix == ".cif":
        structure.to_pymatgen().to(filename=str(path), fmt="cif")
    elif path.suffix in (".vasp", ".poscar", ""):
        structure.to_pymatgen().to(filename=str(path), fmt="poscar")
    else:
        structure.to_ase().write(path, format="extxyz" if path.suffix != ".pdb" else "proteindatabank")


def table(tmp_path, text, name="id_prop.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def read(path, *columns, **changes):
    return list(folder.records(card(*columns, **changes), path, Ingest()))


@pytest.mark.parametrize("name", ["a.cif", "a.vasp", "a.poscar", "POSCAR-a", "a.xyz", "a.extxyz", "a.pdb"])
@pytest.mark.parametrize("written", ["full", "stem"])
def test_structure_files_of_every_kind(tmp_path, name, written):
    write_crystal(tmp_path / name, 1)
    stem = name.rsplit(".", 1)[0]
    table(tmp_path, f"{name if written == 'full' else stem},1.5\n")
    [record] = read(tmp_path, "value")
    assert record.entry_id == stem
    assert record.values == {"value": "1.5"}
    assert record.error is None
    assert record.structure.formula == crystal(1).formula
    assert record.structure.volume == pytest.approx(crystal(1).volume, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "columns", "named", "first"),
    [
        ("a.cif,1.5\nb.cif,na\n", ["value"], False, {"value": "1.5"}),
        ("a.cif, 1.5, 2\nb.cif, 3, 4\n", ["value_1", "value_2"], False, {"value_1": "1.5", "value_2": "2"}),
        ("id,gap\na.cif,1.5\nb.cif,2\n", ["gap"], True, {"gap": "1.5"}),
        ("\ufefffile,gap,K\r\na,1.5,7\r\n\r\nb,2,8\r\n", ["gap", "K"], True, {"gap": "1.5", "K": "7"}),
    ],
)
def test_tables_with_and_without_a_header(tmp_path, text, columns, named, first):
    for row, name in enumerate("ab"):
        write_crystal(tmp_path / f"{name}.cif", row)
    table(tmp_path, text)
    assert folder.columns(tmp_path)[:2] == (columns, named)
    found = read(tmp_path, *columns)
    assert [record.entry_id for record in found] == ["a", "b"]
    assert found[0].values == first


def test_ids_keep_their_letters(tmp_path):
    """The published code cut `.vasp` off with rstrip, which eats letters of the id."""
    for name in ("saps.vasp", "mp-1.2.vasp"):
        write_crystal(tmp_path / name)
    table(tmp_path, "saps.vasp,1\nmp-1.2.vasp,2\n")
    assert [record.entry_id for record in read(tmp_path, "value")] == ["saps", "mp-1.2"]


def test_any_single_csv_will_do(tmp_path):
    write_crystal(tmp_path / "a.cif")
    table(tmp_path, "a,1\n", name="targets.csv")
    assert len(read(tmp_path, "value")) == 1
    table(tmp_path, "a,1\n", name="more.csv")
    with pytest.raises(StrataError, match=r"expected id_prop\.csv .*found 2"):
        read(tmp_path, "value")


@pytest.mark.parametrize("name", ["water.xyz", "water.pdb"])
def test_molecules_are_boxed(tmp_path, name):
    (tmp_path / name).write_text(WATER if name.endswith("xyz") else PDB)
    table(tmp_path, f"{name},1\n")
    [record] = folder.records(card("value"), tmp_path, Ingest(vacuum=7.0))
    assert record.structure.formula == "H2O"
    assert record.structure.lattice[0, 0] == pytest.approx(2 * 7.0 + 2 * 0.763)


def test_bad_files_are_told_with_their_record_and_the_others_are_read(tmp_path):
    write_crystal(tmp_path / "good.cif")
    (tmp_path / "torn.cif").write_text("data_x\n_cell_length_a 4\n")
    (tmp_path / "latin.cif").write_bytes("data_Å".encode("latin-1"))
    (tmp_path / "two.xyz").write_text(WATER + WATER)
    table(tmp_path, "torn,1\nabsent,2\ngood,3\nlatin,4\ntwo,5\n")
    found = read(tmp_path, "value")
    codes = [record.error and record.error.code for record in found]
    assert codes == ["unreadable", "no_structure", None, "unreadable", "unreadable"]
    assert "line 2" in str(found[1].error)
    assert "2 structures for one row" in str(found[4].error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("a.cif\n", "line 1: expected a file name and a value"),
        ("a.cif,1\nb.cif\n", "line 2: 1 cells, where the first line has 2"),
        ("../x.cif,1\n", "line 1: '../x.cif' is not the name of a file"),
        ("/etc/passwd,1\n", "is not the name of a file"),
        ("..,1\n", "is not the name of a file"),
        ("a//b,1\n", "is not the name of a file"),
    ],
)
def test_tables_that_cannot_be_understood(tmp_path, text, words):
    table(tmp_path, text)
    with pytest.raises(StrataError, match=words.replace("\\", r"\\")):
        read(tmp_path, "value")


def test_a_table_that_is_not_utf8(tmp_path):
    (tmp_path / "id_prop.csv").write_bytes("a,1 Å\n".encode("latin-1"))
    with pytest.raises(StrataError, match=r"id_prop\.csv: not UTF-8 at byte 4 \(0xc5\)"):
        read(tmp_path, "value")


def test_an_extended_xyz(tmp_path):
    from ase.io import write

    frames = []
    for row in range(3):
        atoms = crystal(row).to_ase()
        atoms.info |= {"id": f"frame-{row}", "gap": 0.5 + row, "energy": -1.0 - row}
        frames.append(atoms)
    path = tmp_path / "all.extxyz"
    write(path, frames, format="extxyz")
    offered = folder.columns(path)
    assert offered.id_column == "id"
    assert {"gap", "energy"} <= set(offered.values)
    found = read(path, "gap", id_column="id")
    assert [record.entry_id for record in found] == ["frame-0", "frame-1", "frame-2"]
    assert [record.values["gap"] for record in found] == [0.5, 1.5, 2.5]
    assert [record.values["energy"] for record in found] == [-1.0, -2.0, -3.0]
    for row, record in enumerate(found):
        assert record.structure.structure_id == crystal(row).structure_id
    assert [record.entry_id for record in read(path, "gap")] == ["all-0", "all-1", "all-2"]


def test_a_broken_extended_xyz(tmp_path):
    path = tmp_path / "x.xyz"
    path.write_text("2\nid=a gap=1\nH 0 0 0\nH 0 0 0.7\n3\nid=b gap=2\nH 0 0 0\n")
    with pytest.raises(StrataError, match=r"x\.xyz: not an extended XYZ: line 5 declares 3 atoms"):
        read(path, "gap")
    path.write_text("")
    with pytest.raises(StrataError, match=r"no frames|not an extended XYZ"):
        folder.columns(path)


def test_an_ase_database(tmp_path):
    from ase.db import connect

    path = tmp_path / "all.db"
    with connect(str(path)) as database:
        for row in range(3):
            more = {"gap": 0.5 + row} if row < 2 else {"other": 1}
            database.write(crystal(row).to_ase(), mp_id=f"mp-{row}", **more)
    assert folder.columns(path) == (["mp_id", "gap", "other"], True, "mp_id", None, None)
    found = read(path, "gap", id_column="mp_id")
    assert [record.entry_id for record in found] == ["mp-0", "mp-1", "mp-2"]
    assert [record.values["gap"] for record in found] == [0.5, 1.5, None]
    assert [record.structure.formula for record in found] == [crystal(row).formula for row in range(3)]
    assert [record.entry_id for record in read(path, "gap")] == ["1", "2", "3"]


def test_no_ase_database(tmp_path):
    path = tmp_path / "x.db"
    path.write_text("hello")
    with pytest.raises(StrataError, match="not an ASE database"):
        folder.columns(path)


def frame(kind):
    """A data frame with pymatgen's or jarvis-tools' structures, as dictionaries or as their JSON."""
    made = [crystal(row) for row in range(3)]
    dicts = [item.to_jarvis_dict() if "jarvis" in kind else item.to_pymatgen().as_dict() for item in made]
    cells = [json.dumps(item) for item in dicts] if "json" in kind else dicts
    return pd.DataFrame({"material_id": ["a", "b", "c"], "structure": cells, "gap": [0.5, 1.5, np.nan]})


@pytest.mark.parametrize("kind", ["pymatgen", "jarvis", "pymatgen json", "jarvis json"])
@pytest.mark.parametrize("form", ["records", "columns", "split", "table", "index.gz", "parquet"])
def test_data_frames(tmp_path, kind, form):
    data = frame(kind)
    if form == "parquet":
        if kind == "pymatgen":
            pytest.skip("Arrow has no empty struct, and pymatgen's dictionaries hold some")
        path = tmp_path / "all.parquet"
        data.to_parquet(path)
    elif form == "index.gz":
        path = tmp_path / "all.json.gz"
        data.to_json(path, orient="records", compression="gzip")
    else:
        path = tmp_path / "all.json"
        data.to_json(path, orient=form)
    offered = folder.columns(path)
    assert (offered.id_column, offered.structure_column) == ("material_id", "structure")
    assert "gap" in offered.values
    where = {"column": "structure", "format": "pymatgen"}
    found = read(path, "gap", id_column="material_id", structure=where)
    assert [record.entry_id for record in found] == ["a", "b", "c"]
    assert [record.values["gap"] for record in found[:2]] == [0.5, 1.5]
    for row, record in enumerate(found):
        assert record.structure.structure_id == crystal(row).structure_id


def test_structures_that_a_frame_lacks(tmp_path):
    path = tmp_path / "all.json"
    rows = [{"id": "a", "s": crystal(0).to_jarvis_dict()}, {"id": "b", "s": None}, {"id": "c", "s": "NaCl"}]
    path.write_text(json.dumps(rows))
    found = read(path, "gap", id_column="id", structure={"column": "s", "format": "jarvis"})
    assert [record.error and record.error.code for record in found] == [None, "no_structure", "unreadable"]
    path.write_text(json.dumps([*rows, {"s": None}]))
    with pytest.raises(StrataError, match=r"row 3: 'id' holds None"):
        read(path, "gap", id_column="id", structure={"column": "s", "format": "jarvis"})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.json", b'[{"gap": 1}]', "no column with structures"),
        ("x.json", b"[1, 2]", "expected a table"),
        ("x.json", b"{", "not JSON"),
        ("x.parquet", b"PAR1", "not a Parquet file"),
        ("x.pkl", b"", "not a kind of data"),
        ("x.csv", b"file,gap\nTiO2,1\n", "needs a header with a column formula or composition"),
        ("x.csv", b"TiO2,1\n", "its first line is TiO2, 1"),
        ("x.csv", b"", "the table is empty"),
        ("x.csv", b"formula,gap\nTiO2\n", "line 2: 1 cells, where the first line has 2"),
        ("x.csv", b"formula,gap\nTi\xff,1\n", "not UTF-8 at byte 14"),
    ],
)
def test_files_that_cannot_be_understood(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StrataError, match=words):
        folder.columns(tmp_path / name)


def test_a_table_of_formulas(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('\ufeffid,Formula,gap,note\na,TiO2,3.2,"cold, dry"\nb,Ca(OH)2,na,\n', encoding="utf-8")
    assert folder.columns(path) == (["id", "gap", "note"], True, "id", None, "Formula")
    found = read(path, "gap", id_column="id")
    assert [record.entry_id for record in found] == ["a", "b"]
    assert found[0].values == {"id": "a", "Formula": "TiO2", "gap": "3.2", "note": "cold, dry"}
    assert all(record.structure is None and record.error is None for record in found)
    assert [record.entry_id for record in read(path, "gap")] == ["x-0", "x-1"]


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(StrataError, match="does not exist"):
        folder.columns(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("id_prop.csv", "file,gap,gap\na,1,2\n", "two columns are named 'gap'"),
        ("x.csv", "formula,gap,gap\nNaCl,1,2\n", "two columns are named 'gap'"),
        ("id_prop.csv", "file,gap\na," + "1" * 200_000 + "\n", "line 2: field larger than"),
        ("x.csv", 'formula,gap\nNaCl,"1' + "\n" * 200_000, "field larger than.*quotation mark"),
    ],
)
def test_a_table_that_could_be_misread_is_refused(tmp_path, name, text, words):
    table(tmp_path, text, name)
    with pytest.raises(StrataError, match=words):
        folder.columns(tmp_path if name == "id_prop.csv" else tmp_path / name)


def test_python_alone_reads_an_underscore_as_a_number(tmp_path):
    names = folder.columns(table(tmp_path, "a,1_000\nb,2\n"))
    assert (names.values, names.named) == (["1_000"], True)  # a name, as any other word


def test_a_link_out_of_the_folder_is_a_reject_and_one_inside_is_read(tmp_path):
    secret = tmp_path / "secret.cif"
    write_crystal(secret)
    mine = tmp_path / "mine"
    mine.mkdir()
    write_crystal(mine / "real.cif", 1)
    (mine / "a.cif").symlink_to(secret)
    (mine / "b.cif").symlink_to("real.cif")
    a, b = read(table(mine, "id,gap\na,1\nb,2\n"), "gap")
    assert a.structure is None
    assert "leads out of" in str(a.error)
    assert b.structure.structure_id == crystal(1).structure_id


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.cif")
    (record,) = read(table(tmp_path, "a,1\n"), "value")
    assert record.error.code == "no_structure"
    os.mkfifo(tmp_path / "x.xyz")
    with pytest.raises(StrataError, match="neither a folder nor a regular file"):
        folder.columns(tmp_path / "x.xyz")
    with pytest.raises(StrataError, match="neither a folder nor a regular file"):
        read(tmp_path / "x.xyz", "gap")
