"""train-source on a small store: what is learned from, and steps that can be resumed."""

import shutil

import pytest
import torch

from core.errors import StrataError
from featurestore import StoreLayout
from featurestore.tables.log import snapshot
from tests.source_training import drawn, params
from tests.stores import flip
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED
from zoo.hub import load_card
from zoo.training.loop import Paused
from zoo.training.source import prepare


@pytest.fixture(autouse=True)
def shelf(tmp_path, monkeypatch):
    """A folder of one's own models, empty."""
    folder = tmp_path / "models"
    monkeypatch.setenv("STRATA_MODELS", str(folder))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("source") / "store")


def test_only_cheap_structures_are_learned_from_and_all_are_scored(store):
    training = prepare(params(), store)
    costs = training.everything.costs[training.everything.graph]
    learned = training.examples.train[:, 0]
    assert 0 < learned.sum() < training.everything.train.sum()
    assert costs[learned].max() <= 60
    assert training.graph == INVARIANT


def test_pauses_and_goes_on(store):
    pauses = 0
    while True:
        try:
            trained = prepare(params(), store).run(seconds=0)
            break
        except Paused:
            pauses += 1
    assert pauses > 1
    again = prepare(params(), store).run()  # finished: nothing is trained
    assert all(torch.equal(again.state[name], tensor) for name, tensor in trained.state.items())


def test_graph_rules_are_chosen_apart_from_the_initial_weights(store):
    training = prepare(params(init="alignn_mp_eform", graph="published", epochs=1), store)
    assert training.graph == PUBLISHED
    assert len(training.run().history) == 1
    same = prepare(params(init="alignn_mp_eform", graph="source"), store)
    assert same.graph == load_card("alignn_mp_eform").graph
    with pytest.raises(StrataError, match=r"source\.init names no model"):
        prepare(params(graph="source"), store)


def test_a_setting_that_matters_is_another_training(store):
    changes = ({}, {"epochs": 3}, {"max_cost": 61}, {"seed": 1})
    keys = {prepare(params(**change), store).key for change in changes}
    assert len(keys) == 4
    assert prepare(params(threads=2, checkpoint_seconds=1.0), store).key == prepare(params(), store).key


def test_what_is_learned_from_is_checked_first(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy")
    flip(snapshot(StoreLayout(copy).splits(params().source.dataset)).paths[0], 100)
    with pytest.raises(StrataError, match=r"splits.*damaged since it was committed"):
        prepare(params(), copy)
