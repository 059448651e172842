"""A finished source model: measured on its validation and test parts, for its card, and published."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featurestore import FeatureStore, audit, open_store
from zoo.backbones.alignn.elements import atom_features
from zoo.backbones.engine import pick_device
from zoo.hub import LearnedFrom, SourceCard, Target, Training, load_source
from zoo.publish import check_free, publish
from zoo.training.loop import Trained
from zoo.training.source import SourceTraining
from zoo.training.trained import predict

ROLE, STAGE = "source", "train-source"  # in the audit of test parts
_SIZES = ((1, 4), (5, 8), (9, 20), (21, 40), (41, 200))  # atoms a cell, as the card reports errors


def publish_source(
    training: SourceTraining,
    trained: Trained,
    name: str,
    store_root: str | Path = "store",
    half: bool = False,
    force: bool = False,
) -> SourceCard:
    """Publish a finished training; only now the test part is read, for the card, and leaves a row in `looks`.

    See `zoo.publish.publish` for half, force and what is raised; a name that is taken is told before.
    """
    check_free(name, force)
    store = open_store(store_root)
    rows, everything = training.rows, training.everything
    val = np.flatnonzero((rows.part == "val").any(axis=1))
    on_val = _errors(trained.state, trained, training, val, rows.values[val])
    test = np.flatnonzero((rows.part == "test").any(axis=1))
    values = _test_values(store, training, test)
    errors = _errors(trained.state, trained, training, test, values)
    atoms = everything.graphs.atoms[everything.graph]  # type: ignore[attr-defined]
    facts = store.facts(rows.dataset)
    metrics: dict[str, float] = {}
    for k, prop in enumerate(rows.names):
        ending = "" if len(rows.names) == 1 else f"_{prop}"
        metrics |= {f"val_mae{ending}": _mean(on_val[:, k]), f"test_mae{ending}": _mean(errors[:, k])}
        small = atoms[val] <= 20
        metrics[f"val_mae_to_20_atoms{ending}"] = _mean(on_val[small, k])
        for first, last in _SIZES:
            inside = (atoms[test] >= first) & (atoms[test] <= last)
            if inside.any():
                metrics[f"test_mae_{first}_to_{last}_atoms{ending}"] = _mean(errors[inside, k])
    return publish(
        name, trained.state,
        tuple(
            Target(dataset=rows.dataset, property=prop, unit=unit)
            for prop, unit in zip(rows.names, rows.units, strict=True)
        ),
        training.graph, _facts(training, trained, facts, metrics), half, force,
        None if training.section.init == "scratch" else training.section.init,
    )  # fmt: skip


def _errors(
    state: Mapping, trained: Trained, training: SourceTraining, which: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Absolute errors (rows, p), NaN where there is no value."""
    graphs = [training.everything.graphs[i] for i in training.everything.graph[which]]
    features = torch.from_numpy(atom_features())
    device = pick_device(training.section.device)
    return np.abs(predict(state, trained.architecture, features, graphs, device) - values)


def _test_values(store: FeatureStore, training: SourceTraining, test: np.ndarray) -> np.ndarray:
    """The targets of the test part: read here for the card of a model that is being published."""
    rows = training.rows
    counts = (rows.part == "test").sum(axis=0)
    about = {"run_id": training.key, "dataset": rows.dataset, **rows.split._asdict()}
    about |= {"role": ROLE, "among": "", "stage": STAGE}
    audit.record(
        store,
        [about | {"property": name, "n": int(n)} for name, n in zip(rows.names, counts, strict=True)],
    )
    values = np.full((len(test), len(rows.names)), np.nan)
    for k, name in enumerate(rows.names):
        found = dict(
            store.sql(
                "SELECT entry_id, value FROM targets WHERE dataset = ? AND property = ?", [rows.dataset, name]
            ).fetchall()
        )
        is_test = rows.part[test, k] == "test"
        values[is_test, k] = [found[entry] for entry in rows.entry_ids[test][is_test]]
    return values


def _facts(
    training: SourceTraining, trained: Trained, dataset: Any, metrics: dict[str, float]
) -> dict[str, Any]:
    section, n = training.section, int(training.examples.train.any(axis=1).sum())
    limit = f", of at most {section.max_cost} compressed angles" if section.max_cost else ""
    start = "random initial weights"
    if section.init != "scratch":
        start = f"the weights of {section.init} ({load_source(section.init).card.weights_sha256[:12]})"
    steps = "".join(f", before epoch {epoch} of at most {cost} angles" for epoch, cost in section.curriculum)
    return {
        "title": f"ALIGNN on {', '.join(training.rows.names)} of {section.dataset}",
        "training": Training(
            data=f"{section.dataset}, {n:,} structures of the training part of {section.split}{limit}{steps}",
            structures=tuple(
                LearnedFrom(
                    dataset=section.dataset, property=name, split=section.split, count=n, note=limit[2:]
                )
                for name in training.rows.names
            ),
            settings=(
                f"AdamW, weight decay {section.weight_decay:g}, one-cycle to {section.learning_rate:g}, "
                f"batch {section.batch_size}, L1, {len(trained.history)} epochs, seed {section.seed}; epoch "
                f"{trained.best_epoch + 1} by validation MAE; from {start}, on symmetry classes, "
                f"{trained.seconds / 3600:.1f} hours; made by strata train-source"
            ),
            attribution=dataset.citation,
        ),
        "metrics": metrics,
        "licence": f"weights under the project's terms (Apache-2.0); data {dataset.licence}",
        "note": "Never shown a molecule, a surface or a 2D material; no substitute for a computation by DFT.",
    }


def _mean(errors: np.ndarray) -> float:
    return round(float(np.nanmean(errors)), 5)
