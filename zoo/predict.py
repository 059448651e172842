"""Values for new structures: files in, the chosen model's predictions with their unit out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from core.checksums import check_checksums
from core.errors import StrataError, check_name, unknown
from core.params import Params
from core.structure import InvalidStructure, Structure
from core.structure_files import read_structures
from core.validation import validate
from featurestore.columns import OwnColumns, read_own_columns
from featurestore.query.sources import Source
from featurestore.query.store import FeatureStore, open_store
from featurestore.tables.models import model_folder
from heads.averaging import combined
from heads.classifier import Classifier
from heads.committee import METHOD, members_of
from heads.on_log import Predictor
from heads.registry import load_head
from zoo.backbones.engine import Extracted
from zoo.extraction import extraction_id, make_engine
from zoo.hub import load_card
from zoo.training.trained import TrainedModel

Values = tuple[np.ndarray, list[str | None]]  # (n,), and why a structure has none
ValuesOf = Callable[[Sequence[Structure], Sequence[str]], Values]  # of structures and their names

HEADS = ("features", "composition")  # methods whose model is a head on vectors


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """The saved head or network that `evaluate` chose for a target; MAE in `unit`, on the test part.

    A network of the target's own (method finetune) reads no vectors: it has no feature set, no extraction. A
    committee's members have theirs. Where the split was drawn several times, the errors are means over these
    repetitions, and `test_mae_sd` is the standard deviation.
    """

    run_id: str
    dataset: str
    property: str
    unit: str
    head: str
    label: str | None
    feature_set: str
    source_model: str
    extraction_id: str | None
    folder: Path
    test_mae: float | None
    base_test_mae: float | None
    method: str = "features"
    split: str = ""
    repetitions: int = 1
    test_mae_sd: float | None = None
    balanced_accuracy: float | None = None  # of a property of classes, which has no MAE


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said of one structure, or why nothing can be said of a structure or a file."""

    file: str
    name: str
    formula: str
    value: float | None
    error: str | None = None
    # Of a property of classes in place of a value: each label's probability, the most probable first.
    chances: tuple[tuple[str, float], ...] = ()


def chosen_model(
    store: FeatureStore,
    dataset: str,
    property: str,  # noqa: A002 - the word of the tables
    schemes: Sequence[str] = (),
) -> ChosenModel:
    """Find the chosen run of a target: of several repetitions that of the lowest seed and fold.

    Which of them scored best plays no part: the luckiest fold is no better a model. schemes: ways of
    splitting in the order in which they are preferred; those not named come after them, by name.
    Within a repetition, `evaluate` has chosen by validation.

    Raises `StrataError` naming the nearest dataset or property for an unknown one, and the command
    that is missing where nothing was chosen yet.
    """
    check_name(dataset, "dataset")
    known = store.datasets()
    if dataset not in known:
        raise unknown("dataset", dataset, known, f"the store {store.path}")
    properties = store.properties(dataset)
    if property not in properties:
        raise unknown("property", property, properties, dataset)
    found = _models(
        store,
        "role = 'chosen' AND dataset = ? AND property = ? ORDER BY "
        "list_position(?::VARCHAR[], scheme) NULLS LAST, scheme, seed, fold, run_id LIMIT 1",
        [dataset, property, list(schemes)],
    )
    if not found:
        raise StrataError(
            f"no head was chosen for {dataset}/{property}; run strata fit {dataset}, then strata evaluate"
        )
    (model,) = found
    mae, sd, base, balanced, count = store.sql(
        "SELECT avg(r.test_mae), stddev_samp(r.test_mae), avg(r.base_test_mae), avg(s.balanced_accuracy), "
        "count(*) FROM runs r JOIN scores s USING (run_id) JOIN runs this ON this.run_id = ? AND "
        "(r.dataset, r.property, r.scheme, r.role) = (this.dataset, this.property, this.scheme, this.role)",
        [model.run_id],
    ).fetchall()[0]
    model = replace(model, balanced_accuracy=balanced)
    if count == 1:
        return model
    return replace(model, test_mae=mae, test_mae_sd=sd, base_test_mae=base, repetitions=count)


