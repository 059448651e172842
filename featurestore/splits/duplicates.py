"""The same crystal in another setting: which structures of a store are one crystal.

`structure_id` tells structures apart by their floats, so a rotated, shifted or doubled cell is another
structure. Here every cell is reduced to a primitive one (spglib), and primitive cells of one composition are
compared by pymatgen's StructureMatcher. The result, a `duplicate_group` for every structure, lies in
`store/duplicates`; it is used for grouped splits and against leakage, and never to drop anything.
"""

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.composition import Composition, restored
from core.errors import StrataError
from core.lazy import need
from core.structure import Structure
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from featurestore.tables.places import readable
from featurestore.tables.schema import DUPLICATES
from featurestore.tables.shards import Chunk
from featurestore.tables.vectors import read_columns
from featurestore.tables.writer import TableWriter

CODE = 1  # raised by hand when the same structures are grouped otherwise


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two cells of one crystal may be apart: as far as two ways of relaxing it leave them."""

    symmetry: float = 0.01  # Å, of the reduction to a primitive cell
    volume: float = 0.1  # relative; cells are then scaled to one volume
    length: float = 0.1  # relative, of lattice vectors
    angle: float = 3.0  # degrees
    site: float = 0.1  # of the mean distance between atoms
    most_atoms: int = 100  # a larger primitive cell is a group of its own: comparing takes too long


@dataclass(slots=True)
class DuplicateReport:
    """What was found. `shared`: pairs of datasets → groups that have structures in both."""

    structures: int
    groups: int
    largest: int
    not_compared: int
    shared: dict[tuple[str, str], int] = field(default_factory=dict)

    def __str__(self) -> str:
        first = (
            f"{self.structures:,} structures are {self.groups:,} crystals; the largest group has "
            f"{self.largest:,}; {self.not_compared:,} cells are too large to be compared"
        )
        lines = [f"  in {one} and {other}: {count:,}" for (one, other), count in sorted(self.shared.items())]
        return "\n".join([first, *lines])


def find_groups(
    structures: Iterable[tuple[str, Structure | Composition]], tolerance: Tolerance | None = None
) -> tuple[dict[str, str], int]:
    """Group structures that are one crystal; returns structure_id → duplicate_group, and how many cells
    were too large to be compared.

    Only primitive cells of the same composition and of nearly the same volume are compared, and each
    only with the first of every group so far, in the order of volume and id: the result does not depend on
    the order of the input. A composition without positions is a group of its own.

    >>> cell = Structure(3.6 * np.eye(3), [29], [[0, 0, 0]])
    >>> double = Structure(np.diag([3.6, 3.6, 7.2]), [29, 29], [[0, 0, 0], [0, 0, 0.5]])
    >>> groups, _ = find_groups([("a", cell), ("b", double)])
    >>> groups
    {'a': 'a', 'b': 'a'}
    """
    tolerance = tolerance or Tolerance()
    buckets: dict[tuple[Any, ...], list[tuple[float, str, Structure]]] = defaultdict(list)
    groups: dict[str, str] = {}
    too_large = 0
    for structure_id, structure in structures:
        if isinstance(structure, Composition):
            groups[structure_id] = structure_id
            continue
        primitive = _primitive(structure, tolerance.symmetry)
        if primitive.n_atoms > tolerance.most_atoms:
            groups[structure_id] = structure_id
            too_large += 1
            continue
        composition = np.unique(primitive.numbers, return_counts=True)
        key = (*composition[0].tolist(), *composition[1].tolist())
        buckets[key].append((primitive.volume / primitive.n_atoms, structure_id, primitive))
    matcher = _matcher(tolerance)
    for members in buckets.values():
        for group in _bucket(sorted(members, key=lambda member: member[:2]), matcher, tolerance):
            name = min(group)
            groups |= dict.fromkeys(group, name)
    return dict(sorted(groups.items())), too_large


def update(store_root: str | Path, tolerance: Tolerance | None = None) -> DuplicateReport:
    """Group all structures of a store and keep the result in `store/duplicates`.

    Nothing is computed where the structures and tolerances are those of the last time.
    """
    tolerance = tolerance or Tolerance()
    layout = StoreLayout(Path(store_root))
    members = {folder.name: _ids(folder) for folder in layout.tables("structures")}
    everything = sorted(set().union(*members.values()))
    if not everything:
        raise StrataError(f"{Path(store_root).resolve()} has no structures; ingest a dataset first")
    facts = {"code": str(CODE), **{name: str(value) for name, value in asdict(tolerance).items()}}
    key = hashlib.sha256("\n".join([*everything, str(sorted(facts.items()))]).encode()).hexdigest()
    with TableWriter(layout.duplicates, DUPLICATES, "duplicates") as writer:
        if key not in writer.committed:
            found, too_large = find_groups(_stored(layout), tolerance)
            table = pa.table(
                {"structure_id": list(found), "duplicate_group": list(found.values())}, DUPLICATES
            )
            writer.replace({key: Chunk(table, provenance=facts | {"not_compared": str(too_large)})})
        not_compared = int(writer.committed[key].provenance["not_compared"])
    return _report(load(store_root), members, not_compared)


def load(store_root: str | Path) -> dict[str, str]:
    """Return structure_id → duplicate_group as `update` left them; empty where it never ran."""
    found: dict[str, str] = {}
    for path in snapshot(StoreLayout(Path(store_root)).duplicates).paths:
        table = read_columns(path, DUPLICATES.names)
        found |= dict(
            zip(table["structure_id"].to_pylist(), table["duplicate_group"].to_pylist(), strict=True)
        )
    return found


def crystals(store_root: str | Path, wanted: Collection[str]) -> dict[str, str]:
    """Return structure_id → duplicate_group of the structures `wanted`, and of all others of the store that
    may be one crystal with one of them.

    As `update` left them, where that covers the whole store; else they are computed now and not kept, among
    the structures of the same reduced formulas alone: the groups are the same.
    """
    layout = StoreLayout(Path(store_root))
    members: set[str] = set().union(*(_ids(folder) for folder in layout.tables("structures")))
    kept = load(store_root)
    if members <= kept.keys():
        return kept
    formulas = _reduced_formulas(layout)
    asked = {formulas[name] for name in wanted}
    return find_groups(_stored(layout, {name for name, formula in formulas.items() if formula in asked}))[0]


def _reduced_formulas(layout: StoreLayout) -> dict[str, tuple[int, ...]]:
    """Return atomic numbers and smallest whole counts of every structure."""
    found: dict[str, tuple[int, ...]] = {}
    for folder in layout.tables("structures"):
        for path in snapshot(folder).paths:
            columns = pq.read_table(readable(path), columns=["structure_id", "numbers"])
            for name, numbers in zip(*columns, strict=True):
                elements, counts = np.unique(numbers.values.to_numpy(), return_counts=True)
                found[name.as_py()] = (*elements.tolist(), *(counts // np.gcd.reduce(counts)).tolist())
    return found


def _report(groups: dict[str, str], members: dict[str, set[str]], not_compared: int) -> DuplicateReport:
    sizes: dict[str, int] = defaultdict(int)
    for group in groups.values():
        sizes[group] += 1
    by_dataset = {name: {groups[item] for item in ids} for name, ids in sorted(members.items())}
    names = list(by_dataset)
    shared = {
        (one, other): len(by_dataset[one] & by_dataset[other])
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if by_dataset[one] & by_dataset[other]
    }
    return DuplicateReport(len(groups), len(sizes), max(sizes.values()), not_compared, shared)


def _ids(folder: Path) -> set[str]:
    files = map(readable, snapshot(folder).paths)
    return {item for file in files for item in pq.read_table(file, columns=["structure_id"])[0].to_pylist()}


def _stored(
    layout: StoreLayout, only: Collection[str] | None = None
) -> Iterator[tuple[str, Structure | Composition]]:
    seen: set[str] = set()
    for folder in layout.tables("structures"):
        for path in snapshot(folder).paths:
            table = pq.read_table(readable(path))
            if only is not None:
                table = table.filter(pc.is_in(table["structure_id"], value_set=pa.array(only, pa.string())))
            for row in table.to_pylist():
                if row["structure_id"] not in seen:
                    seen.add(row["structure_id"])
                    content = restored(row["lattice"], row["numbers"], row["frac_coords"])
                    yield row["structure_id"], content


def _primitive(structure: Structure, symprec: float) -> Structure:
    spglib = need("spglib", "data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib announces its next version at every call
        found = spglib.find_primitive(
            (structure.lattice, structure.frac_coords, structure.numbers.tolist()), symprec=symprec
        )
    if found is None:  # spglib sees no crystal in it: the cell stands as it is
        return structure
    lattice, coords, numbers = found
    return Structure(lattice, numbers, coords)


def _matcher(tolerance: Tolerance) -> Any:
    matching = need("pymatgen.analysis.structure_matcher", "data")
    return matching.StructureMatcher(
        ltol=tolerance.length,
        stol=tolerance.site,
        angle_tol=tolerance.angle,
        primitive_cell=False,  # they are
        scale=True,
    )


def _bucket(
    members: list[tuple[float, str, Structure]], matcher: Any, tolerance: Tolerance
) -> list[list[str]]:
    """Groups of a bucket, whose members come sorted by volume an atom."""
    if len(members) == 1:
        return [[members[0][1]]]
    found: list[tuple[float, Any, list[str]]] = []  # volume and structure of the first, ids of all
    for volume, structure_id, primitive in members:
        structure = primitive.to_pymatgen()
        for first_volume, first, ids in reversed(found):
            if volume <= first_volume * (1 + tolerance.volume) and matcher.fit(first, structure):
                ids.append(structure_id)
                break
        else:
            found.append((volume, structure, [structure_id]))
    return [ids for _, _, ids in found]
