"""The stage finetune on a store of twelve metals: runs, predictions, models, skipping, the choice."""

import json
import shutil

import numpy as np
import pytest
import torch
from ase.build import bulk

import featurestore
from core.errors import StrataError
from core.params import Evaluate, Finetune, Params
from core.structure import Structure
from etl.ingest import ingest
from evaluation.evaluate import evaluate, notes
from featurestore import SplitKey, StoreLayout, current
from featurestore.splits.schemes import split_dataset
from featurestore.tables.log import snapshot
from tests.stores import flip
from zoo.hub import load_card, load_source
from zoo.predict import predict_structures
from zoo.publish import publish_run
from zoo.stored import stored_model
from zoo.training import workers
from zoo.training.data import read
from zoo.training.finetune import finetune, train_one
from zoo.training.loop import Paused
from zoo.training.run import Ask, key_of, keyed
from zoo.training.trained import TrainedModel

DATASET = "ase_elements"
SOURCE = "alignn_mp_eform"
SECTION = Finetune(
    properties={DATASET: ("volume",)},
    epochs=2,
    batch_size=32,
    device="cpu",
    threads=1,
    label="quick",
    workers=0,
)
PARAMS = Params(datasets=(DATASET,), finetune=SECTION)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with the stage run once, and what it said."""
    root = tmp_path_factory.mktemp("made")
    store = root / "store"
    ingest(DATASET, PARAMS, store)
    split_dataset(store, DATASET, ("random",), (0,))
    shutil.copytree(store, root / "bare")
    torch.set_num_threads(1)
    return root, finetune(DATASET, PARAMS, store, root / "plots")


@pytest.fixture
def store(made, tmp_path):
    """A copy of it."""
    shutil.copytree(made[0] / "store", tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def bare(made, tmp_path):
    """The same before the stage, graphs included."""
    shutil.copytree(made[0] / "bare", tmp_path / "store")
    shutil.copytree(made[0] / "store" / ".graphs", tmp_path / "store" / ".graphs")
    return tmp_path / "store"


def test_runs_predictions_and_models_are_there(made):
    root, done = made
    opened = featurestore.open(root / "store")
    rows = opened.sql(
        "SELECT method, head, feature_set, source_model, n_train, n_val, n_test, label, unit FROM runs"
    )
    assert sorted(rows.fetchall(), key=str) == sorted(
        [
            ("scratch", None, None, None, 57, 7, 7, "quick", "Å³/atom"),
            ("finetune", None, None, SOURCE, 57, 7, 7, "quick", "Å³/atom"),
        ],
        key=str,
    )
    counts = opened.sql("SELECT part, count(*) FROM predictions GROUP BY part ORDER BY part").fetchall()
    assert counts == [("test", 14), ("train", 114), ("val", 14)]
    assert current.read(StoreLayout(root / "store").trained("runs", DATASET)) == {run.run_id for run in done}
    assert not list((root / "store" / ".training").glob("[!.]*"))  # locks stay
    assert len(list((root / "plots" / DATASET).glob("*.csv"))) == 2


def test_recorded_errors_are_those_of_the_predictions(made):
    root, done = made
    opened = featurestore.open(root / "store")
    for run in done:
        ((error,),) = opened.sql(
            "SELECT avg(abs(value - prediction)) FROM predictions JOIN targets "
            "USING (dataset, property, entry_id) WHERE run_id = ? AND part = 'val'",
            [run.run_id],
        ).fetchall()
        assert error == pytest.approx(run.val_mae, rel=1e-9)


def test_a_saved_model_predicts_what_was_recorded(made):
    root, done = made
    opened = featurestore.open(root / "store")
    structures, expected = zip(
        *opened.sql(
            "SELECT structure_id, prediction FROM predictions JOIN entries USING (dataset, entry_id) "
            "WHERE run_id = ? ORDER BY entry_id LIMIT 5",
            [done[1].run_id],
        ).fetchall(),
        strict=True,
    )
    model = TrainedModel.load(StoreLayout(root / "store").trained("models", DATASET) / done[1].run_id)
    assert (model.names, model.units) == (("volume",), ("Å³/atom",))
    found, errors = model(opened.structures(structures))
    assert not errors
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4)


def test_runs_that_exist_are_skipped(store, monkeypatch):
    monkeypatch.setattr(workers, "learn", lambda *_args, **_more: pytest.fail("trained again"))
    done = finetune(DATASET, PARAMS, store)
    assert [run.is_new for run in done] == [False, False]
    more_threads = PARAMS.model_copy(update={"finetune": SECTION.model_copy(update={"threads": 2})})
    assert finetune(DATASET, more_threads, store) == done  # decides nothing


def test_what_another_store_has_is_not_trained(bare, made, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "learn", lambda *_args, **_more: pytest.fail("trained again"))
    done = finetune(DATASET, PARAMS, bare, tmp_path / "plots", [made[0] / "store"])
    assert [(run.run_id, run.val_mae) for run in done] == [(run.run_id, run.val_mae) for run in made[1]]
    assert len(list((tmp_path / "plots" / DATASET).glob("*.csv"))) == 2
    path = StoreLayout(bare).trained("models", DATASET) / done[0].run_id
    assert TrainedModel.load(path).names == ("volume",)


def test_a_changed_setting_is_another_run(store, monkeypatch):
    asked = []

    def no_learn(_store, job, _show, **_more):
        asked.append(job.ask.method)
        raise StrataError("not here")

    monkeypatch.setattr(workers, "learn", no_learn)
    longer = {"epochs": 3}
    for change in (
        longer | {"methods": ("scratch",)},
        longer | {"methods": ("finetune",)},
        {"freeze": "head"},
    ):
        params = PARAMS.model_copy(update={"finetune": SECTION.model_copy(update=change)})
        with pytest.raises(StrataError, match="not here"):
            finetune(DATASET, params, store)
    assert asked == ["scratch", "finetune", "finetune"]  # nothing is frozen that begins at random


def test_several_source_models_are_fine_tuned_each_from_its_own_graphs(store, monkeypatch):
    asked = []

    def no_learn(_store, job, _show, **_more):
        asked.append((job.ask.method, job.ask.source, job.ask.graph_of))
        raise StrataError("not here")

    monkeypatch.setattr(workers, "learn", no_learn)
    if not load_card("alignn_ff").is_here:
        pytest.skip("the weights of alignn_ff are not on this machine: strata zoo fetch alignn_ff")
    change = {"source_models": (SOURCE, "alignn_ff"), "epochs": 3}
    for method in ("scratch", "finetune"):
        params = SECTION.model_copy(update=change | {"methods": (method,)})
        with pytest.raises(StrataError, match="not here"):
            finetune(DATASET, PARAMS.model_copy(update={"finetune": params}), store)
    params = SECTION.model_copy(update=change | {"source_models": ("alignn_ff",), "methods": ("finetune",)})
    with pytest.raises(StrataError, match="not here"):
        finetune(DATASET, PARAMS.model_copy(update={"finetune": params}), store)
    assert asked == [
        ("scratch", None, SOURCE),
        ("finetune", SOURCE, SOURCE),
        ("finetune", "alignn_ff", "alignn_ff"),
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("alignn_mp_efrom", "did you mean 'alignn_mp_eform'"),
        ("chgnet", "is a chgnet, and networks are trained"),
    ],
)
def test_a_source_model_that_cannot_be_trained_on_is_refused(bare, source, message):
    change = {"source_models": (source,), "methods": ("finetune",)}
    params = PARAMS.model_copy(update={"finetune": SECTION.model_copy(update=change)})
    with pytest.raises(StrataError, match=message):
        finetune(DATASET, params, bare)


def test_settings_that_came_later_leave_the_ids_of_other_trainings_as_they_were():
    assert "moving_average" not in keyed(SECTION)
    assert keyed(SECTION) == keyed(SECTION.model_copy(update={"layer_decay": 0.5, "source_models": ("a",)}))
    assert keyed(SECTION.model_copy(update={"moving_average": 0.99}))["moving_average"] == 0.99


def test_a_layer_decay_is_another_fine_tuning_and_no_other_training_from_scratch(store):
    opened = featurestore.open(store)
    slower = SECTION.model_copy(update={"layer_decay": 0.8})

    def key(source, settings):
        return key_of(opened, Ask(DATASET, ("volume",), SplitKey.of("random:0"), source, SOURCE, settings))

    assert key(None, SECTION) == key(None, slower)
    assert key(SOURCE, SECTION) != key(SOURCE, slower)
    assert {key(None, SECTION), key(SOURCE, SECTION)} == current.read(
        StoreLayout(store).trained("runs", DATASET)
    )


def test_off_leaves_empty_tables(bare, tmp_path):
    off = PARAMS.model_copy(update={"finetune": Finetune()})
    assert finetune(DATASET, off, bare, tmp_path / "plots") == []
    assert (bare / "finetune" / DATASET / "current.json").read_text() == "[]\n"
    (curve,) = (tmp_path / "plots" / DATASET).iterdir()  # DVC warns of an empty folder
    assert curve.read_text() == "epoch,learning_rate,train,val\n"


def test_test_targets_do_not_matter(bare, made, monkeypatch):
    values = read(featurestore.open(bare), DATASET, ["volume"], "random:0")
    assert np.isnan(values.values[values.part == "test"]).all()
    assert not np.isnan(values.values[values.part != "test"]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"properties": {DATASET: ("volum",)}}, "did you mean 'volume'"),
        ({"learning_rate": 1e30}, f"scratch {DATASET}/volume random-0-0: training diverged"),
    ],
)
def test_errors_name_the_training(bare, change, message):
    params = PARAMS.model_copy(update={"finetune": SECTION.model_copy(update=change)})
    with pytest.raises(StrataError, match=message):
        finetune(DATASET, params, bare)


def test_train_by_hand_pauses_goes_on_and_joins_the_others(store):
    settings = SECTION.model_copy(update={"freeze": "all_but_last", "epochs": 1})
    ask = Ask(DATASET, ("volume", "bulk_modulus"), SplitKey.of("random:0"), SOURCE, SOURCE, settings)
    before = current.read(StoreLayout(store).trained("runs", DATASET))
    with pytest.raises(Paused):
        train_one(ask, store, seconds=0)
    assert current.read(StoreLayout(store).trained("runs", DATASET)) == before
    done = train_one(ask, store)
    assert [run.property for run in done] == ["volume", "bulk_modulus"]
    assert current.read(StoreLayout(store).trained("runs", DATASET)) == before | {run.run_id for run in done}
    paths = (
        featurestore.open(store)
        .sql("SELECT DISTINCT model_path FROM runs WHERE property = 'bulk_modulus'")
        .fetchall()
    )
    assert len(paths) == 1


def test_a_network_trained_by_hand_stays_until_its_data_change(store, tmp_path):
    settings = SECTION.model_copy(update={"epochs": 1})
    ask = Ask(DATASET, ("bulk_modulus",), SplitKey.of("random:0"), None, SOURCE, settings)
    (mine,) = train_one(ask, store)
    table = StoreLayout(store).trained("runs", DATASET)
    finetune(DATASET, PARAMS, store)  # the stage does not ask for it
    assert mine.run_id in current.read(table)
    params = PARAMS.model_copy(update={"evaluate": Evaluate(bootstrap=0)})
    assert mine.run_id in {s.run_id for s in evaluate(params, store, tmp_path)}
    assert not any("by hand" in line for line in notes(params, store))
    split_dataset(store, DATASET, ("random",), (1,))  # the split that it learned by is gone
    finetune(DATASET, PARAMS.model_copy(update={"finetune": Finetune()}), store)
    assert current.read(table) == set()
    split_dataset(store, DATASET, ("random",), (0,))
    finetune(DATASET, PARAMS, store)
    assert mine.run_id in current.read(table)  # and back
    current.write(table, current.read(table) - {mine.run_id})
    (said,) = [line for line in notes(params, store) if "by hand" in line]
    assert (
        f"{DATASET}/bulk_modulus, random-0-0: a network trained by hand (run {mine.run_id}) is left out"
        in said
    )


def test_an_entry_held_back_for_one_property_is_held_back_for_all(bare):
    rows = read(
        featurestore.open(bare), DATASET, ["volume", "bulk_modulus_measured"], SplitKey("random", 0, 0)
    )
    held_back = (rows.part == "test") | (rows.part == "val")
    assert held_back.any(axis=1).sum() > max(held_back.sum(axis=0))  # drawn for each property
    assert not (rows.train & held_back.any(axis=1, keepdims=True)).any()


def test_the_chosen_network_is_scored_beside_scratch_and_predicts_files(store, tmp_path):
    scored = evaluate(PARAMS.model_copy(update={"evaluate": Evaluate(bootstrap=0)}), store, tmp_path)
    assert {(s.role, s.head) for s in scored} == {("chosen", "finetune"), ("scratch", "scratch")}
    copper = bulk("Cu")
    copper.write(tmp_path / "Cu.cif")
    model = stored_model(featurestore.open(store), DATASET, "volume", PARAMS)
    assert (model.card.method, model.card.unit) == ("finetune", "Å³/atom")
    (found,) = predict_structures(model, tmp_path / "Cu.cif").to_dict("records")
    assert found["error"] == ""
    network = TrainedModel.load(store / "finetune" / DATASET / "models" / model.card.run_id)
    expected, _ = network([Structure.from_ase(copper)])
    assert found["value"] == pytest.approx(expected[0, 0], rel=1e-3)
    assert found["low"] < found["high"]  # around the value less the error that two epochs leave


def test_published_network_is_a_source_model(made, tmp_path, monkeypatch):
    root, done = made
    monkeypatch.setenv("STRATA_MODELS", str(tmp_path / "models"))
    path = publish_run(root / "store", done[0].run_id, "mine")
    assert path == tmp_path / "models" / "mine.yaml"
    assert path.read_text(encoding="utf-8").startswith("name: mine\n")
    card = load_card("mine")
    assert card.target.model_dump() == {"dataset": DATASET, "property": "volume", "unit": "Å³/atom"}
    assert card.metrics == {"val_mae": pytest.approx(done[0].val_mae, abs=1e-5)}
    model = TrainedModel.load(StoreLayout(root / "store").trained("models", DATASET) / done[0].run_id)
    assert all(torch.equal(load_source("mine").state[k], t) for k, t in model.state.items())


def test_settings_are_recorded(made):
    root, _ = made
    ((text,),) = (
        featurestore.open(root / "store")
        .sql("SELECT settings FROM runs WHERE method = 'finetune'")
        .fetchall()
    )
    settings = json.loads(text)
    assert settings["epochs"] == settings["epochs_run"] == 2
    assert settings["freeze"] == "none"


def test_what_is_learned_from_is_checked_first(made, tmp_path):
    store = shutil.copytree(made[0] / "bare", tmp_path / "store")
    flip(snapshot(StoreLayout(store).targets(DATASET)).paths[0], 100)
    with pytest.raises(StrataError, match=r"targets.*damaged since it was committed"):
        finetune(DATASET, PARAMS, store)
