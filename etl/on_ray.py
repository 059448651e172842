"""Extraction by Ray Data: workers read structures, run the network and write shards; this process commits.

On CPUs one actor does all of a chunk, as a worker of the local engine does: nothing travels but ids and
descriptions. With GPUs, actors on CPUs make what the network reads, an actor a GPU runs it, and tasks write
the shards. A shard is named by its hash and counts once the driver has named it in the log, so that a chunk
that is done twice, or by a worker whose driver is gone, leaves a file that nothing names, and no row.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from core.errors import StrataError
from core.lazy import need
from core.params import Extract
from core.progress import Meter
from core.ray_cluster import RETRIES, Place, cluster, cpus, gpus
from etl.chunks import TASK, angles_of, cut, joined, key_of, rows_of
from featurestore.query.store import FeatureStore, open_store
from featurestore.tables.address import address
from featurestore.tables.entries import Shard, shard_of
from featurestore.tables.layout import StoreLayout
from featurestore.tables.schema import features_schema
from featurestore.tables.shards import Chunk, write_chunks
from zoo.backbones.base import Backbone
from zoo.backbones.engine import Engine, Extracted, prepare
from zoo.extraction import extraction_id, make_engine, provenance
from zoo.hub import backbone_of, load_card

_CHUNKS = 16  # a worker gets at least, where there is enough to do: so that all of them end at about one time


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker is told once: the store by its address, the source model by its name."""

    root: str
    source_model: str
    settings: Extract
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """A value that Ray hands on as it is, and does not take apart into columns."""

    value: Any


def shards_by_ray(
    root: Path, missing: Sequence[str], settings: Extract, source_model: str, meter: Meter
) -> Iterator[Shard]:
    """Extract structures on a Ray cluster; yields shards that are written and not yet committed.

    In the order in which they are done. A worker or machine that is lost has its chunks done again by
    others. Raises `StrataError` as the local engine does, and where a chunk loses its workers each time.
    """
    with cluster(settings.workers) as ray:
        data = need("ray.data", "ray")
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of its plans
        on_gpus = _gpus(ray, settings, backbone_of(load_card(source_model), settings.backbones))
        workers = settings.workers if settings.workers > 0 else cpus(ray)
        size = chunk_size(settings.chunk, len(missing), on_gpus or workers)
        work = Work(address(Path(root).absolute()), source_model, settings, Place.here())
        chunks = [{"ids": list(ids)} for ids in cut(missing, size)]
        done = _stages(data, chunks, work, min(workers, len(chunks)), on_gpus).iter_rows()
        for row in _explained(ray, done):
            if row["error"]:
                raise StrataError(row["error"])
            shard = shard_of(json.loads(row["shard"]))
            meter.advance(row["structures"], angles=row["angles"], rejects=len(shard.rejects))
            yield shard


