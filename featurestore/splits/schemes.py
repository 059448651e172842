"""Train, validation and test parts as rows: which entry lies where, for each way and seed of splitting.

Parts are drawn over the entries that have a value of the property, in the provider's order. A scheme is
a function from `Rows` and a seed to one array of parts a fold; entries of one structure lie in one part,
unless the scheme says otherwise.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.composition import Composition
from core.errors import StrataError, unknown
from core.structure import Structure
from featurestore.query.store import FeatureStore, open_store
from featurestore.splits import groups, published
from featurestore.splits.draws import NONE, Parts, draw_80_10_10, draw_folds, draw_ladder, draw_lowest
from featurestore.splits.duplicates import find_groups
from featurestore.tables.layout import StoreLayout
from featurestore.tables.maintenance import require_sound
from featurestore.tables.schema import SPLITS
from featurestore.tables.writer import TableWriter

CODE = 1  # raised by hand when a scheme draws other parts from the same rows and seed
_CRYSTAL = "duplicate_group"
_STRUCTURES = "SELECT structure_id FROM entries WHERE dataset = ? GROUP BY ALL ORDER BY min(position)"


def _no_structures(_ids: Sequence[str]) -> list[Structure | Composition]:
    raise StrataError("these rows have no structures to be grouped by")


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """What a scheme may look at: the entries that have a value, in the provider's order."""

    entry_ids: Sequence[str]
    structure_ids: Sequence[str]
    values: NDArray[np.float64]
    structures: Callable[[Sequence[str]], list[Structure | Composition]] = _no_structures
    provided: published.Split | None = None
    labels: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # groups that were found already, by structure
    siblings: Sequence[str] = ()  # structures of the whole dataset, where these rows are a part of it

    def __len__(self) -> int:
        return len(self.entry_ids)


def _by_structure(rows: Rows) -> NDArray[np.int64]:
    """Number the structures by first appearance, so that the draw does not depend on their ids."""
    return _numbered(rows.structure_ids)


def _random(rows: Rows, seed: int) -> list[Parts]:
    """80:10:10 by structure: entries that share a structure lie in one part."""
    return [draw_80_10_10(_by_structure(rows), seed)]


def _random_rows(rows: Rows, seed: int) -> list[Parts]:
    """80:10:10 by entry, as the paper draws it: entries of one structure may lie in two parts."""
    return [draw_80_10_10(np.arange(len(rows)), seed)]


def _kfold(rows: Rows, seed: int) -> list[Parts]:
    """Nine folds over all rows, by structure: test part k, validation part k + 1."""
    return draw_folds(_by_structure(rows), seed)


def _extrapolation(rows: Rows, seed: int) -> list[Parts]:
    """The tenth of lowest value is the test part, by structure; validation drawn from the rest."""
    return [draw_lowest(_by_structure(rows), rows.values, seed)]


def _ladder(rows: Rows, seed: int) -> list[Parts]:
    """`random` as fold 0; fold k trains on 1/2^k of its training structures, same test and validation."""
    return draw_ladder(_by_structure(rows), seed)


def _grouped(rows: Rows, seed: int) -> list[Parts]:
    """80:10:10 by chemical system: the same elements never lie in two parts."""
    return [draw_80_10_10(_by(rows, groups.chemical_system), seed)]


def _grouped_prototype(rows: Rows, seed: int) -> list[Parts]:
    """80:10:10 by prototype: anonymous formula, space group and size of the conventional cell."""
    return [draw_80_10_10(_by(rows, groups.prototype), seed)]


def _grouped_space_group(rows: Rows, seed: int) -> list[Parts]:
    """80:10:10 by space group."""
    return [draw_80_10_10(_by(rows, groups.space_group), seed)]


def _grouped_crystal(rows: Rows, seed: int) -> list[Parts]:
    """80:10:10 by crystal: one crystal in several settings or cells (`duplicate_group`) lies in one part."""
    label = rows.labels.get(_CRYSTAL)
    if label is None:  # compared within the whole dataset, so that a crystal is one for every property
        ids = list(dict.fromkeys([*rows.siblings, *rows.structure_ids]))
        label, _ = find_groups(zip(ids, rows.structures(ids), strict=True))
        rows.labels[_CRYSTAL] = label
    return [draw_80_10_10(_numbered([label[name] for name in rows.structure_ids]), seed)]


def _kfold_grouped(rows: Rows, seed: int) -> list[Parts]:
    """`kfold` by chemical system."""
    return draw_folds(_by(rows, groups.chemical_system), seed)


def _ladder_grouped(rows: Rows, seed: int) -> list[Parts]:
    """`ladder` by chemical system: `grouped` as fold 0, ever fewer of its training systems after it."""
    return draw_ladder(_by(rows, groups.chemical_system), seed)


def _published(rows: Rows, seed: int) -> list[Parts]:
    """The data's own parts or folds, entry by entry, the same for every seed; others lie in no part."""
    if rows.provided is None:
        raise published.absent("this property")
    return rows.provided.drawn(rows.entry_ids, _by_structure(rows), seed)


def _by(rows: Rows, group_of: Callable[[Structure | Composition], str]) -> NDArray[np.int64]:
    """Number the groups of the rows' structures by first appearance; each structure is looked at once."""
    label = rows.labels.setdefault(group_of.__name__, {})
    new = [name for name in dict.fromkeys(rows.structure_ids) if name not in label]
    label.update(zip(new, map(group_of, rows.structures(new)), strict=True))
    return _numbered([label[name] for name in rows.structure_ids])


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = (
        pa.array(names, pa.string()).dictionary_encode().indices.to_numpy().astype(np.int64)
    )
    return numbers


