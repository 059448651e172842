"""Publishing into one's own folder: what may be replaced, and what a card says."""

import pytest
import torch
import yaml

from core.errors import StrataError
from tests.training import network
from zoo import hub
from zoo import publish as publishing
from zoo.backbones.alignn.graph import INVARIANT
from zoo.hub import LearnedFrom, Target, Training, list_models, load_card, load_source
from zoo.publish import check_free, publish

TARGETS = (Target(dataset="alpha", property="gap", unit="eV"),)
FACTS = {
    "title": "gap of alpha",
    "training": Training(data="alpha", settings="quick", attribution="nobody"),
    "licence": "none",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A project's folder without models."""
    monkeypatch.delenv("STRATA_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(name: str, seed: int = 0, **more):
    return publish(name, network(seed=seed).state_dict(), TARGETS, INVARIANT, FACTS, **more)


def test_card_and_weights_lie_beside_params_yaml_and_are_found(here):
    card = make("mine")
    assert sorted(path.name for path in (here / "models").iterdir()) == ["mine.safetensors", "mine.yaml"]
    assert load_card("mine") == card
    assert "mine" in list_models()
    expected = network().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load_source("mine").state.items())
    assert not (hub.MODELS / "mine.yaml").exists()


def test_a_model_has_seen_what_its_source_model_saw():
    own = LearnedFrom(dataset="alpha", property="gap", split="random:0", count=80)
    training = FACTS["training"].model_copy(update={"structures": (own,)})
    state = network().state_dict()
    facts = FACTS | {"training": training}
    card = publish("mine", state, TARGETS, INVARIANT, facts, source="alignn_mp_eform")
    (before,) = load_card("alignn_mp_eform").training.structures
    assert card.training.structures == (own, before)
    assert load_card("mine").training == card.training
    assert {label.dataset for label in card.seen_labels} == {"alpha", "megnet"}


def test_the_folder_may_be_named(here, monkeypatch):
    monkeypatch.setenv("STRATA_MODELS", str(here / "elsewhere"))
    make("mine")
    assert (here / "elsewhere" / "mine.yaml").is_file()


def test_a_built_in_model_is_never_replaced(here):
    with pytest.raises(StrataError, match="alignn_mp_eform is a built-in source model"):
        make("alignn_mp_eform", force=True)
    assert not (here / "models").exists()


def test_one_of_ones_own_is_replaced_only_by_force():
    first = make("mine")
    with pytest.raises(StrataError, match=r"is there already.*--force"):
        make("mine", seed=1)
    assert load_card("mine") == first
    second = make("mine", seed=1, force=True)
    assert load_source("mine").card == second
    assert second.weights_sha256 != first.weights_sha256


@pytest.mark.parametrize("ending", ["safetensors", "yaml"])
def test_a_model_that_is_being_replaced_is_the_old_one_until_it_is_the_new_one(here, monkeypatch, ending):
    """Killed before or after the weights are written, the card still names weights that are there."""
    first = make("mine")
    real = publishing.write_whole

    def stopped(path, content):
        if path.suffix == f".{ending}":
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(publishing, "write_whole", stopped)
    with pytest.raises(KeyboardInterrupt):
        make("mine", seed=1, force=True)
    assert load_source("mine").card == first
    monkeypatch.undo()
    monkeypatch.chdir(here)
    second = make("mine", seed=1, force=True)
    assert load_source("mine").card == second


def test_weights_that_were_replaced_before_the_last_ones_are_removed(here):
    other = make("mine.0123456789abcdef", seed=9)
    cards = [make("mine", seed=seed, force=True) for seed in (0, 1, 2, 2)]
    assert load_source("mine").card == cards[-1] == cards[-2]
    names = {path.name for path in (here / "models").glob("*.safetensors")}
    assert names == {cards[1].weights, cards[2].weights, other.weights}
    assert load_source(other.name).card == other


def test_a_name_is_checked():
    check_free("mine")
    with pytest.raises(StrataError, match="not a valid name"):
        check_free("../mine", force=True)


def test_a_card_says_all_that_a_default_could_change(here):
    make("mine")
    written = yaml.safe_load((here / "models" / "mine.yaml").read_text(encoding="utf-8"))
    card = load_card("mine")
    for name in ("architecture", "graph"):
        assert written[name].keys() == getattr(card, name).model_dump(mode="json").keys()


def test_a_folder_that_cannot_be_written_is_told(here):
    (here / "models").write_text("a file")
    with pytest.raises(StrataError, match=r"models cannot be written.*STRATA_MODELS"):
        make("mine")
