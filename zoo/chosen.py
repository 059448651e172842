"""Which saved run answers for a property: the one that `evaluate` chose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.checksums import check_checksums
from core.errors import StrataError, check_name, unknown
from featurestore.query.store import FeatureStore
from featurestore.tables.models import model_folder
from heads.committee import METHOD as COMMITTEE

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
    sha256: str = ""  # of the list of its files' hashes


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
    found = models_where(
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


def models_where(store: FeatureStore, where: str, given: list[Any]) -> list[ChosenModel]:
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
            command = "fit" if row["method"] in {*HEADS, COMMITTEE} else row["method"]
            raise StrataError(
                f"the model of run {row['run_id']} ({row['head']} on {row['dataset']}/{row['property']}) is "
                f"not at {folder}; restore it, or drop the run with `strata store verify --repair` and run "
                f"strata {command} {row['dataset']} again"
            )
        check_checksums(folder, sha256)
        found.append(ChosenModel(folder=folder, sha256=sha256 or "", **row))
    return found
