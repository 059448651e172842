"""Models by name, and what can be asked of them from Python."""

import numpy as np
import pandas as pd
import pytest
import yaml
from ase.build import bulk

import featurestore
import strata
from core.errors import StrataError
from core.structure import Structure
from heads.domain import KEPT
from tests.models import BOTH, ELEMENTS, FOLDED, MODULUS, PARAMS, REAL, of_store
from zoo.chosen import models_where
from zoo.explain import APPROXIMATE, EXACT
from zoo.load import LoadedModel, load, named, predict
from zoo.stored import model_of

NAME = f"{ELEMENTS}/{MODULUS}"
ALLOY = bulk("NaCl", "rocksalt", a=4.6, cubic=True)
ALLOY.symbols[:] = ["Cu", "Al", "Ni", "Al", "Cu", "Al", "Ni", "Cu"]


@pytest.fixture
def model(folded, stand_in) -> LoadedModel:
    return load("alpha/energy", store=folded, params=FOLDED)


def real_run(elements, head) -> LoadedModel:
    """Return the model of one head on the embedded network, chosen or not."""
    store = featurestore.open(elements)
    (run, *_) = models_where(store, "head = ?", [head])
    return LoadedModel(**vars(model_of(store, run, REAL)))


@pytest.fixture(scope="module")
def ridge(elements) -> LoadedModel:
    return real_run(elements, "ridge")


@pytest.fixture(scope="module")
def several(elements) -> LoadedModel:
    return real_run(elements, "committee")


def test_a_model_is_loaded_by_the_name_of_its_property(model):
    assert model.card.name == "alpha/energy"
    assert isinstance(model, LoadedModel)
    one = model.predict(of_store(3), ["mine"], level=0.5)
    assert one["structure"].tolist() == ["mine"]
    assert one["level"].tolist() == [0.5]


def test_predict_is_load_and_predict(folded, stand_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(FOLDED.model_dump(mode="json")), encoding="utf-8")
    structures = [of_store(3), of_store(300)]
    found = predict(structures, dataset="alpha", property="energy", store=folded, level=0.8)
    expected = strata.load("alpha/energy", store=folded).predict(structures, level=0.8)
    pd.testing.assert_frame_equal(found, expected)
    assert strata.predict is predict


