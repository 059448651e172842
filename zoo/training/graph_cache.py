"""Quotient graphs made once and kept: flat arrays in files that are memory-mapped, beside the store.

The files are derived and replaceable. A file's graphs belong to one set of graph settings (the folder's
name), each is found by its structure_id, and a file is believed only where its arrays have the sums it was
written with.
"""

import hashlib
import json
import mmap
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from core.atomic import whole_file
from core.composition import Composition, with_positions
from core.executor import Executor, Processes, count
from core.structure import InvalidStructure, Structure
from zoo.backbones.alignn.backbone import prepare
from zoo.backbones.alignn.graph import GraphSettings
from zoo.backbones.alignn.quotient import Quotient

SCHEMA = 1  # raised by hand when graphs, compression or the files change
FOLDER = ".graphs"
_TASK = 128  # structures a worker makes at once
_SHARD = 4096  # structures a file
_WORTH_IT = 2000  # structures; fewer are done before worker processes would be up

# Field of Quotient → (which of the counts it runs over, type in the file).
_FIELDS = {
    "numbers": (0, np.uint8), "atom_size": (0, np.float32),
    "bond_src": (1, np.int32), "bond_dst": (1, np.int32), "length": (1, np.float32),
    "bond_size": (1, np.float32), "bond_weight": (1, np.float32),
    "angle_src": (2, np.int32), "angle_dst": (2, np.int32), "cosine": (2, np.float32),
    "angle_size": (2, np.float32), "angle_weight": (2, np.float32),
}  # fmt: skip
_TYPES = {"U8": np.uint8, "I32": np.int32, "I64": np.int64, "F32": np.float32}


T = TypeVar("T")


class _Shard(NamedTuple):
    arrays: dict[str, np.ndarray]
    starts: np.ndarray  # (n + 1, 3) first atom, bond and angle row of each structure


class Graphs(Sequence[Quotient]):
    """Quotient graphs in the order that was asked for, read from the files when indexed.

    `costs` (n,) compressed angles; `atoms` (n,) atoms of the structure.
    """

    def __init__(self, places: Sequence[tuple[_Shard, int]]) -> None:
        self._places = places
        counts = [shard.starts[i + 1] - shard.starts[i] for shard, i in places]
        self.costs = np.array([count[2] for count in counts], np.int64)
        self.atoms = np.array([shard.arrays["atoms"][i] for shard, i in places], np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return Graphs(self._places[index])
        shard, i = self._places[index]
        (first, last) = shard.starts[i], shard.starts[i + 1]
        return Quotient(*(shard.arrays[name][first[k] : last[k]] for name, (k, _) in _FIELDS.items()))


class GraphCache:
    """The kept graphs of one set of graph settings."""

    def __init__(
        self,
        root: Path,
        settings: GraphSettings,
        max_angles: int = 4_000_000,
        executor: type[Executor] = Processes,
    ) -> None:
        key = json.dumps([SCHEMA, max_angles, settings.model_dump(mode="json")], sort_keys=True)
        self.folder = root / FOLDER / hashlib.sha256(key.encode()).hexdigest()[:16]
        self._settings, self._max_angles, self._executor = settings, max_angles, executor
        self._places: dict[str, tuple[_Shard, int]] = {}
        self.rejected: dict[str, str] = {}  # structure_id → why it has no graph
        for path in sorted(self.folder.glob("*.safetensors")):
            self._open(path)

    def load(
        self,
        structure_ids: Sequence[str],
        structures: Callable[[Sequence[str]], Sequence[Structure | Composition]],
        workers: int = -1,
        watch: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> Graphs:
        """Return the graphs of structures, those that are missing made now.

        structures: gives the structures of ids; called for missing ones only. workers: processes; -1: one a
        core where there is enough to do. A structure that cannot have a graph is in `rejected` afterwards and
        must not be among the ids; ask `missing` first.
        """
        self.make(structure_ids, structures, workers, watch)
        return Graphs([self._places[name] for name in structure_ids])

    def make(
        self,
        structure_ids: Sequence[str],
        structures: Callable[[Sequence[str]], Sequence[Structure | Composition]],
        workers: int = -1,
        watch: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> None:
        """Make the graphs that are missing (see `load`)."""
        known = self._places.keys() | self.rejected.keys()
        missing = [name for name in dict.fromkeys(structure_ids) if name not in known]
        shards = list(_batched(missing, _SHARD))
        tasks = (
            (list(task), self._settings, self._max_angles)
            for ids in shards
            for task in _batched(structures(ids), _TASK)
        )
        pool = self._executor(count(workers, len(missing), _WORTH_IT))
        made = pool.ordered(_quotients, tasks)
        done = 0
        for ids in shards:
            found: list[Quotient | str] = []
            while len(found) < len(ids):
                found += next(made)
                watch(done + len(found), len(missing))
            done += len(ids)
            self._write(ids, found)

    def _write(self, ids: Sequence[str], found: Sequence[Quotient | str]) -> None:
        from safetensors.numpy import save_file

        good = [(name, q) for name, q in zip(ids, found, strict=True) if isinstance(q, Quotient)]
        bad = {name: why for name, why in zip(ids, found, strict=True) if isinstance(why, str)}
        quotients = [q for _, q in good]
        counts = [(len(q.numbers), len(q.length), len(q.cosine)) for q in quotients]
        arrays = {
            name: np.concatenate([np.empty(0, kind), *(getattr(q, name).astype(kind) for q in quotients)])
            for name, (_, kind) in _FIELDS.items()
        }
        arrays["counts"] = np.array(counts, np.int64).reshape(-1, 3)
        arrays["atoms"] = np.array([q.atom_size.sum() for q in quotients], np.int64)
        facts = {
            "ids": [name for name, _ in good],
            "rejected": bad,
            "sums": {name: zlib.crc32(array.data) for name, array in arrays.items()},
        }
        path = self.folder / f"{hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()[:16]}.safetensors"
        with whole_file(path) as temporary:
            save_file(arrays, temporary, {"facts": json.dumps(facts)})
        self._open(path)

    def _open(self, path: Path) -> None:
        """Map a file; one that is damaged is removed, to be made again."""
        try:
            arrays, facts = _mapped(path)
            counts = arrays["counts"]
        except (OSError, ValueError, KeyError, TypeError):
            with suppress(OSError):
                path.unlink()
            return
        starts = np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(counts, axis=0)])
        shard = _Shard(arrays, starts)
        self._places |= {name: (shard, i) for i, name in enumerate(facts["ids"])}
        self.rejected |= facts["rejected"]


def _batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _mapped(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays of a safetensors file, mapped into memory; raises ValueError for a damaged one."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    facts = json.loads(header.pop("__metadata__")["facts"])
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        kind = np.dtype(_TYPES[entry["dtype"]])
        array = np.frombuffer(content, kind, (last - first) // kind.itemsize, begin + first)
        if zlib.crc32(array.data) != facts["sums"][name]:
            raise ValueError(f"{path}: {name} is damaged")
        arrays[name] = array.reshape(entry["shape"])
    return arrays, facts


def _quotients(task: tuple[list[Structure | Composition], GraphSettings, int]) -> list[Quotient | str]:
    structures, settings, max_angles = task
    found: list[Quotient | str] = []
    for structure in structures:
        try:
            placed = with_positions(structure, "training")
            found.append(prepare(placed, settings, True, max_angles).quotient)
        except InvalidStructure as error:
            found.append(f"{error.code}: {error}")
    return found
