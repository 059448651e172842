"""Files of a user: CIF, POSCAR, XYZ and PDB to `Structure`s."""

import io
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from core.cif import plain_structure
from core.errors import StrataError
from core.lazy import need
from core.params import Ingest
from core.structure import InvalidStructure, Structure

SUFFIXES = (".cif", ".vasp", ".poscar", ".xyz", ".extxyz", ".pdb")
_POSCAR = ("poscar", "contcar")
_ISOTOPES = ("D", "T")
MOST_COLUMNS = 10_000  # of one property of an extended XYZ
_DIGITS = 18  # of a number that is read as it stands


def read_structures(
    path: str | Path, vacuum: float | None = None, aliases: Mapping[str, str] | None = None
) -> list[tuple[str, Structure]]:
    """Read every structure of a file, in order.

    CIF (`.cif`) and POSCAR (`.vasp`, `.poscar`, or a file named POSCAR… or CONTCAR…) go through pymatgen,
    XYZ, extended XYZ (`.xyz`, `.extxyz`) and PDB (`.pdb`) through ASE. An XYZ or PDB without a lattice is a
    molecule and is boxed with `vacuum` Å on every side (by default as `params.yaml` has it by default).
    `aliases` are declared replacements of symbols, such as {"D": "H"}, for CIF and POSCAR.

    Returns pairs (id, structure): the id is the file's stem, with `-0`, `-1`, … where there are several.

    Raises `InvalidStructure` naming the file (`unreadable`, with the byte where it is not UTF-8;
    `disordered`, `no_features`, …) and `StrataError` for a missing file or an unknown kind of file.
    """
    path = Path(path)
    parse = _parser(path)
    text = _text(path)
    try:
        if parse is _parse_xyz:
            check_declared(text.splitlines())
        found = parse(text, aliases or {})
    except InvalidStructure as error:
        raise InvalidStructure(error.code, f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001  # the readers raise whatever a broken file makes them raise
        raise InvalidStructure("unreadable", f"{path}: {error}") from None
    if not found:
        raise InvalidStructure("no_structure", f"{path} holds no structure")
    box = Ingest().vacuum if vacuum is None else vacuum
    names = [path.stem] if len(found) == 1 else [f"{path.stem}-{index}" for index in range(len(found))]
    structures = []
    for name, item in zip(names, found, strict=True):
        try:
            if isinstance(item, Structure):
                structure = item
            elif parse in (_parse_xyz, _parse_pdb):
                structure = Structure.from_ase(item, box)
            else:
                structure = Structure.from_pymatgen(item, aliases)
        except InvalidStructure as error:
            raise InvalidStructure(error.code, f"{path}, {name}: {error}") from None
        structures.append((name, structure))
    return structures


def is_structure_file(path: Path) -> bool:
    """Tell by its name whether a file is of a kind that `read_structures` reads."""
    return path.suffix.lower() in SUFFIXES or path.name.lower().startswith(_POSCAR)


def _parser(path: Path) -> Callable[[str, Mapping[str, str]], list[Any]]:
    kind = path.suffix.lower()
    if kind in {".xyz", ".extxyz"}:
        need("ase", "data")
        return _parse_xyz
    if kind == ".pdb":
        need("ase", "data")
        return _parse_pdb
    if kind == ".cif":
        need("pymatgen.core", "data")
        return _parse_cif
    if kind in {".vasp", ".poscar"} or path.name.lower().startswith(_POSCAR):
        need("pymatgen.core", "data")
        return _parse_poscar
    raise StrataError(
        f"{path}: unknown kind of structure file; known are .cif, POSCAR, .vasp, .xyz, .extxyz, .pdb"
    )


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise StrataError(f"{path} is no regular file")  # a pipe has no end
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidStructure("unreadable", f"{path}: not UTF-8 at byte {error.start}") from None


def _parse_cif(text: str, aliases: Mapping[str, str]) -> list[Any]:
    import warnings

    from pymatgen.io.cif import CifFile, CifParser

    for block in CifFile.from_str(text).data.values():
        _refuse_isotopes(block.data.get("_atom_site_type_symbol", []), aliases)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of every rounded coordinate
        parser = CifParser.from_str(text)
        plain = plain_structure(parser)
        if plain is not None:
            return [plain]
        return list(parser.parse_structures(primitive=False, on_error="raise"))


def _parse_poscar(text: str, aliases: Mapping[str, str]) -> list[Any]:
    from pymatgen.io.vasp import Poscar

    lines = text.splitlines()
    _refuse_isotopes(" ".join(lines[5:6]).split(), aliases)
    counts = next((found for line in lines[5:7] if (found := _whole_numbers(line))), [])
    if sum(counts) > len(lines):
        raise InvalidStructure("unreadable", f"declares {sum(counts):,} atoms in {len(lines)} lines")
    return [Poscar.from_str(text).structure]


def _parse_xyz(text: str, aliases: Mapping[str, str]) -> list[Any]:  # noqa: ARG001  # as the others
    from ase.io import read

    try:
        return list(read(io.StringIO(text), index=":", format="extxyz"))
    except KeyError as error:  # how ASE says that it does not know a symbol
        raise InvalidStructure("no_features", f"{error} is no element with atom features") from None


def check_declared(lines: Iterable[str]) -> None:
    """Raise `InvalidStructure` for an XYZ that declares more atoms or columns than it can hold.

    Its readers make room for what is declared, or count up to it. lines: those of the file, of all frames.
    """
    waiting = iter(enumerate(lines, 1))
    for number, line in waiting:
        atoms = _whole_numbers(line)
        if len(atoms) != 1:
            continue  # an empty line, a vector of the cell, or what the reader will complain of
        comment = next(waiting, (0, ""))[1]
        widths = re.findall(r":[A-Z]:(\d+)", comment)
        wide = [width for width in widths if _whole_numbers(width)[0] > MOST_COLUMNS]
        if wide:
            raise InvalidStructure(
                "unreadable", f"line {number + 1} declares a property of {wide[0]} columns"
            )
        found = sum(1 for _ in islice(waiting, atoms[0]))
        if found < atoms[0]:
            raise InvalidStructure("unreadable", f"line {number} declares {atoms[0]:,} atoms, {found} follow")


def _whole_numbers(line: str) -> list[int]:
    """Return the numbers of a line that has nothing else; one of many digits as a very large one.

    >>> _whole_numbers(" 2 1"), _whole_numbers("Na Cl"), _whole_numbers("2 O"), _whole_numbers("9" * 30)
    ([2, 1], [], [], [1000000000000000000])
    """
    words = line.split()
    if not all(word.isascii() and word.isdigit() for word in words):
        return []
    return [int(word) if len(word) <= _DIGITS else 10**_DIGITS for word in words]


def _parse_pdb(text: str, aliases: Mapping[str, str]) -> list[Any]:  # noqa: ARG001  # as the others
    from ase.io import read

    try:
        found = read(io.StringIO(text), index=":", format="proteindatabank")
    except KeyError as error:
        raise InvalidStructure("no_features", f"{error} is no element with atom features") from None
    frames = [atoms for atoms in found if len(atoms)]
    for atoms in frames:
        if atoms.cell.volume <= 1.0 + 1e-6:  # CRYST1 of 1 Å a side is how the format says "no crystal"
            atoms.set_cell(None)
            atoms.pbc = False
    return frames


def _refuse_isotopes(symbols: Iterable[str], aliases: Mapping[str, str]) -> None:
    """pymatgen reads D and T as H without a word; here that has to be declared."""
    for symbol in symbols:
        if symbol in _ISOTOPES and symbol not in aliases:
            raise InvalidStructure("no_features", f"{symbol!r} is no element with atom features")
