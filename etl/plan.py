"""What `extract` would have to do: structures that lack vectors, what they cost, and how long it takes.

Cost and time come from a short measurement, here and now: a sample of the missing structures is run through
the network. Nothing is kept of it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.executor import count
from core.params import Params
from etl.parts import number_of
from featurestore.query.sources import refuse_older_layout
from featurestore.query.store import FeatureStore, open_store
from featurestore.tables.layout import StoreLayout
from zoo.backbones.engine import Engine, is_gpu
from zoo.extraction import WORTH_IT, extraction_id, make_engine
from zoo.hub import backbone_of, load_card

SAMPLE = 64  # structures at most
SECONDS = 10.0  # after which no more of the sample are run
_TASK = 8  # structures between two looks at the clock


@dataclass(frozen=True, slots=True)
class Measured:
    """What a sample took: its structures, atoms, cost in the backbone's own unit, and seconds."""

    structures: int
    atoms: int
    cost: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Planned:
    """What one source model lacks.

    missing: structures that have neither vectors nor a reject. cost: estimated, in `unit`. seconds:
    estimated, with `workers` processes here. largest, shard_seconds: structures of the largest of `shards`
    parts and time of the slowest, each on a machine such as this one. sample: what the estimates rest on;
    None where nothing is missing.
    """

    source_model: str
    missing: int
    unit: str
    cost: float
    seconds: float
    workers: int
    shards: int
    largest: int
    shard_seconds: float
    sample: Measured | None


def plan(
    params: Params, store_root: str | Path, source_models: Sequence[str] | None = None, shards: int = 1
) -> list[Planned]:
    """Say what each source model lacks for the datasets of `params`, and what it would take.

    Changes nothing in the store. Raises `StrataError` as `extract` does.
    """
    refuse_older_layout(StoreLayout(Path(store_root)))
    store = open_store(store_root)
    names = params.extract.source_models if source_models is None else source_models
    return [_plan(params, store, name, shards) for name in names]


def _plan(params: Params, store: FeatureStore, source_model: str, shards: int) -> Planned:
    settings = params.extract
    card = load_card(source_model)
    unit = backbone_of(card, settings.backbones).cost_unit
    missing = store.missing(extraction_id(card, settings.tf32), params.datasets)
    ids = missing["structure_id"].to_pylist()
    if not ids:
        return Planned(source_model, 0, unit, 0.0, 0.0, 0, shards, 0, 0.0, None)
    engine = make_engine(source_model, settings)
    sizes = dict(zip(ids, missing["n_atoms"].to_pylist(), strict=True))
    sample = measure(engine, store, sizes)
    parts = np.zeros(shards, np.int64)
    atoms = np.zeros(shards, np.int64)
    for name, n_atoms in sizes.items():
        number = number_of(name, shards) - 1
        parts[number] += 1
        atoms[number] += n_atoms

    def seconds(n_atoms: int, structures: int) -> tuple[float, int]:
        workers = 0 if is_gpu(engine.device) else count(settings.workers, structures, WORTH_IT)
        return sample.seconds / sample.atoms * n_atoms / max(workers, 1), max(workers, 1)

    here, workers = seconds(int(atoms.sum()), len(ids))
    cost = sample.cost / sample.atoms * float(atoms.sum())
    slowest = max(seconds(int(a), int(n))[0] for a, n in zip(atoms, parts, strict=True))
    return Planned(
        source_model, len(ids), unit, cost, here, workers, shards, int(parts.max()), slowest, sample
    )


def measure(engine: Engine, store: FeatureStore, sizes: dict[str, int]) -> Measured:
    """Run structures drawn at random through a network, for a few seconds; `sizes`: their atoms by id.

    The first task warms up and is run twice. A rate by the atom rather than by the structure, since a few
    large cells make most of the work.
    """
    chosen = np.random.default_rng(0).permutation(sorted(sizes))[:SAMPLE].tolist()
    engine(store.structures(chosen[:_TASK]))
    done = cost = 0
    started = time.monotonic()
    spent = 0.0
    while done < len(chosen) and spent < SECONDS:
        prepared = engine.prepare(store.structures(chosen[done : done + _TASK]))
        engine.run(prepared)
        done = min(done + _TASK, len(chosen))
        cost += sum(engine.backbone.cost(p) for p in prepared if not isinstance(p, Exception))
        spent = time.monotonic() - started
    return Measured(done, sum(sizes[name] for name in chosen[:done]), cost, spent)
