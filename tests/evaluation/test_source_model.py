"""A source model that is done: its card, and when it may replace another."""

import re

import numpy as np
import pytest
import torch

import featurestore
from core.errors import StrataError
from core.params import Extract
from evaluation.source_model import publish_source
from tests.source_training import DATASET, drawn, params
from zoo.backbones.engine import Engine
from zoo.hub import backbone_of, has_seen, load_card, load_source
from zoo.training.source import prepare


@pytest.fixture(autouse=True)
def shelf(tmp_path, monkeypatch):
    """A folder of one's own models, empty."""
    folder = tmp_path / "models"
    monkeypatch.setenv("STRATA_MODELS", str(folder))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("source") / "store")


def test_publishes_a_card_with_the_errors_of_the_published_network(store, shelf):
    training = prepare(params(), store)
    trained = training.run()
    card = publish_source(training, trained, "mine", store)
    assert card == load_card("mine")
    assert has_seen(card, DATASET, "volume")
    assert not has_seen(card, DATASET, "bulk_modulus")
    assert card.target.model_dump() == {"dataset": DATASET, "property": "volume", "unit": "Å³/atom"}
    data = r"ase_elements, \d+ structures of the training part of random:0, of at most 60 compressed angles"
    assert re.search(data, card.training.data)
    assert "before epoch 1 of at most 20" in card.training.data
    (part,) = card.training.structures
    assert (part.dataset, part.property, part.split) == (DATASET, "volume", "random:0")
    assert part.count == training.examples.train.any(axis=1).sum()
    assert part.note == "of at most 60 compressed angles"
    assert {"val_mae", "test_mae", "val_mae_to_20_atoms", "test_mae_1_to_4_atoms"} <= card.metrics.keys()
    assert (shelf / "mine.safetensors").stat().st_size < 20e6
    assert load_source("mine").state["fc.weight"].dtype == torch.float32
    # the figure is that of the published network on the test part
    opened = featurestore.open(store)
    rows = opened.sql(
        "SELECT structure_id, value FROM splits JOIN targets USING (dataset, property, entry_id) "
        "WHERE property = 'volume' AND part = 'test' ORDER BY entry_id"
    ).fetchall()
    engine = Engine(backbone_of(card), load_source("mine").state, Extract(device="cpu", threads=1))
    found = engine(opened.structures([sid for sid, _ in rows])).prediction
    error = np.abs(found - [value for _, value in rows]).mean()
    assert error == pytest.approx(card.metrics["test_mae"], rel=1e-3)


def test_half_is_half_the_size_and_nearly_the_same(store, shelf):
    training = prepare(params(), store)
    trained = training.run()
    publish_source(training, trained, "half", store, half=True)
    assert (shelf / "half.safetensors").stat().st_size < 9e6
    name = "gcn_layers.0.src_gate.weight"
    difference = load_source("half").state[name].float() - trained.state[name]
    assert 0 < difference.abs().max() < 1e-3


def test_publishing_leaves_a_row_in_the_audit_before_the_test_part_is_read(store, monkeypatch):
    training = prepare(params(), store)
    trained = training.run()
    select = "SELECT property, scheme, seed, fold, role, stage, n FROM looks WHERE run_id = ?"
    read_first = []

    def unrecorded(*_args):
        read_first.append(True)
        raise StrataError("the audit cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr("evaluation.source_model.audit.record", unrecorded)
        patch.setattr("evaluation.source_model.publish", lambda *_args: pytest.fail("published unrecorded"))
        with pytest.raises(StrataError, match="audit cannot be written"):
            publish_source(training, trained, "unseen", store)
    assert read_first == [True]
    publish_source(training, trained, "seen", store)
    publish_source(training, trained, "seen", store, force=True)  # the same evaluation: no second row
    counted = training.rows.part[:, 0].tolist().count("test")
    found = featurestore.open(store).sql(select, [training.key]).fetchall()
    assert found == [("volume", "random", 0, 0, "source", "train-source", counted)]


def test_a_name_that_is_taken_is_told_before_the_test_part_is_read(store, monkeypatch):
    training = prepare(params(), store)
    trained = training.run()
    publish_source(training, trained, "mine", store)
    before = load_card("mine").weights_sha256
    other = prepare(params(seed=1), store)
    found = other.run()
    with monkeypatch.context() as patch:
        patch.setattr(
            "evaluation.source_model._test_values", lambda *_args: pytest.fail("read the test part")
        )
        with pytest.raises(StrataError, match=r"mine\.yaml is there already.*--force"):
            publish_source(other, found, "mine", store)
    assert load_card("mine").weights_sha256 == before
    publish_source(other, found, "mine", store, force=True)
    assert load_card("mine").weights_sha256 != before


def test_what_the_initial_model_has_seen_the_new_one_has_seen_too(store):
    training = prepare(params(init="alignn_mp_eform", graph="source", epochs=1), store)
    publish_source(training, training.run(), "further", store)
    card = load_card("further")
    assert has_seen(card, DATASET, "volume")
    assert has_seen(card, "megnet", "formation_energy")
