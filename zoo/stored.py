"""Models out of a store: the run that was chosen for a property, and what its predictions are worth."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import StrataError
from core.params import Params
from core.structure import Structure
from featurestore.query.feature_sets import ALL, FeatureSet
from featurestore.query.store import FeatureStore
from heads.calibration import Calibration, TrainingRow, VectorsOf, calibrate
from heads.committee import METHOD as COMMITTEE
from heads.committee import members_of
from heads.registry import load_head
from zoo.backbones.registry import find
from zoo.chosen import HEADS, ChosenModel, chosen_model, models_where
from zoo.model import NETWORK, Card, Member, Model, Reads
from zoo.own_network import load_network

if TYPE_CHECKING:
    from zoo.training.trained import TrainedModel

EXAMPLES = 10  # structures that a model carries along (`Model.examples`)
_AT_ONCE = 1024  # structures whose graphs a network of the target's own holds


def stored_model(
    store: FeatureStore,
    dataset: str,
    property: str,  # noqa: A002 - the word of the tables
    params: Params,
) -> Model:
    """Load the model that was chosen for a property; see `chosen_model` for what is raised.

    Raises `StrataError`, too, where a source model here gives other vectors than those it learned from.
    """
    chosen = chosen_model(store, dataset, property, params.split.schemes)
    return model_of(store, chosen, params)


def model_of(store: FeatureStore, chosen: ChosenModel, params: Params) -> Model:
    """Load a run's model with its domain and intervals."""
    basis = basis_of(store, chosen.run_id)
    is_network = NETWORK in basis.sources
    runs = [] if is_network else _members(store, chosen)
    members = tuple(
        Member(load_head(run.folder, params), _set(store, run).blocks, weight, f"{run.head} on {_reads(run)}")
        for run, weight in runs
    )
    calibration = basis.calibrate(store)
    model = Model(
        card=_card(store, chosen, len(calibration.rows)),
        sources=basis.sources,
        members=members,
        calibration=calibration,
        network=_network(chosen) if is_network else None,
        settings=params.extract,
        limits=params.ingest,
    )
    model = replace(model, examples=_examples(store, model.calibration.rows))
    model.check_sources()
    return model


@dataclass(frozen=True, slots=True)
class Basis:
    """What a run of the store stands on beside its model: its row, and the vectors that it reads.

    members: ids and weights of the runs that it averages; none where it averages none. vectors: what looks
    them up, by source model.
    """

    row: Mapping[str, Any]
    members: tuple[tuple[str, float], ...]
    sources: Mapping[str, Reads]
    vectors: Mapping[str, VectorsOf]

    def calibrate(self, store: FeatureStore) -> Calibration:
        """Make its domain and intervals."""
        return calibrate(store, self.row, self.members, self.vectors)


def basis_of(store: FeatureStore, run_id: str) -> Basis:
    """Find what a run stands on; only of a network of the target's own its model is read.

    Raises `StrataError` where some of it is no longer in the store.
    """
    row = _row(store, run_id)
    if row["method"] in HEADS or row["method"] == COMMITTEE:
        told = json.loads(row["settings"])["members"] if row["method"] == COMMITTEE else []
        members = tuple((str(one["run_id"]), float(one["weight"])) for one in told)
        sources = _sources(store, row)
        vectors = {name: partial(_stored_vectors, store, reads) for name, reads in sources.items()}
        return Basis(row, members, sources, vectors)
    (chosen,) = models_where(store, "run_id = ? LIMIT 1", [run_id])
    network = _network(chosen)
    sources = {NETWORK: Reads(NETWORK, chosen.sha256, network.checkpoints)}
    return Basis(row, (), sources, {NETWORK: partial(_own_vectors, store, network)})


def _network(chosen: ChosenModel) -> "TrainedModel":
    network = load_network(chosen.folder)
    if chosen.property not in network.names:
        raise StrataError(f"{chosen.folder} predicts {', '.join(network.names)}, not {chosen.property}")
    return network


def _examples(store: FeatureStore, rows: Sequence[TrainingRow]) -> tuple[Structure, ...]:
    """Return ten structures of training rows from the whole range of values, small ones before large."""
    ordered = sorted({row.structure_id: row for row in rows}.values(), key=lambda row: row.value)
    if not ordered:
        return ()
    spread = np.unique(np.linspace(0, len(ordered) - 1, 4 * EXAMPLES).astype(int))
    found = store.structures([ordered[i].structure_id for i in spread])
    crystals = [one for one in found if isinstance(one, Structure)]
    return tuple(sorted(crystals, key=lambda one: one.n_atoms)[:EXAMPLES])


