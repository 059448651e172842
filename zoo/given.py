"""What a user gives: one structure or many, of any library of the field, or files of them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import StrataError
from core.structure import InvalidStructure, Structure
from core.structure_files import read_structures

Named = tuple[Any, Structure | InvalidStructure]  # an id, and the structure or why it cannot be used
_KINDS = "structures of ASE, pymatgen, jarvis-tools and Strata, and files of them"


def items_of(given: Any) -> list[Any]:
    """Return what was given as a list: one structure or file is a list of one.

    Raises `StrataError` for what is neither a structure, nor a file, nor several of them.

    >>> from ase.build import bulk
    >>> len(items_of(bulk("NaCl", "rocksalt", a=5.64))), len(items_of("mine.cif")), len(items_of([]))
    (1, 1, 0)
    """
    if _is_file(given) or is_structure(given):
        return [given]
    if not isinstance(given, Iterable):
        raise _other(given)
    return list(given)


def read(items: Sequence[Any], ids: Sequence[Any] | None, vacuum: float) -> list[Named]:
    """Read items and name their structures; one that cannot be used comes with the reason.

    ids: one per item. None: the place of a structure among the items, and of a file's structures their names
    (see `read_structures`), after the folder where two files are called alike. vacuum: Å around molecules.

    Raises `StrataError` for a file that is not there or of an unknown kind, for objects of another kind, and
    for a file that holds several structures where it is given one id.
    """
    if ids is not None and len(ids) != len(items):
        raise StrataError(f"{len(ids)} ids for {len(items)} structures or files")
    prefixes = prefixes_of([Path(item) for item in items if _is_file(item)])
    found: list[Named] = []
    for place, item in enumerate(items):
        name = place if ids is None else ids[place]
        try:
            if not _is_file(item):
                found.append((name, as_structure(item, vacuum)))
                continue
            path = Path(item)
            several = read_structures(path, vacuum)
        except InvalidStructure as error:
            found.append((str(item) if ids is None and _is_file(item) else name, error))
            continue
        if ids is None:
            found += [(f"{prefixes[path]}{own}", structure) for own, structure in several]
        elif len(several) == 1:
            found.append((name, several[0][1]))
        else:
            raise StrataError(
                f"{path} holds {len(several)} structures, and one id was given for it: {name!r}"
            )
    return found


def prefixes_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Return what stands before the names of each file's structures: its folder, where stems repeat."""
    stems = [path.stem for path in paths]
    return {path: "" if stems.count(path.stem) == 1 else f"{path.parent}/" for path in paths}


def as_structure(item: Any, vacuum: float | None = None) -> Structure:
    """Read a structure of one of the libraries of the field, told by what it offers.

    Raises `InvalidStructure` where it cannot be used, `StrataError` for an object of another kind.
    """
    if isinstance(item, Structure):
        return item
    if isinstance(item, Mapping):
        return Structure.from_jarvis(item) if "lattice_mat" in item else Structure.from_pymatgen(item)
    if hasattr(item, "lattice_mat"):
        return Structure.from_jarvis(item.to_dict())
    if hasattr(item, "sites"):
        return Structure.from_pymatgen(item)
    if hasattr(item, "cell") and hasattr(item, "numbers"):
        return Structure.from_ase(item, vacuum)
    raise _other(item)


def _is_file(item: Any) -> bool:
    return isinstance(item, str | os.PathLike)


def is_structure(item: Any) -> bool:
    """Tell whether something is one structure; those of ASE and pymatgen are iterable, too."""
    known = isinstance(item, Structure | Mapping) or hasattr(item, "lattice_mat") or hasattr(item, "sites")
    return known or (hasattr(item, "cell") and hasattr(item, "numbers"))


def _other(item: Any) -> StrataError:
    return StrataError(f"{_KINDS} can be embedded, and this is a {type(item).__name__}")