def _models(store: FeatureStore, where: str, given: list[Any]) -> list[ChosenModel]:
    """Return the saved models of some runs. Raises `StrataError` where one is not there or is damaged."""
    query = (  # fixed pieces, values are bound
        "SELECT run_id, method, dataset, property, unit, coalesce(head, method) AS head, label, "  # noqa: S608
        "coalesce(feature_set, '') AS feature_set, source_model, extraction_id, model_path, model_sha256, "
        f"test_mae, base_test_mae, concat_ws('-', scheme, seed, fold) AS split FROM runs WHERE {where}"
    )
    found = []
    for row in store.sql(query, given).to_arrow_table().to_pylist():
        path, sha256 = row.pop("model_path") or "", row.pop("model_sha256")
        folder = model_folder(store.path, path) if path else store.path
        if not path or not folder.is_dir():
            command = "fit" if row["method"] in {*HEADS, METHOD} else row["method"]
            raise StrataError(
                f"the model of run {row['run_id']} ({row['head']} on {row['dataset']}/{row['property']}) is "
                f"not at {folder}; restore it, or drop the run with `strata store verify --repair` and run "
                f"strata {command} {row['dataset']} again"
            )
        check_checksums(folder, sha256)
        found.append(ChosenModel(folder=folder, **row))
    return found


def predict(
    files: Sequence[str | Path],
    dataset: str,
    property: str,  # noqa: A002 - the word of the tables
    params: Params,
    store_root: str | Path = "store",
    columns: str | Path | None = None,
) -> tuple[ChosenModel, list[Prediction]]:
    """Predict a property of every structure in `files` (CIF, POSCAR, XYZ), in order.

    columns: a table of the structures' own columns, for a model that reads some; its ids are the structures'
    names. A file or structure that cannot be used is a `Prediction` with its error, and the others go on.
    Raises `StrataError` for an unknown target, one without a chosen model, and where the table is missing.
    """
    store = open_store(store_root)
    model = chosen_model(store, dataset, property, params.split.schemes)
    classes = store.facts(dataset).properties[property].classes
    value_of = _values_of(model, store, params, len(classes), None if columns is None else Path(columns))
    found: list[Prediction] = []
    structures: list[Structure] = []
    places: list[int] = []  # of each structure in `found`
    for file in files:
        for name, structure, error in _read(file, params):
            if structure is not None:
                places.append(len(found))
                structures.append(structure)
            formula = structure.formula if structure is not None else ""
            found.append(Prediction(str(file), name, formula, None, error))
    if structures:
        values, errors = value_of(structures, [found[place].name for place in places])
        for i, place in enumerate(places):
            found[place] = replace(found[place], error=errors[i])
            if errors[i] is None and classes:
                order = np.argsort(-values[i], kind="stable")
                chances = tuple((classes[j], float(values[i, j])) for j in order)
                found[place] = replace(found[place], chances=chances)
            elif errors[i] is None:
                found[place] = replace(found[place], value=float(values[i]))
    return model, found


def _values_of(
    model: ChosenModel,
    store: FeatureStore,
    params: Params,
    classes: int,
    columns: Path | None,
    said: dict[str, Extracted] | None = None,
) -> ValuesOf:
    """Load the model at once, and return what predicts (n,) values and says why one has none.

    Of a property of classes the values are probabilities (n, classes). said: see `_embed`; whoever gives it
    empties it before other structures come.
    """
    if model.method == METHOD:
        return _values_of_members(model, store, params, columns)
    if model.method not in HEADS:
        network = TrainedModel.load(model.folder)
        if model.property not in network.names:
            raise StrataError(f"{model.folder} predicts {', '.join(network.names)}, not {model.property}")
        column = network.names.index(model.property)

        def by_network(structures: Sequence[Structure], _: Sequence[str]) -> Values:
            values, errors = network(structures)
            return values[:, column], [_why(errors.get(i)) for i in range(len(structures))]

        return by_network
    head = load_model(model, params)
    own = {
        source: _own(store.sources[source], model, columns)
        for source in model.source_model.split("+")
        if source in store.sources and store.sources[source].is_columns
    }

    def by_head(structures: Sequence[Structure], names: Sequence[str]) -> Values:
        vectors, errors = _embed(structures, model, store, params, names, own, said)
        usable = [i for i, error in enumerate(errors) if error is None]
        values = np.full((len(structures), classes) if classes else len(structures), np.nan)
        if usable and classes:
            values[usable] = cast("Classifier", head).predict_proba(vectors[usable], classes)
        elif usable:
            values[usable] = head.predict(vectors[usable])
        return values, errors

    return by_head


def _own(source: Source, model: ChosenModel, columns: Path | None) -> OwnColumns:
    """Read the columns that a model learned from for new structures."""
    if columns is None:
        raise StrataError(
            f"the model of {model.dataset}/{model.property} reads the columns {', '.join(source.columns)} of "
            f"{source.name} beside the structures: give a table of them, one row per structure, its name in "
            "the first column, by --columns FILE"
        )
    return read_own_columns(columns, source.columns)


