"""A trained network becomes a source model of one's own: a card and its weights in one's own folder."""

import hashlib
import json
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from core.atomic import remove, sha256_file, write_whole
from core.checksums import check_checksums
from core.errors import StrataError, check_name
from core.yaml_file import read_yaml
from featurestore import SplitKey, open_store
from featurestore.tables.models import model_folder
from zoo import hub
from zoo.backbones.alignn.graph import GraphSettings
from zoo.backbones.alignn.inference import Architecture
from zoo.card_text import card_text
from zoo.hub import Label, LearnedFrom, SourceCard, Target, Training, weights_hash
from zoo.training.trained import TrainedModel

MAX_BYTES = 20_000_000


def check_free(name: str, force: bool = False) -> None:
    """Raise `StrataError` where a model may not be published under a name.

    That is a name which is none, one of a built-in model, or, without `force`, of one's own that is there.
    """
    check_name(name, "source model")
    if (hub.MODELS / f"{name}.yaml").exists():
        raise StrataError(f"{name} is a built-in source model, which stays as it is; take another name")
    path = hub.own_folder() / f"{name}.yaml"
    if path.exists() and not force:
        raise StrataError(f"{path} is there already; take another name, or replace that model with --force")


def publish(
    name: str,
    state: Mapping[str, Tensor],
    targets: tuple[Target, ...],
    graph: GraphSettings,
    facts: Mapping[str, Any],
    half: bool = False,
    force: bool = False,
    source: str | None = None,
) -> SourceCard:
    """Write a model's weights, then its card, into `hub.own_folder()`; returns the card.

    state: predicts `targets` in their units. facts: title, training, metrics, licence, note of the card.
    half: float16, with which the model predicts a little otherwise. force: replaces a model of one's own,
    whose weights stay until the next one replaces it, for those who have read its card.
    source: the model whose weights it went on from; the labels and structures that one has seen, this one has
    seen too.

    Raises `StrataError` for a name that is taken (see `check_free`), a file over 20 MB, and a folder that
    cannot be written.
    """
    check_free(name, force)
    kept = {n: t.half() if half and t.dtype == torch.float32 else t for n, t in state.items()}
    content = save({n: tensor.contiguous() for n, tensor in kept.items()})
    if len(content) > MAX_BYTES:
        raise StrataError(
            f"{name}: {len(content):,} bytes of weights, at most {MAX_BYTES:,}; publish in float16"
        )
    own = [Label(dataset=target.dataset, property=target.property) for target in targets]
    before_it = hub.load_card(source) if source else None
    digest = hashlib.sha256(content).hexdigest()
    folder = hub.own_folder()
    before = _weights_of(folder / f"{name}.yaml")
    weights = _free_for(folder, name, digest)
    card = SourceCard(
        name=name,
        weights=weights,
        file_sha256=digest,
        weights_sha256=weights_hash(kept),
        architecture=Architecture(output_features=len(targets)),
        graph=graph,
        target=targets[0],
        more_targets=targets[1:],
        seen_labels=tuple(dict.fromkeys([*own, *(before_it.seen_labels if before_it else ())])),
        **{**facts, "training": _with_those_of(before_it, facts["training"])},
    )
    try:
        write_whole(folder / weights, content)
        write_whole(
            folder / f"{name}.yaml", card_text(card)
        )  # with this one the model is another, at one stroke
        if before not in (None, weights):
            _remove_older(folder, name, {before, weights})
    except OSError as error:
        raise StrataError(
            f"{folder} cannot be written ({error.strerror}); name another in {hub.MODELS_VARIABLE}"
        ) from None
    return card


def _with_those_of(source: SourceCard | None, training: Training) -> Training:
    """Add the structures that a model's own source model learned from, which it has thereby seen."""
    before = source.training.structures if source and source.training else ()
    return training.model_copy(update={"structures": tuple(dict.fromkeys((*training.structures, *before)))})


def _weights_of(card: Path) -> str | None:
    """Return the file of weights that a card names; None where there is no card that can be read."""
    try:
        found = read_yaml(card)["weights"]
    except (OSError, StrataError, TypeError, KeyError):
        return None
    return str(found)


def _free_for(folder: Path, name: str, digest: str) -> str:
    """Return a name for weights that no others have, so that a card and its weights never disagree."""
    plain, other = f"{name}.safetensors", f"{name}.{digest[:16]}.safetensors"
    try:
        taken = sha256_file(folder / plain) != digest
    except OSError:
        taken = (folder / other).exists()  # the same once more; else plain is free, or not to be written
    return other if taken else plain


def _remove_older(folder: Path, name: str, kept: Container[str | None]) -> None:
    """Remove the weights of models that were replaced before the last one."""
    for path in folder.glob("*.safetensors"):
        is_own = re.fullmatch(rf"{re.escape(name)}(\.[0-9a-f]{{16}})?\.safetensors", path.name)
        of_another = path.stem != name and path.with_suffix(".yaml").exists()
        if is_own and path.name not in kept and not of_another:
            remove(path)


def publish_run(store_root: str | Path, run_id: str, name: str, force: bool = False) -> Path:
    """Publish the network of a run of `strata train` or `finetune`; returns the card's path.

    See `publish` for force and what is raised.
    """
    store = open_store(store_root)
    found = store.sql(
        "SELECT dataset, method, source_model, scheme, seed, fold, n_train, settings, model_path, "
        "model_sha256 FROM runs WHERE run_id = ? AND method IN ('scratch', 'finetune')",
        [run_id],
    ).fetchall()
    if not found:
        raise StrataError(f"{run_id} is no run of a trained network in {store_root}")
    dataset, method, source, *split, n_train, settings, path, sha256 = found[0]
    folder = model_folder(Path(store_root), path)
    check_checksums(folder, sha256)
    model = TrainedModel.load(folder)
    val = store.sql("SELECT property, val_mae FROM runs WHERE model_path = ?", [path]).fetchall()
    of = store.facts(dataset)
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
                structures=tuple(
                    LearnedFrom(dataset=dataset, property=name, split=str(SplitKey(*split)), count=n_train)
                    for name in model.names
                ),
                settings=f"{start}; {json.dumps(json.loads(settings), sort_keys=True)}",
                attribution=of.citation,
            ),
            "metrics": metrics(dict(val)),
            "licence": f"weights under the project's terms (Apache-2.0); data {of.licence}",
        },
        force=force,
        source=source if method == "finetune" else None,
    )
    return hub.own_folder() / f"{name}.yaml"


def metrics(val_mae: Mapping[str, float]) -> dict[str, float]:
    """Name validation errors: of a single property without its name."""
    if len(val_mae) == 1:
        return {"val_mae": round(next(iter(val_mae.values())), 6)}
    return {f"val_mae_{name}": round(value, 6) for name, value in sorted(val_mae.items())}