def _row(store: FeatureStore, run_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = (
        store.sql("SELECT * FROM runs WHERE run_id = ? LIMIT 1", [run_id]).to_arrow_table().to_pylist()
    )
    return found[0]


def _members(store: FeatureStore, chosen: ChosenModel) -> list[tuple[ChosenModel, float]]:
    """Return the runs that predict, with their weights: itself, or a committee's members."""
    if chosen.method != COMMITTEE:
        return [(chosen, 1.0)]
    members = []
    for member in members_of(chosen.folder):
        found = models_where(store, "run_id = ?", [member.run_id])
        if not found:
            raise StrataError(
                f"run {member.run_id}, a member of the committee of {chosen.dataset}/{chosen.property}, is "
                f"not in the store; run strata fit {chosen.dataset} again"
            )
        if found[0].method == COMMITTEE:
            raise StrataError(
                f"{chosen.folder} names a committee as its own member; fit {chosen.dataset} again"
            )
        members.append((found[0], member.weight))
    return members


def _set(store: FeatureStore, run: ChosenModel) -> FeatureSet:
    sources = run.source_model.split("+")
    name = run.feature_set if len(sources) > 1 else f"{sources[0]}/{run.feature_set}"
    return store.feature_set(name, sources[0])


def _sources(store: FeatureStore, row: Mapping[str, Any]) -> dict[str, Reads]:
    """Describe the source models that a run reads, each under the extraction that it learned from."""
    found = {}
    for name, extraction in zip(row["source_model"].split("+"), row["extraction_id"].split("+"), strict=True):
        source = store.need_source(name)
        if source.is_columns and source.extraction_id != extraction:
            raise StrataError(
                f"the model of {row['dataset']}/{row['property']} learned from other columns of {name} than "
                "the store has now: run dvc repro, then predict again"
            )
        sees = not source.is_columns and find(source.backbone).needs_positions
        found[name] = Reads(name, extraction, source.checkpoints, source.columns, sees)
    return found


def _stored_vectors(store: FeatureStore, reads: Reads, ids: Sequence[str]) -> np.ndarray:
    """Look up vectors of structures by all checkpoints of a source model; NaN where there are none."""
    query = (
        "SELECT DISTINCT structure_id FROM stored_features WHERE extraction_id = ? "
        "AND structure_id IN (SELECT unnest(?::VARCHAR[]))"
    )
    there = {name for (name,) in store.sql(query, [reads.extraction_id, list(ids)]).fetchall()}
    found = np.full((len(ids), reads.width), np.nan, np.float32)
    rows = [i for i, name in enumerate(ids) if name in there]
    if rows:
        found[rows] = store.vectors([ids[i] for i in rows], f"{reads.name}/{ALL}", reads.extraction_id)
    return found


def _own_vectors(store: FeatureStore, network: "TrainedModel", ids: Sequence[str]) -> np.ndarray:
    """Run a network of the target's own over structures of the store, for its deepest pooled vectors."""
    names = list(dict.fromkeys(ids))
    vectors = np.full((len(names), sum(c.width for c in network.checkpoints)), np.nan, np.float32)
    for start in range(0, len(names), _AT_ONCE):  # graphs are larger than their vectors
        structures = store.structures(names[start : start + _AT_ONCE])
        usable = {start + i: one for i, one in enumerate(structures) if isinstance(one, Structure)}
        vectors[list(usable)] = network.described(list(usable.values())).vectors
    place = {name: i for i, name in enumerate(names)}
    return vectors[[place[name] for name in ids]]


def _reads(run: ChosenModel) -> str:
    """Name what a run reads; nothing is a network of the target's own."""
    if run.method not in HEADS:
        return run.source_model if run.method == COMMITTEE else ""
    return run.feature_set if "+" in run.source_model else f"{run.source_model}/{run.feature_set}"


def _card(store: FeatureStore, chosen: ChosenModel, rows: int) -> Card:
    facts = store.facts(chosen.dataset)
    return Card(
        dataset=chosen.dataset,
        property=chosen.property,
        unit=chosen.unit,
        run_id=chosen.run_id,
        sha256=chosen.sha256,
        head=chosen.head,
        label=chosen.label or "",
        reads=_reads(chosen),
        split=chosen.split,
        rows=rows,
        classes=facts.properties[chosen.property].classes,
        method=chosen.method,
        test_mae=chosen.test_mae,
        test_mae_sd=chosen.test_mae_sd,
        base_test_mae=chosen.base_test_mae,
        balanced_accuracy=chosen.balanced_accuracy,
        repetitions=chosen.repetitions,
        licence=facts.licence,
        citation=facts.citation,
        doi=facts.doi or "",
        caution=facts.caution or "",
    )
