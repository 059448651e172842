"""Files of a user: CIF, POSCAR and XYZ to `Structure`s."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etl.errors import StrataError
from etl.lazy import need
from etl.params import Ingest
from etl.structure import InvalidStructure, Structure

_POSCAR = ("poscar", "contcar")


def read_structures(
    path: str | Path, vacuum: float | None = None, aliases: Mapping[str, str] | None = None
) -> list[tuple[str, Structure]]:
    """Read every structure of a file, in order.

    CIF (`.cif`) and POSCAR (`.vasp`, `.poscar`, or a file named POSCAR… or CONTCAR…) go through pymatgen,
    XYZ and extended XYZ (`.xyz`, `.extxyz`) through ASE. An XYZ without a lattice is a molecule and is
    boxed with `vacuum` Å on every side (by default as `params.yaml` has it by default).
    `aliases` are declared replacements of symbols, such as {"D": "H"}.

    Returns pairs (id, structure): the id is the file's stem, with `-0`, `-1`, … where there are several.

    Raises `InvalidStructure` naming the file (`unreadable`, with the byte where it is not UTF-8;
    `disordered`, `no_features`, …) and `StrataError` for a missing file or an unknown kind of file.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidStructure("unreadable", f"{path}: not UTF-8 at byte {error.start}") from None
    kind = path.suffix.lower()
    if kind == ".cif":
        parse = _parse_cif
    elif kind in {".vasp", ".poscar"} or path.name.lower().startswith(_POSCAR):
        parse = _parse_poscar
    elif kind in {".xyz", ".extxyz"}:
        parse = _parse_xyz
    else:
        raise StrataError(
            f"{path}: unknown kind of structure file; known are .cif, POSCAR, .vasp, .xyz, .extxyz"
        )
    need("ase" if parse is _parse_xyz else "pymatgen.core", "data")
    try:
        found = parse(text)
    except Exception as error:  # noqa: BLE001  # the readers raise whatever a broken file makes them raise
        raise InvalidStructure("unreadable", f"{path}: {error}") from None
    if not found:
        raise InvalidStructure("no_structure", f"{path} holds no structure")
    box = Ingest().vacuum if vacuum is None else vacuum
    names = [path.stem] if len(found) == 1 else [f"{path.stem}-{index}" for index in range(len(found))]
    structures = []
    for name, item in zip(names, found, strict=True):
        try:
            if parse is _parse_xyz:
                structure = Structure.from_ase(item, box)
            else:
                structure = Structure.from_pymatgen(item, aliases)
        except InvalidStructure as error:
            raise InvalidStructure(error.code, f"{path}, {name}: {error}") from None
        structures.append((name, structure))
    return structures


def _parse_cif(text: str) -> list[Any]:
    import warnings

    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of every rounded coordinate
        return list(CifParser.from_str(text).parse_structures(primitive=False, on_error="raise"))


def _parse_poscar(text: str) -> list[Any]:
    from pymatgen.io.vasp import Poscar

    return [Poscar.from_str(text).structure]


def _parse_xyz(text: str) -> list[Any]:
    from ase.io import read

    return list(read(io.StringIO(text), index=":", format="extxyz"))