def _values_of_members(
    model: ChosenModel, store: FeatureStore, params: Params, columns: Path | None
) -> ValuesOf:
    """Load a committee's members; one that has no value for a structure is left out of its mean."""
    members = []
    said: dict[str, Extracted] = {}  # each network runs once for all members
    for member in members_of(model.folder):
        found = _models(store, "run_id = ?", [member.run_id])
        if not found:
            raise StrataError(
                f"run {member.run_id}, a member of the committee of {model.dataset}/{model.property}, is not "
                f"in the store; run strata fit {model.dataset} again"
            )
        if found[0].method == METHOD:
            raise StrataError(
                f"{model.folder} names a committee as its own member; fit {model.dataset} again"
            )
        members.append((member.weight, _values_of(found[0], store, params, 0, columns, said)))

    def by_members(structures: Sequence[Structure], names: Sequence[str]) -> Values:
        said.clear()
        each = [value_of(structures, names) for _, value_of in members]
        table = np.column_stack(
            [[np.nan if e else v for v, e in zip(v_, e_, strict=True)] for v_, e_ in each]
        )
        values, _ = combined(table, np.array([weight for weight, _ in members]))
        errors = [
            None if np.isfinite(value) else next(filter(None, (e_[i] for _, e_ in each)), None)
            for i, value in enumerate(values)
        ]
        return values, errors

    return by_members


def _why(error: InvalidStructure | None) -> str | None:
    return None if error is None else f"{error.code}: {error}"


def load_model(model: ChosenModel, params: Params) -> Predictor:
    """Load the saved head; a user's own class must be named under `heads` in the params."""
    return load_head(model.folder, params)


def _read(file: str | Path, params: Params) -> list[tuple[str, Structure | None, str | None]]:
    """Read one file: (name, structure, None), or (name, None, why not)."""
    try:
        read = read_structures(file, params.ingest.vacuum)
    except StrataError as error:
        return [(Path(file).stem, None, str(error))]
    checked: list[tuple[str, Structure | None, str | None]] = []
    for name, structure in read:
        try:
            validate(structure, params.ingest)
            checked.append((name, structure, None))
        except InvalidStructure as error:
            checked.append((name, None, f"{error.code}: {error}"))
    return checked


def _embed(
    structures: Sequence[Structure],
    model: ChosenModel,
    store: FeatureStore,
    params: Params,
    names: Sequence[str] = (),
    own: Mapping[str, OwnColumns] = MappingProxyType({}),
    said: dict[str, Extracted] | None = None,
) -> tuple[np.ndarray, list[str | None]]:
    """Return the vectors (n, d) that the head reads, and why a row has none.

    own: the rows of the tables of a user's own columns among its sources, under the structures' `names`.
    said: what networks said of these structures already, which grows.
    """
    extractions = dict(zip(model.source_model.split("+"), str(model.extraction_id).split("+"), strict=True))
    default = next(iter(extractions))
    name = model.feature_set if len(extractions) > 1 else f"{default}/{model.feature_set}"
    asked = store.feature_set(name, default)
    vectors = np.full((len(structures), asked.width), np.nan, np.float32)
    errors: list[str | None] = [None] * len(structures)
    for source, learned_from in extractions.items():
        is_own = source in own
        found = (
            store.sources[source].extraction_id
            if is_own
            else extraction_id(load_card(source), params.extract.tf32)
        )
        if found != learned_from:
            raise StrataError(
                f"the head of {model.dataset}/{model.property} learned from extraction {learned_from}; "
                f"{source} with the present settings gives {found}: run dvc repro, then predict again"
            )
        blocks = asked.of(source)
        if is_own:
            for i, why in _fill(vectors[:, blocks[0].start : blocks[0].stop], own[source], names).items():
                errors[i] = errors[i] or why
            continue
        if said is None:
            checkpoints = [block.checkpoint for block in blocks]
            extracted = make_engine(source, params.extract)(structures, checkpoints)
        else:
            if source not in said:
                every = [checkpoint.name for checkpoint in store.sources[source].checkpoints]
                said[source] = make_engine(source, params.extract)(structures, every)
            extracted = said[source]
        for block in blocks:
            vectors[:, block.start : block.stop] = extracted.vectors[block.checkpoint]
        for i, error in extracted.errors.items():
            errors[i] = errors[i] or _why(error)
    return vectors, errors


def _fill(out: np.ndarray, own: OwnColumns, names: Sequence[str]) -> dict[int, str]:
    """Write the rows of a user's own columns into `out` (n, d); return why a structure has none."""
    errors = {}
    for i, name in enumerate(names):
        at = own.place.get(name)
        if at is None:
            errors[i] = f"no_columns: {name} has no row in the table of columns"
        elif lacks := own.lacking(at):
            errors[i] = f"missing_value: {name} has no {', '.join(lacks)} in the table of columns"
        else:
            out[i] = own.values[at]
    return errors
