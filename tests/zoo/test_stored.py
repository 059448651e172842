"""Models out of a store: heads, committees, columns of one's own, classes, networks of the target's own."""

import json
import shutil

import numpy as np
import pytest
import torch

import featurestore
from core.checksums import write_checksums
from core.errors import StrataError
from core.params import Evaluate, Finetune, Params
from etl.ingest import ingest
from evaluation.evaluate import evaluate
from featurestore.splits.schemes import split_dataset
from heads.committee import METHOD, members_of
from heads.domain import VERDICTS
from tests.models import BOTH, ELEMENTS, FOLDED, MODULUS, PARAMS, REAL, of_store
from tests.stores import OTHER, SOURCE, structure_id, vectors_of
from zoo.chosen import chosen_model, models_where
from zoo.model import NETWORK, Asked, Model
from zoo.predict import predict_structures
from zoo.stored import model_of, stored_model
from zoo.training.finetune import finetune
from zoo.training.trained import TrainedModel

READS = (f"{SOURCE}/atom_bond_angle_last", f"{OTHER}/all")


def parts_of(root, dataset="alpha", name="energy"):
    """Return the entries of each part of the first repetition."""
    query = "SELECT part, entry_id FROM splits WHERE dataset = ? AND property = ? AND seed = 0"
    found: dict[str, set[str]] = {}
    for part, entry in featurestore.open(root).sql(query, [dataset, name]).fetchall():
        found.setdefault(part, set()).add(entry)
    return found


def first_committee(root):
    store = featurestore.open(root)
    return store, models_where(store, "method = ? AND seed = 0", [METHOD])[0]


def test_a_head_predicts_what_the_run_kept(folded, stand_in):
    store = featurestore.open(folded)
    model = stored_model(store, "alpha", "energy", FOLDED)
    rows = store.sql(
        "SELECT entry_id, prediction FROM predictions WHERE run_id = ? AND part = 'test' ORDER BY entry_id",
        [model.card.run_id],
    ).fetchall()
    numbers = [int(entry.rpartition("-")[2]) for entry, _ in rows]
    found = predict_structures(model, [of_store(number) for number in numbers])
    np.testing.assert_allclose(found["value"], [said for _, said in rows], rtol=1e-5)


def test_the_card_says_what_the_store_knows(folded, stand_in):
    store = featurestore.open(folded)
    card = stored_model(store, "alpha", "energy", FOLDED).card
    chosen = chosen_model(store, "alpha", "energy")
    assert (card.name, card.unit, card.head) == ("alpha/energy", "eV", "ridge")
    assert (card.reads, card.split, card.method) == (
        f"{SOURCE}/atom_bond_angle_last",
        "random-0-0",
        "features",
    )
    assert (card.run_id, card.sha256, card.test_mae) == (chosen.run_id, chosen.sha256, chosen.test_mae)
    assert len(card.sha256) == 64


def test_fitted_to_all_it_learned_from_train_and_validation(folded, stand_in):
    parts = parts_of(folded)
    model = stored_model(featurestore.open(folded), "alpha", "energy", FOLDED)
    assert {row.entry_id for row in model.calibration.rows} == parts["train"] | parts["val"]
    assert model.card.rows == len(parts["train"]) + len(parts["val"])


def test_fitted_to_the_training_part_it_learned_from_that_alone(fitted, stand_in):
    parts = parts_of(fitted)
    model = stored_model(featurestore.open(fitted), "alpha", "energy", PARAMS)
    assert {row.entry_id for row in model.calibration.rows} == parts["train"]
    assert model.card.rows == len(parts["train"])
    assert sum(seen.rows for seen in model.calibration.seen.values()) == len(parts["val"])


def test_a_committee_is_the_weighted_mean_of_its_members(committee, stand_in):
    store, chosen = first_committee(committee)
    model = model_of(store, chosen, BOTH)
    structures = [of_store(number) for number in (3, 7, 41)]
    found = predict_structures(model, structures)
    members = members_of(chosen.folder)
    assert len(members) > 1
    each = []
    for member in members:
        (run,) = models_where(store, "run_id = ?", [member.run_id])
        each.append(member.weight * predict_structures(model_of(store, run, BOTH), structures)["value"])
    np.testing.assert_allclose(found["value"], np.sum(each, axis=0))
    names = {name for name, _ in model.facts()["members"]}
    assert len(names) == len(members)
    assert names <= {f"{head} on {reads}" for head in ("ridge", "svr") for reads in READS}


def test_members_lie_apart_where_they_disagree(committee, stand_in):
    store, chosen = first_committee(committee)
    model = model_of(store, chosen, BOTH)
    vectors = {
        name: np.stack(
            [np.concatenate([vectors_of(n, source=name)[c.name] for c in reads.checkpoints]) for n in (3, 4)]
        )
        for name, reads in model.sources.items()
    }
    values, spread = model.values(vectors)
    each = np.array(
        [member.head.predict(model.columns_of(member.blocks, vectors)) for member in model.members]
    )
    weights = np.array([[member.weight] for member in model.members])
    weights = weights / weights.sum()
    np.testing.assert_allclose(values, (weights * each).sum(axis=0))
    np.testing.assert_allclose(spread, np.sqrt((weights * (each - values) ** 2).sum(axis=0)))
    assert (spread > 0).all()


