"""Files in the formats in which the datasets of the paper are published, with values that are made up."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from core.structure import Structure

ROWS = 4
ELEMENTS = ["Si", "Ge", "Sn", "Pb"]


def crystal(row: int) -> Structure:
    """A small crystal, another one for each row; its cell is 4.0, 4.1, … Å wide and twice as long."""
    edge = 4.0 + row / 10
    numbers = [14, (8, 16, 34, 52)[row % 4]]
    return Structure(np.diag([edge, edge, 2 * edge]), numbers, [[0, 0, 0], [0.5, 0.5, 0.5]])


def zipped(path: Path, records: list[dict[str, Any]]) -> Path:
    """jarvis-tools' way: a zip with one JSON list, whose member is named as the file without `.zip`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.name.removesuffix(".zip"), json.dumps(records))
    return path


def gzipped(path: Path, columns: list[str], rows: list[list[Any]]) -> Path:
    """matminer's way: a gzipped pandas table in `split` orientation."""
    table = {"index": list(range(len(rows))), "columns": columns, "data": rows}
    path.write_bytes(gzip.compress(json.dumps(table).encode()))
    return path


# --- JARVIS-DFT: what the columns of the files hold, row by row ---

SCALARS_2D = [
    "formation_energy_peratom",
    "optb88vdw_bandgap",
    "mbj_bandgap",
    "magmom_oszicar",
    "magmom_outcar",
    "epsx",
    "epsy",
    "epsz",
    "mepsx",
    "mepsy",
    "mepsz",
    "slme",
    "spillage",
    "n-Seebeck",
    "p-Seebeck",
    "n-powerfact",
    "p-powerfact",
    "encut",
    "kpoint_length_unit",
    "exfoliation_energy",
]
SCALARS_3D = [
    *SCALARS_2D,
    "optb88vdw_total_energy",
    "ehull",
    "bulk_modulus_kv",
    "shear_modulus_gv",
    "max_efg",
    "avg_elec_mass",
    "avg_hole_mass",
    "Tc_supercon",
    "ph_heat_capacity",
    "max_ir_mode",
    "min_ir_mode",
    "dfpt_piezo_max_dielectric",
    "dfpt_piezo_max_dielectric_electronic",
    "dfpt_piezo_max_dielectric_ionic",
    "dfpt_piezo_max_eij",
    "dfpt_piezo_max_dij",
]
NESTED = ("elastic_tensor", "modes", "effective_masses_300K")


def scalar(place: int, row: int) -> float:
    """The value of the scalar column number `place` in a row; no two are alike."""
    return round(10.0 + place + row / 8, 6)


def tensor(row: int) -> list[list[float]]:
    """A 6 × 6 matrix whose component i, j (from 1) is 100·row + 10·i + j."""
    return [[100.0 * row + 10 * i + j for j in range(1, 7)] for i in range(1, 7)]


def jarvis_record(row: int, scalars: list[str]) -> dict[str, Any]:
    """One record with every column filled, and a few that no card reads."""
    record: dict[str, Any] = {"jid": f"JVASP-{row}", "atoms": crystal(row).to_jarvis_dict()}
    record |= {name: scalar(place, row) for place, name in enumerate(scalars)}
    record |= {
        "elastic_tensor": tensor(row),
        "modes": [0.0, 50.0 + row, -5.0 - row, 20.0],
        "effective_masses_300K": {"n": [0.1, 0.2, 0.3 + row], "p": [1.0, 2.0, 3.0 + row]},
        "spg_number": "227",
        "icsd": [],
        "typ": "3D",
        "desc": "na",
    }
    return record


def jarvis_without(record: dict[str, Any], scalars: list[str]) -> dict[str, Any]:
    """The record as the files have it where nothing was computed: `na` in every way that they write it."""
    empty = dict.fromkeys(scalars, "na") | {"elastic_tensor": "na", "modes": []}
    return record | empty | {"effective_masses_300K": {"n": "na", "p": "na"}, "magmom_outcar": ""}


def jarvis(path: Path, scalars: list[str]) -> Path:
    """`ROWS` full records and one without any value."""
    records = [jarvis_record(row, scalars) for row in range(ROWS)]
    return zipped(path, [*records, jarvis_without(jarvis_record(ROWS, scalars), scalars)])


# --- the others ---

FUNCTIONALS = ("b3lyp", "bp86", "m06", "pbe0")
QUANTITIES = ("homo", "lumo", "gap", "scharber_pce", "scharber_voc", "scharber_jsc")


