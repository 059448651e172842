"""CIFs of the plainest kind, as databases write them: one block, every atom listed, no symmetry.

pymatgen reads the file and its numbers; what it spends most of its time on, symmetry and sites that are
shared, is not there. Whatever else a CIF may hold is left to pymatgen as a whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.structure import SYMBOLS, Structure

_IDENTITY = ("x,y,z", "+x,+y,+z")
_SYMMETRY = (
    "_symmetry_equiv_pos_as_xyz", "_symmetry_equiv_pos_as_xyz_",
    "_space_group_symop_operation_xyz", "_space_group_symop_operation_xyz_",
)  # fmt: skip
_COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_ELEMENTS = {symbol: number for number, symbol in enumerate(SYMBOLS)} | {"X": 0}
_APART = 1e-3  # of the cell: nearer ones may be one site, which pymatgen decides


def plain_structure(parser: Any) -> Structure | None:
    """Return the structure of a `pymatgen.io.cif.CifParser`; None where it has to be read by the parser.

    The parser has rounded coordinates near thirds already.
    """
    blocks = [block.data for block in parser._cif.data.values()]  # it has no other door to them
    if len(blocks) != 1 or not _is_plain(blocks[0]):
        return None
    data = blocks[0]
    try:
        coords = np.array([data[name] for name in _COORDINATES], dtype=np.float64).T
        symbols = [_ELEMENTS[symbol] for symbol in data["_atom_site_type_symbol"]]
        lattice = parser.get_lattice(data)
    except (KeyError, ValueError, TypeError):
        return None
    if lattice is None or not np.isfinite(coords).all() or not _are_apart(coords) or 0 in symbols:
        return None
    return Structure(lattice.matrix, symbols, coords)


def _is_plain(data: Mapping[str, Any]) -> bool:
    """Tell whether a block has the identity alone for symmetry, whole atoms, and nothing beside."""
    operations = [one for name in _SYMMETRY for one in _listed(data.get(name))]
    whole = all(amount in {"1", "1.0", "1.00", "1.0000"} for amount in data.get("_atom_site_occupancy", ()))
    beside = any(
        name.startswith(("_space_group_symop_magn", "_atom_site_moment", "_atom_type_ox")) for name in data
    )
    hydrogens = "_atom_site_attached_hydrogens" in data
    identity = len(operations) == 1 and operations[0].replace(" ", "").lower() in _IDENTITY
    return identity and whole and not beside and not hydrogens and "_atom_site_type_symbol" in data


def _listed(value: Sequence[str] | str | None) -> Sequence[str]:
    return [value] if isinstance(value, str) else value or []


def _are_apart(coords: np.ndarray) -> bool:
    """Tell whether no two sites (n, 3) may be one: no two lie in the same or neighbouring steps."""
    if len(coords) > 2000:
        return False  # rare, and slow to tell
    apart = np.abs(coords[:, None] - coords[None])
    apart -= np.round(apart)
    near = (np.abs(apart) < _APART).all(axis=2)
    return int(near.sum()) == len(coords)
