"""A trained network becomes a source model: weights in zoo/weights/, a card in zoo/models/."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from core.atomic import remove
from core.errors import StrataError, check_name
from featurestore import open_store
from zoo import hub
from zoo.backbones.alignn.graph import GraphSettings
from zoo.hub import SourceCard, Target, Training, weights_hash

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 20_000_000
_WIDTH = 110
_IN_FULL = ("architecture", "graph")


def publish(
    name: str,
    state: "Mapping[str, Tensor]",
    targets: tuple[Target, ...],
    graph: GraphSettings,
    facts: Mapping[str, Any],
    half: bool = False,
) -> SourceCard:
    """Write a model's weights, then its card; returns the card.

    state: predicts `targets` in their units. facts: title, training, metrics, licence, note of the card.
    half: float16, with which the model predicts a little otherwise. A model of that name is replaced.

    Raises `StrataError` for a name that is none, and for a file over 20 MB.
    """
    import torch
    from safetensors.torch import save

    from zoo.backbones.alignn.inference import Architecture

    check_name(name, "source model")
    kept = {n: t.half() if half and t.dtype == torch.float32 else t for n, t in state.items()}
    content = save({n: tensor.contiguous() for n, tensor in kept.items()})
    if len(content) > MAX_BYTES:
        raise StrataError(
            f"{name}: {len(content):,} bytes of weights, at most {MAX_BYTES:,}; publish in float16"
        )
    card = SourceCard(
        name=name,
        weights=f"{name}.safetensors",
        file_sha256=hashlib.sha256(content).hexdigest(),
        weights_sha256=weights_hash(kept),
        architecture=Architecture(output_features=len(targets)),
        graph=graph,
        target=targets[0],
        more_targets=targets[1:],
        **facts,
    )
    hub.WEIGHTS.mkdir(exist_ok=True)
    _replace(hub.WEIGHTS / f"{name}.safetensors", content)
    text = yaml.safe_dump(_as_written(card), sort_keys=False, allow_unicode=True, width=_WIDTH)
    _replace(hub.MODELS / f"{name}.yaml", text.encode())
    hub.load_source.cache_clear()
    return card


def _as_written(card: SourceCard) -> dict[str, Any]:
    """What a card's file says: all of architecture and graph, so that no default can change under a model."""
    told, everything = (card.model_dump(mode="json", exclude_defaults=short) for short in (True, False))
    return {
        name: value if name in _IN_FULL else told[name]
        for name, value in everything.items()
        if name in told or name in _IN_FULL
    }


def publish_run(store_root: str | Path, run_id: str, name: str) -> Path:
    """Publish the network of a run of `strata train` or `finetune`; returns the card's path."""
    from etl.cards import load_card
    from zoo.training.trained import TrainedModel

    store = open_store(store_root)
    found = store.sql(
        "SELECT dataset, method, source_model, scheme, seed, fold, n_train, settings, model_path FROM runs "
        "WHERE run_id = ? AND method IN ('scratch', 'finetune')",
        [run_id],
    ).fetchall()
    if not found:
        raise StrataError(f"{run_id} is no run of a trained network in {store_root}")
    dataset, method, source, *split, n_train, settings, path = found[0]
    model = TrainedModel.load(Path(store_root) / path)
    val = store.sql("SELECT property, val_mae FROM runs WHERE model_path = ?", [path]).fetchall()
    of = load_card(dataset)
    start = f"from the weights of {source}" if method == "finetune" else "from random weights"
    publish(
        name,
        model.state,
        tuple(
            Target(dataset=dataset, property=prop, unit=unit)
            for prop, unit in zip(model.names, model.units, strict=True)
        ),
        model.graph,
        {
            "title": f"ALIGNN on {', '.join(model.names)} of {dataset}",
            "training": Training(
                data=f"{dataset}, {n_train} structures of the training part of {'-'.join(map(str, split))}",
                settings=f"{start}; {json.dumps(json.loads(settings), sort_keys=True)}",
                attribution=of.citation,
            ),
            "metrics": metrics(dict(val)),
            "licence": f"weights under the project's terms (Apache-2.0); data {of.licence}",
        },
    )
    return hub.MODELS / f"{name}.yaml"


def metrics(val_mae: Mapping[str, float]) -> dict[str, float]:
    """Name validation errors: of a single property without its name."""
    if len(val_mae) == 1:
        return {"val_mae": round(next(iter(val_mae.values())), 6)}
    return {f"val_mae_{name}": round(value, 6) for name, value in sorted(val_mae.items())}


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise StrataError(f"{path} cannot be written ({error.strerror}); publish from a checkout") from None
    finally:
        remove(temporary)