def chunk_size(chunk: int, missing: int, workers: int) -> int:
    """Return how many structures go to a worker at once: `chunk`, or fewer, so that all have something to do.

    Fewer only where the tasks inside stay the same, on which the bits of vectors depend.

    >>> chunk_size(2048, 10_000_000, 64), chunk_size(2048, 5000, 4), chunk_size(100, 5000, 4)
    (2048, 128, 100)
    """
    if chunk % TASK:
        return chunk
    tasks = -(-missing // TASK)
    return min(chunk, TASK * max(-(-tasks // (workers * _CHUNKS)), 1))


def _gpus(ray: ModuleType, settings: Extract, backbone: Backbone) -> int:
    """Return how many GPUs the network is run on; 0: it runs on CPUs."""
    if settings.device == "cpu" or not backbone.runs_on_torch():
        return 0
    found = gpus(ray)
    if settings.device != "auto" and not found:
        raise StrataError(f"extract.device is {settings.device}, but the cluster has no GPU; use auto or cpu")
    return found


def _stages(data: ModuleType, chunks: list[dict[str, Any]], work: Work, workers: int, on_gpus: int) -> Any:
    """Return the dataset of descriptions; it is computed when it is read."""
    dataset = data.from_items(chunks, override_num_blocks=len(chunks))
    # For the loss of workers, not for errors. Without a number Ray would try a chunk that kills for ever.
    lasting = {"max_restarts": -1, "max_task_retries": RETRIES}
    one, size = {"fn_constructor_args": (work,), **lasting}, data.ActorPoolStrategy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of `lasting`, for which there is no other name
        if not on_gpus:
            return dataset.map(Whole, compute=size(size=workers), num_cpus=1, **one)
        made = dataset.map(Graphs, compute=size(min_size=1, max_size=workers), num_cpus=1, **one)
        run = made.map(Network, compute=size(size=on_gpus), num_cpus=0, num_gpus=1, **one)
        return run.map(write, fn_kwargs={"work": work}, num_cpus=0, max_retries=RETRIES)


def _explained(ray: ModuleType, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say of lost workers what can be done about them."""
    try:
        yield from rows
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        raise StrataError(
            f"a chunk lost {RETRIES + 1} workers in turn, killed perhaps, for want of memory or with their "
            f"machines ({str(error).strip().splitlines()[0]}). The same command goes on from what was "
            "committed; fewer workers at a time need less memory (`extract.workers`)"
        ) from error


class Graphs:
    """An actor that reads the structures of a chunk and makes of them what the network reads.

    Here and in `Network` nothing that may fail is done before the first chunk, whose row can tell of it.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def made(self, ids: Sequence[str]) -> Iterator[list[Any]]:
        """Yield what the network reads, task by task."""
        for structures in cut(self._store.structures(ids), TASK):
            yield prepare(self._backbone, structures)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Add to a chunk what the network reads."""
        ids = list(map(str, row["ids"]))
        return _or_error({"ids": ids, "made": Said(None)}, lambda: {"made": Said(list(self.made(ids)))})

    @cached_property
    def _store(self) -> FeatureStore:
        self._work.place.enter()
        return open_store(Path(self._work.root))

    @cached_property
    def _backbone(self) -> Backbone:
        return backbone_of(load_card(self._work.source_model), self._work.settings.backbones)


class Network:
    """An actor that runs the network, by default on the GPU that Ray gives it."""

    def __init__(self, work: Work, device: str = "cuda") -> None:
        self._work, self._device = work, device

    def run(self, made: Iterable[list[Any]]) -> Extracted:
        """Run the tasks of a chunk, one after another."""
        return joined([self._engine.run(prepared) for prepared in made])

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Replace what the network reads by what it says."""
        known = {"ids": row["ids"], "said": Said(None)}
        if row["error"]:
            return {**known, "error": row["error"]}
        return _or_error(known, lambda: {"said": Said(self.run(row["made"].value))})

    @cached_property
    def _engine(self) -> Engine:
        self._work.place.enter()
        alone = self._work.settings.model_copy(update={"device": self._device, "threads": 1})
        return make_engine(self._work.source_model, alone)


class Whole:
    """An actor that does all of a chunk on a CPU."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._graphs, self._network = Graphs(work), Network(work, "cpu")

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the description of a chunk's shard."""
        ids = list(map(str, row["ids"]))
        return _or_error(
            _NOTHING, lambda: _written(self._work, ids, self._network.run(self._graphs.made(ids)))
        )


_NOTHING = {"shard": "", "structures": 0, "angles": 0}


def write(row: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """Write a chunk's shard, and return its description."""
    if row["error"]:
        return {**_NOTHING, "error": row["error"]}
    work.place.enter()
    return _or_error(_NOTHING, lambda: _written(work, list(map(str, row["ids"])), row["said"].value))


def _written(work: Work, ids: Sequence[str], result: Extracted) -> dict[str, Any]:
    settings, card = work.settings, load_card(work.source_model)
    backbone, name = backbone_of(card, settings.backbones), extraction_id(card, settings.precision)
    schema = features_schema(backbone.counts, backbone.checkpoints)
    table, rejects = rows_of(ids, result, schema, name, card.name)
    facts = dict(sorted(provenance(card, settings).items()))  # of the machine that did it
    chunk = Chunk(table, tuple(rejects), facts)
    shard = write_chunks(StoreLayout(Path(work.root)).features(work.source_model), {key_of(name, ids): chunk})
    said = {"structures": len(ids), "angles": angles_of(result)}
    return {"shard": json.dumps(asdict(shard)), **said}


def _or_error(known: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a row; a fault that the user can mend is told in it, since Ray would wrap it up."""
    try:
        return {**known, **make(), "error": ""}
    except StrataError as error:
        return {**known, "error": str(error)}