def test_without_params_their_defaults_are_meant(elements, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load(NAME, store=elements)
    assert np.isfinite(model.predict(bulk("Cu"))["value"][0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alpha", "'alpha' is neither DATASET/PROPERTY of this project nor the folder"),
        ("alpha/energy/more", "is neither DATASET/PROPERTY of this project nor the folder"),
        ("", "'' is neither DATASET/PROPERTY of this project nor the folder"),
        ("gone.zip", "gone.zip is not there: name the folder or the .zip of a bundle"),
    ],
)
def test_a_name_of_nothing_is_refused(folded, name, message):
    with pytest.raises(StrataError, match=message):
        load(name, store=folded, params=PARAMS)


def test_unknown_names_come_with_the_nearest(folded):
    with pytest.raises(StrataError, match="did you mean 'alpha'"):
        load("alpa/energy", store=folded, params=PARAMS)
    with pytest.raises(StrataError, match="did you mean 'energy'"):
        load("alpha/enery", store=folded, params=PARAMS)


def test_a_model_is_named_in_one_of_two_ways():
    assert named("alpha/energy", None, None) == named(None, "alpha", "energy") == "alpha/energy"
    for given in ((None, None, None), ("m", "alpha", None), ("m", "alpha", "energy"), (None, "alpha", None)):
        with pytest.raises(StrataError, match="--model DATASET/PROPERTY"):
            named(*given)


def test_near_names_training_entries_with_their_distances(model):
    entry = model.calibration.rows[2]
    number = int(entry.entry_id.rpartition("-")[2])
    found = model.near(of_store(number), 4)
    assert found.columns.tolist() == ["entry_id", "formula", "value", "distance"]
    assert len(found) == 4
    assert found["entry_id"][0] == entry.entry_id
    assert found["value"][0] == entry.value
    assert found["distance"].is_monotonic_increasing
    row = model.predict(of_store(number)).iloc[0]
    assert [row[f"near_{k}"] for k in (1, 2, 3)] == found["entry_id"].tolist()[:3]


def test_near_gives_as_many_as_are_asked_for_and_there(model):
    rows = model.card.rows
    assert rows > KEPT
    assert len(model.near(of_store(3), KEPT + 5)) == KEPT + 5
    assert len(model.near(of_store(3), 10_000)) == rows
    assert model.near(of_store(3), 10_000)["entry_id"].is_unique
    with pytest.raises(StrataError, match="at least one entry is asked for; k is 0"):
        model.near(of_store(3), 0)


def test_one_structure_is_asked_about_at_a_time(model, tmp_path):
    for ask in (model.near, model.explain):
        with pytest.raises(StrataError, match="one structure is asked about at a time, and 2 were given"):
            ask([of_store(1), of_store(2)])
        with pytest.raises(StrataError, match="min_dist"):
            ask(Structure(np.eye(3) * 5, [1, 1], [[0, 0, 0], [0, 0, 0.001]]))
        with pytest.raises(StrataError, match="cannot be read"):
            ask(tmp_path / "gone.cif")
        with pytest.raises(StrataError, match="too_large: ten atoms"):
            ask(bulk("Al", cubic=True) * (3, 1, 1))


def test_a_linear_head_is_explained_exactly(ridge):
    found = ridge.explain(ALLOY)
    value = ridge.predict(ALLOY)["value"][0]
    assert found.method == EXACT
    assert found.value == pytest.approx(value, rel=1e-6)
    assert found.unit == ridge.card.unit
    outside = sum(block.share for block in found.blocks if not block.on_atoms)
    scale = np.abs(found.atoms).sum() + abs(found.value)
    assert found.base + found.atoms.sum() + outside == pytest.approx(found.value, abs=1e-4 * scale)
    assert found.numbers.tolist() == Structure.from_ase(ALLOY).numbers.tolist()
    assert [block.name for block in found.blocks] == [
        f"alignn_mp_eform/{name}" for name in ("atom_8", "bond_8", "angle_4")
    ]


def test_the_base_is_what_is_predicted_for_the_mean_of_training_vectors(ridge):
    (space,) = ridge.calibration.domain.spaces.values()
    (member,) = ridge.members
    (source,) = ridge.sources
    mean = ridge.columns_of(member.blocks, {source: space.mean[None].astype(np.float32)})
    assert ridge.explain(bulk("Cu")).base == pytest.approx(member.head.predict(mean)[0], rel=1e-6)


def test_a_committee_with_a_head_that_is_not_linear_is_explained_approximately(several):
    assert len(several.members) > 1
    found = several.explain(ALLOY)
    assert found.method == APPROXIMATE
    assert found.value == pytest.approx(several.predict(ALLOY)["value"][0], rel=1e-6)
    assert found.base + found.atoms.sum() + found.remainder == pytest.approx(found.value)
    assert "approximation" in str(found)


def test_a_committee_of_linear_heads_is_explained_exactly(ridge):
    """Its weights are the mean of theirs, whatever columns each reads."""
    (member,) = ridge.members
    twice = tuple(type(member)(member.head, member.blocks, weight, "m") for weight in (0.25, 0.75))
    both = LoadedModel(**{**vars(ridge), "members": twice})
    found, alone = both.explain(ALLOY), ridge.explain(ALLOY)
    assert found.method == EXACT
    np.testing.assert_allclose(found.atoms, alone.atoms, rtol=1e-6, atol=1e-9)


def test_atoms_that_are_alike_have_equal_shares(ridge):
    found = ridge.explain(bulk("Cu", cubic=True) * (2, 1, 1))
    np.testing.assert_allclose(found.atoms, found.atoms[0], rtol=1e-3)
    assert len(found.frame()) == 8


def test_members_of_several_networks_are_explained_together(committee, stand_in, monkeypatch):
    """Networks that offer no rows before pooling leave all to the blocks."""
    from tests.models import StandIn
    from zoo import load as module

    class Without(StandIn):
        class backbone:  # noqa: N801 - stands in for an object
            offers_rows = False

    monkeypatch.setattr(module, "make_engine", Without)
    model = load("alpha/energy", store=committee, params=BOTH)
    found = model.explain(of_store(5))
    assert found.value == pytest.approx(model.predict(of_store(5))["value"][0])
    assert found.atoms.tolist() == [0]
    assert {block.name.partition("/")[0] for block in found.blocks} == set(model.sources)
    assert not any(block.on_atoms for block in found.blocks)


def test_classes_and_networks_of_the_targets_own_have_no_shares(model):
    card = type(model.card)(
        **{**{n: getattr(model.card, n) for n in model.card.__slots__}, "classes": ("a", "b")}
    )
    classes = LoadedModel(**{**vars(model), "card": card})
    with pytest.raises(StrataError, match="is of a property of classes, which has no shares of atoms"):
        classes.explain(of_store(1))
    network = LoadedModel(**{**vars(model), "network": object()})
    with pytest.raises(StrataError, match="a network of the target's own, which has no shares"):
        network.explain(of_store(1))