SCHEMES: dict[str, Callable[[Rows, int], list[Parts]]] = {
    "random": _random,
    "random_rows": _random_rows,
    "kfold": _kfold,
    "extrapolation": _extrapolation,
    "ladder": _ladder,
    "grouped": _grouped,
    "grouped_prototype": _grouped_prototype,
    "grouped_space_group": _grouped_space_group,
    "grouped_crystal": _grouped_crystal,
    "kfold_grouped": _kfold_grouped,
    "ladder_grouped": _ladder_grouped,
    "published": _published,
}


def draw(scheme: str, rows: Rows, seed: int) -> list[Parts]:
    """Draw one scheme with one seed; returns an (n,) array of parts for each fold.

    Raises `StrataError` for an unknown scheme, and where a part would be empty.
    """
    if scheme not in SCHEMES:
        raise unknown("split scheme", scheme, SCHEMES)
    if seed < 0:
        raise StrataError(f"a split's seed is 0 or more, got {seed}")
    return SCHEMES[scheme](rows, seed)


def split_dataset(root: str | Path, dataset: str, schemes: Sequence[str], seeds: Sequence[int]) -> int:
    """Draw and keep every scheme and seed for every property of a dataset; return how many shards are new.

    What is there already is left alone, and splits that are no longer asked for are dropped. The scheme
    `published` is left out where others are asked for and the dataset came with no split. Raises
    `StrataError` naming the property where it has too few values.
    """
    for scheme in schemes:
        if scheme not in SCHEMES:
            raise unknown("split scheme", scheme, SCHEMES)
    require_sound(root, ("entries", "targets", "structures"), dataset)  # DVC does not look
    store = open_store(root)
    names = store.properties(dataset)
    provided = {name: published.find(store, dataset, name) for name in names if "published" in schemes}
    if provided and not any(provided.values()) and set(schemes) == {"published"}:
        raise published.absent(dataset)
    new, keys = 0, []
    labels: dict[str, dict[str, str]] = {}
    siblings = [row[0] for row in store.sql(_STRUCTURES, [dataset]).fetchall()]
    with TableWriter(StoreLayout(Path(root)).splits(dataset), SPLITS, "split", alone=True) as writer:
        for name in names:
            rows = _rows(store, dataset, name, provided.get(name), labels, siblings)
            drawn = [scheme for scheme in schemes if scheme != "published" or rows.provided is not None]
            key = _key(dataset, name, rows, drawn, seeds)
            keys.append(key)
            if key not in writer.committed:
                new += writer.commit(key, _table(dataset, name, rows, drawn, seeds))
        writer.retain(keys)
    return new


def _rows(
    store: FeatureStore,
    dataset: str,
    property_name: str,
    provided: published.Split | None,
    labels: dict[str, dict[str, str]],
    siblings: Sequence[str],
) -> Rows:
    found = store.sql(
        "SELECT t.entry_id, t.structure_id, t.value FROM targets t JOIN entries e USING (dataset, entry_id) "
        "WHERE t.dataset = ? AND t.property = ? ORDER BY e.position",
        [dataset, property_name],
    ).to_arrow_table()
    return Rows(
        found["entry_id"].to_pylist(),
        found["structure_id"].to_pylist(),
        found["value"].to_numpy(),
        store.structures,
        provided,
        labels,
        siblings,
    )


def _key(dataset: str, property_name: str, rows: Rows, schemes: Sequence[str], seeds: Sequence[int]) -> str:
    asked: list[Any] = [CODE, dataset, property_name, list(schemes), list(seeds)]
    if rows.provided is not None:
        asked.append(rows.provided.sha256)
    digest = hashlib.sha256(json.dumps(asked).encode())
    digest.update(json.dumps([rows.entry_ids, rows.structure_ids]).encode())
    digest.update(np.ascontiguousarray(rows.values).tobytes())
    return digest.hexdigest()


def _table(
    dataset: str, property_name: str, rows: Rows, schemes: Sequence[str], seeds: Sequence[int]
) -> pa.Table:
    pieces = []
    for scheme in schemes:
        for seed in seeds:
            try:
                folds = draw(scheme, rows, seed)
            except StrataError as error:
                raise type(error)(f"split {scheme} of {dataset}/{property_name}: {error}") from None
            for fold, parts in enumerate(folds):
                lie = np.flatnonzero(parts != NONE)
                columns = {
                    "scheme": _constant(scheme, len(lie)),
                    "seed": pa.array(np.full(len(lie), seed), pa.int64()),
                    "dataset": _constant(dataset, len(lie)),
                    "property": _constant(property_name, len(lie)),
                    "entry_id": pa.array(rows.entry_ids, pa.string()).take(pa.array(lie)),
                    "fold": pa.array(np.full(len(lie), fold), pa.int32()),
                    "part": pa.array(parts[lie], pa.string()),
                }
                pieces.append(pa.Table.from_pydict(columns, SPLITS))
    return pa.concat_tables(pieces) if pieces else SPLITS.empty_table()


def _constant(text: str, n: int) -> pa.Array:
    return pa.array(np.full(n, text), pa.string())
