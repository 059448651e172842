import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from core.errors import StrataError
from core.params import Ingest
from core.structure import Structure
from etl.cards import load_card
from etl.providers import matminer

CARD = load_card("dielectric_constant")
COLUMNS = ["material_id", "structure", "band_gap", "n", "poly_electronic", "poly_total", "e_total"]
NACL = Structure(5.64 * np.eye(3), [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])


def write(tmp_path, rows, columns=COLUMNS):
    path = tmp_path / "x.json.gz"
    table = {"index": list(range(len(rows))), "columns": columns, "data": rows}
    path.write_bytes(gzip.compress(json.dumps(table).encode()))
    return path


def test_rows_in_order(tmp_path):
    structure = NACL.to_pymatgen().as_dict()
    rows = [[f"mp-{i}", structure, 1.0 + i, 1.5, 2.25, 5.0, [[1, 0], [0, 1]]] for i in range(3)]
    found = list(matminer.records(CARD, write(tmp_path, rows), Ingest()))
    assert [record.entry_id for record in found] == ["mp-0", "mp-1", "mp-2"]
    assert [record.values["band_gap"] for record in found] == [1.0, 2.0, 3.0]
    assert {record.structure.structure_id for record in found} == {NACL.structure_id}


def test_disordered_and_absent_structures_are_told_with_their_record(tmp_path):
    structure = NACL.to_pymatgen().as_dict()
    structure["sites"][1]["species"][0]["occu"] = 0.5
    rows = [["mp-1", structure, 1, 1, 1, 1, 0], ["mp-2", None, 1, 1, 1, 1, 0]]
    found = list(matminer.records(CARD, write(tmp_path, rows), Ingest()))
    assert [record.error.code for record in found] == ["disordered", "no_structure"]


def test_a_table_of_another_shape(tmp_path):
    with pytest.raises(StrataError, match="record 0: 2 values for 7 columns"):
        list(matminer.records(CARD, write(tmp_path, [["mp-1", None]]), Ingest()))
    path = tmp_path / "y.json.gz"
    path.write_bytes(gzip.compress(b"[1, 2]"))
    with pytest.raises(StrataError, match=r"y\.json\.gz: expected a table"):
        list(matminer.records(CARD, path, Ingest()))


@pytest.mark.skipif("STRATA_RAW" not in os.environ, reason="STRATA_RAW names no folder of raw files")
@pytest.mark.parametrize(("name", "rows"), [("dielectric_constant", 1056), ("piezoelectric_tensor", 941)])
def test_the_published_files(name, rows):
    card = load_card(name)
    found = list(matminer.records(card, Path(os.environ["STRATA_RAW"]) / card.source.file, Ingest()))
    assert len(found) == rows == card.expected_rows
    assert all(record.error is None for record in found)
