"""What `extract` would have to do: structures that lack vectors, what they cost, and how long it takes.

Cost and time come from a short measurement, here and now: a sample of the missing structures is run through
the network. Nothing is kept of it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.executor import count
from core.params import Params
from core.structure import InvalidStructure
from etl.parts import number_of
from etl.retry import within_limits
from featurestore.query.sources import refuse_older_layout
from featurestore.query.store import FeatureStore, open_store
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import LOG, snapshot
from zoo.backbones.base import Backbone
from zoo.backbones.engine import Engine, is_gpu
from zoo.extraction import WORTH_IT, extraction_id, make_engine
from zoo.hub import backbone_of, load_card

SAMPLE = 64  # structures at most
SECONDS = 10.0  # after which no more of the sample are run
_TASK = 8  # structures between two looks at the clock


@dataclass(frozen=True, slots=True)
class Measured:
    """What a sample took, and what follows for others: structures, seconds, cost = fixed + slope × atoms."""

    structures: int
    seconds: float
    fixed: float
    slope: float
    seconds_per_cost: float

    def cost(self, atoms: NDArray[np.int64]) -> float:
        """Estimate what structures of so many atoms cost together."""
        return max(float(self.fixed * len(atoms) + self.slope * atoms.sum()), 0.0)


@dataclass(frozen=True, slots=True)
class Planned:
    """What one source model lacks.

    missing: structures that have neither vectors nor a reject, and those that a raised limit allows now.
    cost: estimated, in `unit`. seconds: estimated, with `workers` processes here. largest, shard_seconds:
    structures of the largest of `shards` parts and time of the slowest, each on a machine such as this one.
    sample: what the estimates rest on; None where nothing is missing.
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


def seconds_to_extract(
    params: Params, store_root: str | Path, source_models: Sequence[str], datasets: Sequence[str]
) -> dict[str, float]:
    """Estimate for each source model the seconds that it would take here to extract what datasets lack."""
    if not source_models:
        return {}
    asked = params.model_copy(update={"datasets": list(datasets)})
    return {one.source_model: one.seconds for one in plan(asked, store_root, source_models)}


def _plan(params: Params, store: FeatureStore, source_model: str, shards: int) -> Planned:
    settings = params.extract
    card = load_card(source_model)
    name, backbone = extraction_id(card, settings.precision), backbone_of(card, settings.backbones)
    missing = store.missing(name, params.datasets)
    sizes = dict(zip(missing["structure_id"].to_pylist(), missing["n_atoms"].to_pylist(), strict=True))
    sizes |= _allowed_now(store, source_model, name, backbone)
    ids = list(sizes)
    if not ids:
        return Planned(source_model, 0, backbone.cost_unit, 0.0, 0.0, 0, shards, 0, 0.0, None)
    engine = make_engine(source_model, settings)
    sample = measure(engine, store, sizes)
    atoms = np.array([sizes[name] for name in ids], np.int64)
    parts = np.array([number_of(name, shards) for name in ids])

    def time_of(chosen: NDArray[np.int64]) -> tuple[float, int]:
        workers = 0 if is_gpu(engine.device) else count(settings.workers, len(chosen), WORTH_IT)
        return sample.cost(chosen) * sample.seconds_per_cost / max(workers, 1), max(workers, 1)

    by_part = [atoms[parts == number] for number in range(1, shards + 1)]
    here, workers = time_of(atoms)
    return Planned(
        source_model,
        len(ids),
        backbone.cost_unit,
        sample.cost(atoms),
        here,
        workers,
        shards,
        max(map(len, by_part)),
        max(time_of(part)[0] for part in by_part),
        sample,
    )


def _allowed_now(store: FeatureStore, source_model: str, name: str, backbone: Backbone) -> dict[str, int]:
    """Return the atoms of structures that were too large under an earlier limit."""
    folder = store.layout.features(source_model)
    again = within_limits(snapshot(folder).shards, name, backbone) if (folder / LOG).is_dir() else set()
    query = "SELECT structure_id, n_atoms FROM structures WHERE structure_id IN (SELECT unnest(?::VARCHAR[]))"
    return dict(store.sql(query, [sorted(again)]).fetchall())


def measure(engine: Engine, store: FeatureStore, sizes: Mapping[str, int]) -> Measured:
    """Run structures drawn at random through a network, for a few seconds; `sizes`: their atoms by id.

    The first task warms up and is run twice. Cost is taken for a straight line in the number of atoms: a few
    large cells make most of the work. A structure that the network rejects costs nothing.
    """
    chosen = np.random.default_rng(0).permutation(sorted(sizes))[:SAMPLE].tolist()
    engine(store.structures(chosen[:_TASK]))
    costs: list[int] = []
    spent = 0.0
    started = time.monotonic()
    while len(costs) < len(chosen) and spent < SECONDS:
        prepared = engine.prepare(store.structures(chosen[len(costs) : len(costs) + _TASK]))
        engine.run(prepared)
        costs += [0 if isinstance(p, InvalidStructure) else engine.backbone.cost(p) for p in prepared]
        spent = time.monotonic() - started
    atoms = np.array([sizes[name] for name in chosen[: len(costs)]], np.float64)
    (fixed, slope), *_ = np.linalg.lstsq(np.stack([np.ones_like(atoms), atoms], 1), np.array(costs, float))
    return Measured(len(costs), spent, float(fixed), float(slope), spent / max(sum(costs), 1))
