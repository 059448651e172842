import json
import os
import zipfile
from pathlib import Path

import pytest

from core.errors import StrataError
from core.params import Ingest
from etl.cards import load_card
from etl.providers import jarvis

CARD = load_card("jarvis_3d")
ATOMS = {
    "lattice_mat": [[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]],
    "coords": [[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]],
    "elements": ["Ga", "As"],
    "cartesian": False,
}


def write(tmp_path, rows):
    path = tmp_path / "x.json.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.json", json.dumps(rows))
    return path


def read(tmp_path, rows):
    return list(jarvis.records(CARD, write(tmp_path, rows), Ingest()))


def test_rows_in_order_with_their_raw_values(tmp_path):
    rows = [
        {"jid": f"JVASP-{i}", "atoms": ATOMS, "ehull": value} for i, value in enumerate((0.1, "na", None))
    ]
    found = read(tmp_path, rows)
    assert [record.entry_id for record in found] == ["JVASP-0", "JVASP-1", "JVASP-2"]
    assert [record.values["ehull"] for record in found] == [0.1, "na", None]
    assert found[0].structure.frac_coords.tolist() == ATOMS["coords"]
    assert found[0].structure.symbols == ["Ga", "As"]


@pytest.mark.parametrize(
    ("atoms", "code"),
    [
        (None, "no_structure"),
        ({}, "unreadable"),
        (ATOMS | {"elements": ["Ga", "D"]}, "no_features"),
        (ATOMS | {"coords": [[0, 0, 0]]}, "unreadable"),
    ],
)
def test_a_bad_structure_is_told_with_its_record(tmp_path, atoms, code):
    [record] = read(tmp_path, [{"jid": "JVASP-1", "atoms": atoms}])
    assert record.structure is None
    assert record.error.code == code


@pytest.mark.parametrize("identity", [None, "", 1.5, True, ["a"]])
def test_a_record_without_an_id(tmp_path, identity):
    with pytest.raises(StrataError, match=r"x\.json\.zip, record 0: column 'jid'"):
        read(tmp_path, [{"jid": identity, "atoms": ATOMS}])


def test_not_a_list_of_records(tmp_path):
    with pytest.raises(StrataError, match="expected a JSON list"):
        read(tmp_path, {"jid": 1})
    with pytest.raises(StrataError, match="record 1: expected a mapping"):
        read(tmp_path, [{"jid": "a", "atoms": ATOMS}, 3])


def test_no_file():
    with pytest.raises(StrataError, match="reads a file"):
        list(jarvis.records(CARD, None, Ingest()))


@pytest.mark.skipif("STRATA_RAW" not in os.environ, reason="STRATA_RAW names no folder of raw files")
def test_the_published_file():
    card = load_card("jarvis_3d", "dft_3d_2022")
    path = Path(os.environ["STRATA_RAW"]) / card.source.file
    found = list(jarvis.records(card, path, Ingest()))
    assert len(found) == 892
    assert all(record.error is None for record in found)
    columns = {item.column for item in card.properties.values()}
    assert all(record.values.keys() - {"jid"} <= columns for record in found)
    assert all(len(record.values) == 25 + 1 for record in found)
