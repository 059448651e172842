"""The map in the format of chemiscope, for its own page (https://chemiscope.org) and notebooks."""

import gzip
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from core.atomic import write_whole
from core.errors import StrataError
from core.lazy import need
from evaluation.explorer.structure_map import Column, StructureMap

ENDINGS = (".json", ".json.gz")


def check_path(path: Path) -> Path:
    """Return a path that chemiscope's format can be written to. Raises `StrataError` for another."""
    if not path.name.endswith(ENDINGS):
        raise StrataError(f"{path}: chemiscope's format is written to a .json or .json.gz")
    if not path.parent.is_dir():
        raise StrataError(f"cannot write {path}: there is no folder {path.parent}")
    return path


def chemiscope_input(shown: StructureMap) -> dict[str, Any]:
    """Return the data set as chemiscope reads it; its own library checks it.

    Only structures with positions are in it. A number that is not known is NaN, which
    chemiscope writes as such. Raises `StrataError` where
    chemiscope or ase is not installed, and where no structure has positions.
    """
    library, ase = need("chemiscope", "explore"), need("ase", "extract")
    drawn = np.flatnonzero(shown.crystals.drawn)
    if not len(drawn):
        raise StrataError("none of the structures has positions, and chemiscope shows nothing else")
    atoms = []
    for i in drawn:
        structure = shown.crystals.structure(int(i))
        assert structure is not None
        one = ase.Atoms(structure.numbers, cell=structure.lattice, pbc=True)
        one.set_scaled_positions(structure.frac_coords)
        atoms.append(one)
    properties = {
        "structure": _property([shown.names[i] for i in drawn], "Its first record."),
        "formula": _property([shown.formulas[i] for i in drawn], "Reduced formula."),
    } | {column.title: _values(column, drawn) for column in shown.columns}
    settings = {
        "map": {
            "x": {"property": shown.column(shown.x).title},
            "y": {"property": shown.column(shown.y).title},
            "color": {"property": shown.column(shown.colour).title},
        },
        "structure": [{"unitCell": True, "spaceFilling": False, "bonds": True}],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN, which chemiscope leaves out of its map
        found = library.create_input(
            structures=atoms,
            properties=properties,
            metadata={"name": shown.title, "description": " ".join(shown.notes)},
            settings=settings,
        )
    return dict(found)


def write_chemiscope(shown: StructureMap, path: Path) -> None:
    """Write the data set to a .json, or compressed to a .json.gz."""
    content = json.dumps(chemiscope_input(shown)).encode()
    write_whole(path, gzip.compress(content, 6) if path.name.endswith(".gz") else content)


def _property(values: list[Any], about: str, unit: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"target": "structure", "values": values, "description": about}
    return found | ({"units": unit} if unit else {})


def _values(column: Column, drawn: np.ndarray) -> dict[str, Any]:
    known = column.values[drawn]
    if not column.labels:
        return _property(known.tolist(), column.about, column.unit)
    words = [column.labels[int(at)] if np.isfinite(at) else "none" for at in known]
    return _property(words, column.about)
