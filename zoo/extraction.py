"""From structures to vectors by a source model, on many cores; and what vectors say of where they came from.

On a CPU a worker does all of a task, what the network reads and the network: it needs no barrier between
threads, and as many workers as cores neither idle nor oversubscribe. With a GPU the workers prepare, this
process runs.
"""

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from core.composition import Composition
from core.executor import Executor, Processes, count
from core.params import Extract
from core.precision import BFLOAT16, FLOAT32, stored
from core.structure import Structure
from zoo.backbones.base import Backbone
from zoo.backbones.engine import Engine, Extracted, device_of, imitates_bfloat16, is_gpu, prepare
from zoo.hub import SourceCard, backbone_of, load_card, load_source, weights_path

WORTH_IT = 2000  # structures; fewer are done before the workers would be up

_engine: Engine | None = None  # a worker's own, made once by `_start`
_backbone: Backbone | None = None


def extraction_id(card: SourceCard, precision: str = FLOAT32) -> str:
    """Name a set of vectors by all that decides them (see `Backbone.key`).

    How the network is run is recorded, not keyed: it gives the same vectors. Raises `StrataError` for a
    published model that was not fetched yet, whose weights have no hash, and for a numeric mode that the
    backbone does not have.
    """
    if card.weights is None and card.published is not None:
        weights_path(card)
    key = backbone_of(card).key(card.weights_sha256, precision)
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def provenance(card: SourceCard, settings: Extract) -> dict[str, str]:
    """Return what vectors say about where they came from."""
    backbone = backbone_of(card, settings.backbones)
    facts = {
        "extraction_id": extraction_id(card, settings.precision),
        "source_model": card.name,
        "weights_sha256": card.weights_sha256,
        "graph": json.dumps(card.graph.model_dump(mode="json"), sort_keys=True),
        "pooling": backbone.pooling,
        **stored(backbone.mode(settings.precision)),
        "code_schema": str(backbone.code_schema),
        **{name: str(value).lower() for name, value in backbone.settings.model_dump(mode="json").items()},
    }
    return facts | environment(backbone)


def notice(source_model: str, settings: Extract) -> str | None:
    """Return what is worth knowing before a source model is run with these settings; None: nothing.

    Raises `StrataError` for a numeric mode that its backbone does not have.
    """
    backbone = backbone_of(load_card(source_model))
    if backbone.mode(settings.precision) != BFLOAT16:
        return None
    device = device_of(backbone, settings.device)
    if not imitates_bfloat16(device):
        return None
    return (
        f"extract.precision is bfloat16, and this {'GPU' if is_gpu(device) else 'processor'} has no products "
        "in it: they are imitated, and slower than in float32"
    )


def environment(backbone: Backbone) -> dict[str, str]:
    """Return what may move the last digits: numpy, what the backbone runs on, and the platform.

    Of the backbone's modules only those that are installed are named; none is imported.
    """
    versions = {}
    for module, _ in backbone.stack:
        with suppress(metadata.PackageNotFoundError):
            versions[module] = metadata.version(module)
    return versions | {"numpy": np.__version__, "platform": platform.platform()}


def make_engine(source_model: str, settings: Extract, folder: Path | None = None) -> Engine:
    """Return an engine for a source model, with its weights read and checked; folder: see `hub.card_path`."""
    source = load_source(source_model, folder)
    return Engine(backbone_of(source.card, settings.backbones), source.state, settings)


def run_tasks(
    source_model: str,
    tasks: Iterable[list[Structure | Composition]],
    settings: Extract,
    total: int,
    executor: type[Executor] = Processes,
) -> Iterator[Extracted]:
    """Run lists of structures through a source model; results come in the order of the tasks."""
    workers = count(settings.workers, total, WORTH_IT)
    if workers == 0:
        yield from map(make_engine(source_model, settings), tasks)
    elif is_gpu(device_of(backbone_of(load_card(source_model)), settings.device)):
        engine = make_engine(source_model, settings)
        yield from map(
            engine.run, executor(workers, _start_preparing, (source_model, settings)).ordered(_prepare, tasks)
        )
    else:
        one_thread = settings.model_copy(update={"device": "cpu", "threads": 1})
        yield from executor(workers, _start, (source_model, one_thread)).ordered(_extract, tasks)


def _start(source_model: str, settings: Extract) -> None:
    global _engine  # noqa: PLW0603  # a worker process holds one engine for all its tasks
    _engine = make_engine(source_model, settings)


def _start_preparing(source_model: str, settings: Extract) -> None:
    global _backbone  # noqa: PLW0603
    _backbone = backbone_of(load_card(source_model), settings.backbones)


def _extract(structures: list[Structure | Composition]) -> Extracted:
    assert _engine is not None
    return _engine(structures)


def _prepare(structures: list[Structure | Composition]) -> list[Any]:
    assert _backbone is not None
    return prepare(_backbone, structures)


def together(vectors: Mapping[str, np.ndarray], checkpoints: Iterable[str]) -> np.ndarray:
    """Put the vectors of checkpoints side by side: (n, d) float32."""
    return np.concatenate([vectors[name] for name in checkpoints], axis=1)