def test_a_committee_whose_member_is_gone_says_which(committee, tmp_path, stand_in):
    root = shutil.copytree(committee, tmp_path / "store")
    store, chosen = first_committee(root)
    path = chosen.folder / "committee.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["members"][0]["run_id"] = "f" * 64
    path.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(StrataError, match=r"run f+, a member of the committee of alpha/energy, is not"):
        model_of(store, chosen, BOTH)
    told["members"][0]["run_id"] = chosen.run_id
    path.write_text(json.dumps(told), encoding="utf-8")
    write_checksums(chosen.folder)
    with pytest.raises(StrataError, match=r"names a committee as its own member|SHA256SUMS"):
        model_of(store, chosen, BOTH)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(StrataError, match="does not name the members of a committee"):
        model_of(store, chosen, BOTH)


def test_a_committee_weighed_by_the_validation_part_is_calibrated_by_it(tmp_path, stand_in):
    from heads.fit import fit
    from tests.models import settings
    from tests.stores import small_store

    params = settings(heads=["ridge", "svr"], choose_by="validation", refit=False, committee="mean")
    root = small_store(tmp_path / "store")
    fit("alpha", params, root)
    store, chosen = first_committee(root)
    model, parts = model_of(store, chosen, params), parts_of(root)
    assert {row.entry_id for row in model.calibration.rows} == parts["train"]
    assert len(model.calibration.intervals.residuals) == len(parts["val"])


def test_vectors_of_another_extraction_are_refused(elements):
    store = featurestore.open(elements)
    changed = REAL.model_copy(update={"extract": REAL.extract.model_copy(update={"precision": "tf32"})})
    with pytest.raises(
        StrataError,
        match=r"of ase_elements/bulk_modulus learned from extraction \w{16}; alignn_mp_eform with",
    ):
        stored_model(store, ELEMENTS, MODULUS, changed)


def test_vectors_of_a_source_model_without_a_card_are_refused(folded):
    with pytest.raises(StrataError, match=SOURCE):
        stored_model(featurestore.open(folded), "alpha", "energy", FOLDED)


def test_a_property_without_a_run_is_named(folded, stand_in):
    with pytest.raises(StrataError, match="no head was chosen for alpha/gap"):
        stored_model(featurestore.open(folded), "alpha", "gap", FOLDED)


TRAINING = Finetune(
    properties={ELEMENTS: ("volume",)},
    methods=("scratch",),
    epochs=2,
    batch_size=32,
    device="cpu",
    threads=1,
    workers=0,
)
OWN = Params(datasets=(ELEMENTS,), finetune=TRAINING, evaluate=Evaluate(bootstrap=0))


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Model:
    """A network of the target's own, out of its store."""
    root = tmp_path_factory.mktemp("network") / "store"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ingest(ELEMENTS, OWN, root)
    split_dataset(root, ELEMENTS, ["random"], [0])
    (done, *_) = finetune(ELEMENTS, OWN, root)
    evaluate(OWN, root, root.parent)
    store = featurestore.open(root)
    (run,) = models_where(store, "run_id = ?", [done.run_id])
    yield root, model_of(store, run, OWN)
    torch.set_num_threads(threads)


def test_a_network_of_the_targets_own_has_all_that_a_head_has(network):
    root, model = network
    parts = parts_of(root, ELEMENTS, "volume")
    assert list(model.sources) == [NETWORK]
    assert model.card.reads == ""
    assert "a network of its own" in repr(model)
    assert {row.entry_id for row in model.calibration.rows} == parts["train"]
    entry = model.calibration.rows[0]
    (structure,) = featurestore.open(root).structures([entry.structure_id])
    (row,) = predict_structures(model, structure).to_dict("records")
    expected, _ = model.network([structure])
    assert row["value"] == pytest.approx(expected[0, 0], rel=1e-4)
    residuals = model.calibration.intervals.residuals
    assert row["low"] == pytest.approx(row["value"] + residuals.min())
    assert row["high"] == pytest.approx(row["value"] + residuals.max())
    assert row["level"] == pytest.approx(1 - 2 / (len(parts["val"]) + 1))
    assert row["domain"] in VERDICTS
    assert entry.entry_id in row["in_training"].split(", ")
    assert row["near_1_distance"] == pytest.approx(0, abs=0.02)


def test_vectors_of_many_structures_are_made_in_pieces(network, monkeypatch):
    root, model = network
    store = featurestore.open(root)
    (run,) = models_where(store, "run_id = ?", [model.card.run_id])
    seen = []
    described = TrainedModel.described
    monkeypatch.setattr(
        TrainedModel,
        "described",
        lambda self, structures: seen.append(len(structures)) or described(self, structures),
    )
    monkeypatch.setattr("zoo.stored._AT_ONCE", 20)
    again = model_of(store, run, OWN)
    assert max(seen) == 20
    np.testing.assert_allclose(
        again.calibration.domain.own.distance, model.calibration.domain.own.distance, rtol=1e-3
    )


def test_asked_of_nothing_a_frame_has_its_columns(folded, stand_in):
    model = stored_model(featurestore.open(folded), "alpha", "energy", FOLDED)
    width = sum(len(v) for v in vectors_of(0).values())
    empty = model.frame(Asked((), (), (), ()), {SOURCE: np.empty((0, width), np.float32)})
    full = predict_structures(model, of_store(1))
    assert [name for name in full.columns if name not in ("file", "error")] == empty.columns.tolist()
    assert empty.dtypes.to_dict() == full[empty.columns].dtypes.to_dict()


def test_training_rows_know_their_structures(folded, stand_in):
    model = stored_model(featurestore.open(folded), "alpha", "energy", FOLDED)
    for row in model.calibration.rows:
        number = int(row.entry_id.rpartition("-")[2])
        assert row.structure_id == structure_id(number)
        assert row.formula == "Si"
        assert row.value == pytest.approx(float(vectors_of(number)["atom_8"].sum()), rel=1e-5)
