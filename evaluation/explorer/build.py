"""A map of the structures of a store, from datasets, properties and checkpoints by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError
from core.params import Params, load_if_there
from core.text import number
from evaluation.explorer.collect import (
    Found,
    Property,
    datasets_of,
    properties_of,
    structures_of,
    values_of,
    vectors_of,
)
from evaluation.explorer.judged import ERROR, held_out, said_of
from evaluation.explorer.projection import nearest, pca, quiet_umap, umap
from evaluation.explorer.shares import shares_of, worth_explaining
from evaluation.explorer.structure_map import Column, Shares, StructureMap, shown_unit
from featurestore.query.feature_sets import full_name
from featurestore.query.store import FeatureStore
from zoo.candidates import Candidates
from zoo.load import LoadedModel
from zoo.load import load as load_model

SHARES = 50  # structures whose atoms get shares: one more pass through the networks each


@dataclass(frozen=True, slots=True)
class Request:
    """What a map is to show.

    datasets: whose structures; none: all. properties: PROPERTY or DATASET/PROPERTY; those that are named are
    also predicted for every structure, where `evaluate` has chosen a model. checkpoints: whose vectors are
    projected, the first one's decide neighbours; none: the deepest of the default source model's first kind.
    umap: also a UMAP of each. shares: for how many structures atoms get shares of the first prediction.
    """

    datasets: Sequence[str] = ()
    properties: Sequence[str] = ()
    checkpoints: Sequence[str] = ()
    umap: bool = False
    shares: int = SHARES


def store_map(
    store: FeatureStore,
    request: Request,
    params: Params | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> StructureMap:
    """Make the map. tell: told, in a sentence, what is being done and takes longer.

    Raises `StrataError` for unknown datasets, properties and checkpoints, and where there is nothing to show.
    """
    settings = params or load_if_there()
    if request.shares < 0:
        raise StrataError(f"shares are computed for a number of structures, and {request.shares} is none")
    if request.umap:
        quiet_umap()  # before the work, where it is not installed
    datasets = datasets_of(store, request.datasets)
    chosen = properties_of(store, datasets, request.properties)
    sets = [store.one_checkpoint(name) for name in request.checkpoints or (None,)]
    checkpoints = list(dict.fromkeys(full_name(one.name, one.source_model) for one in sets))
    found = structures_of(store, datasets)
    tell(f"{len(found.ids):,} structures of {', '.join(datasets)}")

    projected, near_of = _projections(store, found, checkpoints, request.umap, tell)
    values, said = [], []
    for one in chosen:
        value = values_of(store, found, one)
        values.append(value)
        said += held_out(store, found, one, value, settings.split.schemes)
    models = _models(store, [one for one in chosen if request.properties], settings)
    notes = []
    shares = Shares({})
    for one, model in models:
        candidates = Candidates.of(model, store, datasets)
        tell(f"{one.name}: {int(candidates.usable.sum()):,} structures are predicted")
        judged = said_of(model, candidates, found.ids, told=True)
        said += judged.columns(one.name, one.unit, model.card.name)
        notes.append(about_model(model, judged.level))
        if not shares.about and request.shares:
            which, order = _to_explain(one, said, values, judged.high - judged.low)
            places = worth_explaining(order, request.shares)
            shares = shares_of(model, found.crystals, places, which, told=True)
    if without := int((~found.crystals.drawn).sum()):
        notes.append(f"Of {without:,} structures only the composition is known: they have no picture.")
    tell(f"neighbours by {checkpoints[0]}")
    near = nearest(near_of)
    kept = [column for column in (*values, *said) if np.isfinite(column.values).any()]
    columns = (*projected, *kept, *found.columns)
    return StructureMap(
        title=f"{', '.join(datasets)}: {len(found.ids):,} structures",
        names=found.names,
        entries=found.entries,
        formulas=found.formulas,
        crystals=found.crystals,
        columns=columns,
        x=projected[0].name,
        y=projected[1].name,
        colour=_first_colour(kept if request.properties else (), found.columns),
        near=near.places,
        far=near.distances,
        near_by=checkpoints[0],
        shares=shares,
        notes=tuple(notes),
    )


def explaining_model(
    store: FeatureStore, request: Request, params: Params | None = None
) -> LoadedModel | None:
    """Return the model of the first named property that has one: its predictions have shares of atoms."""
    settings = params or load_if_there()
    chosen = properties_of(store, datasets_of(store, request.datasets), request.properties)
    found = _models(store, [one for one in chosen if request.properties][:1], settings)
    return found[0][1] if found else None


def about_model(model: LoadedModel, level: float) -> str:
    """Say in a sentence what predicts a property."""
    card = model.card
    reads = f"on {card.reads}" if card.reads else "from a network of its own"
    error = ""
    if card.test_mae is not None:
        unit = shown_unit(card.unit)
        error = f" Mean absolute error on its test part: {number(card.test_mae)}{unit and ' '}{unit}."
    return (
        f"{card.property} is predicted by the model of {card.name}: {card.head} {reads}, {card.rows:,} "
        f"training rows.{error} Its intervals hold {level:.0%} of values like those of its test part."
    )


def _projections(
    store: FeatureStore,
    found: Found,
    checkpoints: Sequence[str],
    with_umap: bool,
    tell: Callable[[str], None],
) -> tuple[list[Column], NDArray[np.float32]]:
    """Return two columns a projection, and the vectors of the first checkpoint."""
    columns: list[Column] = []
    first: NDArray[np.float32] | None = None
    for name in checkpoints:
        X = vectors_of(store, found, name)
        columns += pca(X, name)
        if with_umap:
            tell(f"UMAP of {name}: about a minute for 40,000 structures")
            columns += umap(X, name)
        first = X if first is None else first
    assert first is not None
    return columns, first


def _models(
    store: FeatureStore, chosen: Sequence[Property], params: Params
) -> list[tuple[Property, LoadedModel]]:
    """Load the models of properties for which `evaluate` has chosen one; of classes none is asked."""
    found = []
    for one in chosen:
        scored = store.sql(
            "SELECT 1 FROM runs WHERE role = 'chosen' AND dataset = ? AND property = ? LIMIT 1",
            [one.dataset, one.property],
        ).fetchall()
        if not scored or one.classes:
            continue
        model = load_model(f"{one.dataset}/{one.property}", store=store.path, params=params)
        found.append((one, model))
    return found


def _to_explain(
    one: Property, said: Sequence[Column], values: Sequence[Column], width: NDArray[np.float64]
) -> tuple[str, NDArray[np.float64]]:
    """Say which structures' atoms are worth a pass: those of the largest errors, or widest intervals."""
    for column in said:
        if column.name == f"{one.name}, absolute {ERROR}":
            return f"those with the largest errors of {one.name}", column.values
    if np.isfinite(width).any():
        return "those with the widest intervals", width
    known = next(column for column in values if column.name == one.name)
    return "those with the largest values", known.values


def _first_colour(kept: Sequence[Column], known: Sequence[Column]) -> str:
    """Choose what points are coloured by at first: a prediction for all, else a value, else the chemistry."""
    for ending in (", prediction", ""):
        for column in kept:
            if column.name.endswith(ending) and not column.labels:
                return column.name
    return next(column.name for column in known if column.name == "chemistry")
