"""Which run answers for a property, and what is said where none does."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from featurestore import StoreLayout, TableWriter
from featurestore.tables.schema import SCHEMAS
from featurestore.tables.shards import Chunk
from heads.committee import METHOD
from tests.stores import flip
from zoo.chosen import chosen_model, models_where


def test_of_repetitions_the_first_answers_whichever_scored_best(fitted, tmp_path):
    model = chosen_model(featurestore.open(fitted), "alpha", "energy", ["random"])
    assert (model.head, model.unit, model.feature_set) == ("ridge", "eV", "atom_bond_angle_last")
    assert (model.split, model.repetitions) == ("random-0-0", 2)
    query = "SELECT test_mae FROM runs WHERE role = 'chosen' AND property = 'energy'"
    maes = [mae for (mae,) in featurestore.open(fitted).sql(query).fetchall()]
    assert model.test_mae == pytest.approx(np.mean(maes))
    assert model.test_mae_sd == pytest.approx(np.std(maes, ddof=1))
    assert model.base_test_mae > 0
    # The rule looks at no score: it stays where the other repetition is the better one.
    copy = shutil.copytree(fitted, tmp_path / "copy")
    rows = featurestore.open(copy).sql("FROM scores").to_arrow_table().to_pylist()
    turned = pa.Table.from_pylist([row | {"mae": 1 / row["mae"]} for row in rows], SCHEMAS["scores"])
    with TableWriter(StoreLayout(copy).scores, SCHEMAS["scores"], "test") as writer:
        writer.replace({"turned": Chunk(turned)})
    assert chosen_model(featurestore.open(copy), "alpha", "energy").run_id == model.run_id


def test_of_one_repetition_there_is_no_deviation(elements):
    model = chosen_model(featurestore.open(elements), "ase_elements", "bulk_modulus")
    assert (model.repetitions, model.test_mae_sd) == (1, None)
    assert model.balanced_accuracy is None


def test_a_split_that_is_not_preferred_answers_where_it_is_the_only_one(fitted):
    store = featurestore.open(fitted)
    assert (
        chosen_model(store, "alpha", "energy", ["grouped"]).run_id
        == chosen_model(store, "alpha", "energy").run_id
    )


@pytest.mark.parametrize(
    ("dataset", "target", "message"),
    [
        ("alpa", "energy", r"unknown dataset 'alpa'.*did you mean 'alpha'"),
        ("alpha", "enrgy", r"unknown property 'enrgy' in alpha; did you mean 'energy'"),
        ("alpha", "gap", r"no head was chosen for alpha/gap; run strata fit alpha"),
        ("../x", "gap", r"not a valid name"),
        ("alpha", "x'; DROP TABLE runs --", r"unknown property"),
    ],
)
def test_unknown_target(fitted, dataset, target, message):
    with pytest.raises(StrataError, match=message):
        chosen_model(featurestore.open(fitted), dataset, target)


def test_a_model_that_was_removed(fitted, tmp_path):
    copy = shutil.copytree(fitted, tmp_path / "copy")
    shutil.rmtree(copy / "runs/alpha/models")
    with pytest.raises(StrataError, match=r"the model of run .* is not at .*strata fit alpha again"):
        chosen_model(featurestore.open(copy), "alpha", "energy")


def test_a_flipped_bit_of_the_model_is_found(fitted, tmp_path):
    root = shutil.copytree(fitted, tmp_path / "store")
    model = chosen_model(featurestore.open(root), "alpha", "energy")
    flip(model.folder / "arrays.safetensors", -2, 6)
    with pytest.raises(StrataError, match=r"arrays\.safetensors has another SHA-256"):
        chosen_model(featurestore.open(root), "alpha", "energy")
    (model.folder / "SHA256SUMS").unlink()  # the log keeps the hash of the list
    with pytest.raises(StrataError, match="SHA256SUMS is missing"):
        chosen_model(featurestore.open(root), "alpha", "energy")


def test_a_changed_model_with_a_list_of_its_own_is_found(fitted, tmp_path):
    root = shutil.copytree(fitted, tmp_path / "store")
    model = chosen_model(featurestore.open(root), "alpha", "energy")
    (model.folder / "SHA256SUMS").write_text("", encoding="utf-8")
    with pytest.raises(StrataError, match="SHA256SUMS"):
        chosen_model(featurestore.open(root), "alpha", "energy")


def test_a_committee_names_no_feature_set_of_its_own(committee):
    (found, *_) = models_where(featurestore.open(committee), "method = ? ORDER BY seed", [METHOD])
    assert (found.head, found.feature_set) == (METHOD, "")
    told = json.loads((found.folder / "committee.json").read_text(encoding="utf-8"))
    assert len(told["members"]) > 1


def test_where_nothing_fits_there_is_no_model(fitted):
    assert models_where(featurestore.open(fitted), "run_id = ?", ["none"]) == []