def hopv(path: Path) -> Path:
    """Conformers in a large box, two of each molecule; each functional has a text, too."""
    records = []
    for row in range(ROWS):
        molecule = Structure(
            40 * np.eye(3), [6, 6, 8], [[0.5, 0.5, 0.5], [0.53, 0.5, 0.5], [0.56, 0.5 + row / 99, 0.5]]
        )
        record: dict[str, Any] = {"id": f"molecule {row // 2}", "atoms": molecule.to_jarvis_dict()}
        for i, functional in enumerate(FUNCTIONALS):
            record[f"{functional}_description"] = "QChem"
            record |= {f"{functional}_{name}": scalar(10 * i + j, row) for j, name in enumerate(QUANTITIES)}
        records.append(record)
    return zipped(path, records)


def dielectric(path: Path) -> Path:
    columns = [
        "material_id",
        "structure",
        "band_gap",
        "n",
        "poly_electronic",
        "poly_total",
        "e_electronic",
        "e_total",
    ]
    rows = []
    for row in range(ROWS):
        tensors = np.diag([1.0, 2.0, 3.0 + row]).tolist(), np.diag([4.0, 9.0 + row, 5.0]).tolist()
        structure = crystal(row).to_pymatgen().as_dict()
        rows.append([f"mp-{row}", structure, *(scalar(place, row) for place in range(4)), *tensors])
    return gzipped(path, columns, rows)


def piezoelectric(path: Path) -> Path:
    columns = ["material_id", "structure", "eij_max", "v_max", "piezoelectric_tensor"]
    rows = []
    for row in range(ROWS):
        matrix = np.zeros((3, 6))
        matrix[0, 3], matrix[2, 5] = 3.0 * (row + 1), 4.0 * (row + 1)  # their root of squares is 5 (row + 1)
        structure = crystal(row).to_pymatgen().as_dict()
        rows.append([f"mp-{row}", structure, scalar(0, row), [0.0, 0.0, 1.0], matrix.tolist()])
    return gzipped(path, columns, rows)


def flla(path: Path) -> Path:
    columns = ["material_id", "e_above_hull", "formula", "nsites", "structure", "formation_energy",
               "formation_energy_per_atom"]  # fmt: skip
    rows = [
        [
            f"mp-{row}",
            scalar(0, row),
            "SiO",
            2,
            crystal(row).to_pymatgen().as_dict(),
            scalar(1, row),
            scalar(2, row),
        ]
        for row in range(ROWS)
    ]
    return gzipped(path, columns, rows)


# Table → its columns, in which the value is `None` and the Materials Project id `...`.
EXPERIMENTAL: dict[str, dict[str, Any]] = {
    "expt_formation_enthalpy": {
        "formula": "SiO", "pearson symbol": "cF8", "space group": "Fm-3m", "oqmdid": 3, "e_form expt": None,
        "e_form mp": -1.0, "e_form oqmd": -1.1, "mpid": ...,
    },
    "expt_formation_enthalpy_kingsbury": {
        "formula": "SiO", "expt_form_e": None, "uncertainty": 0.01, "phaseinfo": "cubic", "reference": "Kim",
        "likely_mpid": ...,
    },
    "expt_gap_kingsbury": {"formula": "SiO", "expt_gap": None, "likely_mpid": ...},
}  # fmt: skip


def experimental(path: Path, name: str) -> Path:
    """Records with the ids mp-0 to mp-3, without an id, with an unknown one, and that without a formula."""
    ids = [*(f"mp-{row}" for row in range(ROWS)), None, "mp-999", "mp-999"]
    template = EXPERIMENTAL[name]
    rows = [
        [scalar(0, row) if cell is None else key if cell is ... else cell for cell in template.values()]
        for row, key in enumerate(ids)
    ]
    rows[-1][list(template).index("formula")] = None
    return gzipped(path, list(template), rows)


def megnet(path: Path) -> Path:
    """The source dataset, with `na` for a gap."""
    records = [
        {
            "id": f"mp-{row}",
            "atoms": crystal(row).to_jarvis_dict(),
            "e_form": scalar(0, row),
            "gap pbe": scalar(1, row),
        }
        for row in range(ROWS)
    ]
    records.append(records[0] | {"id": "mp-77", "gap pbe": "na"})
    return zipped(path, records)


def megnet_2019(path: Path) -> Path:
    """The larger copy of Materials Project, here with the first two structures only."""
    records = [
        {"id": f"mp-{row}", "atoms": crystal(row).to_jarvis_dict(), "formation_energy_per_atom": -1.0}
        for row in range(2)
    ]
    return zipped(path, records)
