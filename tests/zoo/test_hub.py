"""Source models: cards that say what is true, and weights that are checked before they are used."""

import hashlib
from importlib import metadata
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from pydantic import ValidationError

from core.errors import StrataError
from etl.cards import list_cards
from zoo import hub
from zoo.backbones.registry import find
from zoo.hub import (
    SourceCard,
    has_seen,
    list_models,
    load_card,
    load_source,
    read_weights,
    summary,
    weights_hash,
)

NAME = "alignn_mp_eform"


@pytest.mark.parametrize("name", list_models())
def test_card_file_and_registry_agree(name):
    card = load_card(name)
    assert card.name == name
    elsewhere = card.is_fetched or card.installed is not None  # test_fetch.py, test_wheels.py, backbones/
    if elsewhere or not find(card.backbone).has_weights:
        assert card.weights is None
        return
    weights = hub.WEIGHTS / card.weights
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == card.file_sha256
    assert weights_hash(load_source(name).state) == card.weights_sha256
    assert (
        yaml.safe_load((hub.MODELS / f"{name}.yaml").read_text(encoding="utf-8"))["licence"] == card.licence
    )


@pytest.mark.parametrize("name", list_models())
def test_labels_that_a_card_says_were_seen_are_properties_of_datasets(name):
    datasets = {card.name: set(card.properties) for card in list_cards()}
    card = load_card(name)
    for label in card.seen_labels:
        assert label.property in datasets[label.dataset]
    for part in card.training.structures if card.training else ():
        assert part.property is None or part.property in datasets[part.dataset]
        assert part.dataset in datasets
    for target in card.targets:
        assert has_seen(card, target.dataset, target.property)


@pytest.mark.parametrize(
    ("name", "dataset", "prop", "seen"),
    [
        ("alignn_mp_eform", "megnet", "formation_energy", True),
        ("alignn_mp_eform", "megnet", "band_gap", False),
        ("alignn_mp_eform", "jarvis_3d", "formation_energy", False),
        ("alignn_ff", "jarvis_3d", "energy_above_hull", True),
        ("alignn_ff", "jarvis_2d", "formation_energy", True),
        ("alignn_ff", "jarvis_3d", "band_gap_mbj", False),
        ("alignn_ff", "megnet", "formation_energy", False),
    ],
)
def test_what_a_source_model_has_seen(name, dataset, prop, seen):
    assert has_seen(load_card(name), dataset, prop) is seen


def test_a_split_of_no_property_is_refused():
    with pytest.raises(ValidationError, match="name property and split together"):
        hub.LearnedFrom(dataset="megnet", split="published:0")


def test_a_pattern_of_seen_labels_stands_for_many():
    card = load_card(NAME)
    card = card.model_copy(update={"seen_labels": (hub.Label(dataset="jarvis_*", property="*energy*"),)})
    assert has_seen(card, "jarvis_2d", "exfoliation_energy")
    assert not has_seen(card, "jarvis_2d", "spillage")
    assert has_seen(card, "megnet", "formation_energy")  # its own target


def test_every_file_of_weights_has_a_card():
    named = {load_card(name).weights for name in list_models()} - {None}
    assert {path.name for path in hub.WEIGHTS.iterdir() if path.suffix == ".safetensors"} == named
    assert NAME in list_models()


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(hub, "MODELS", tmp_path)
    return tmp_path


def put_card(shelf: Path, **changes) -> None:
    card = summary(load_card_of_the_project()) | changes
    (shelf / f"{NAME}.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")


def load_card_of_the_project() -> SourceCard:
    text = (hub.ZOO / "models" / f"{NAME}.yaml").read_text(encoding="utf-8")
    return SourceCard.model_validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file_sha256": "abc"}, r"alignn_mp_eform.yaml, file_sha256"),
        ({"licence": None}, r"alignn_mp_eform.yaml, licence"),
        ({"colour": "blue"}, r"alignn_mp_eform.yaml, colour"),
        ({"graph": {"cutof": 8}}, r"alignn_mp_eform.yaml, graph.cutof"),
        ({"architecture": {"hidden_features": 128}}, r"alignn_mp_eform.yaml, architecture.hidden_features"),
        ({"name": "other"}, r"the card is named 'other'"),
    ],
)
def test_a_card_that_breaks_the_schema(shelf, changes, message):
    put_card(shelf, **changes)
    with pytest.raises(StrataError, match=message):
        load_card(NAME)


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(
        StrataError, match=r"unknown source model 'alignn_mp_eforms'; did you mean 'alignn_mp_eform'"
    ):
        load_card("alignn_mp_eforms")


@pytest.mark.parametrize("text", ["a: [1", "just words", ""])
def test_a_card_that_is_no_mapping(shelf, text):
    (shelf / f"{NAME}.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(StrataError, match=r"alignn_mp_eform.yaml"):
        load_card(NAME)


@pytest.mark.parametrize("name", ["../alignn", "a/b", "", "x" * 300, "a\0b"])
def test_a_name_that_is_a_path(name):
    with pytest.raises(StrataError, match="not a valid name"):
        load_card(name)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return dict(load_source(NAME).state)


def saved(folder: Path, state: dict[str, torch.Tensor]) -> tuple[Path, SourceCard]:
    """Write weights, and a card that is right about the file and its tensors."""
    path = folder / "weights.safetensors"
    safetensors.torch.save_file(state, path)
    hashes = {
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "weights_sha256": weights_hash(state),
    }
    return path, load_card(NAME).model_copy(update=hashes)


def test_weights_are_read_back(tmp_path, state):
    path, card = saved(tmp_path, state)
    found = read_weights(path, card)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_flipped_byte_names_both_hashes(tmp_path, state):
    path, card = saved(tmp_path, state)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StrataError) as caught:
        read_weights(path, card)
    assert card.file_sha256 in str(caught.value)
    assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"\xff" * 64])
def test_a_file_that_is_no_safetensors(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    card = load_card(NAME).model_copy(update={"file_sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(StrataError, match="not a safetensors file"):
        read_weights(path, card)


def test_a_missing_file(tmp_path):
    with pytest.raises(StrataError, match=r"gone.safetensors cannot be read \(No such file"):
        read_weights(tmp_path / "gone.safetensors", load_card(NAME))


def test_other_tensors_than_the_card_says(tmp_path, state):
    path, card = saved(tmp_path, state)
    card = card.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(
        StrataError, match=rf"its tensors hash to {weights_hash(state)}, the card says 0{{64}}"
    ):
        read_weights(path, card)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("fc.weight", torch.full((1, 256), torch.nan), "tensor fc.weight holds NaN"),
        ("fc.weight", torch.zeros(2, 256), r"tensor fc.weight has shape \(2, 256\), expected \(1, 256\)"),
        ("fc.extra", torch.zeros(1), r"1 unexpected \(fc.extra"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, state, name, value, message):
    path, card = saved(tmp_path, state | {name: value})
    with pytest.raises(StrataError, match=message):
        read_weights(path, card)


def test_hash_of_weights_does_not_depend_on_the_file(tmp_path, state):
    path, _ = saved(tmp_path, dict(reversed(state.items())))
    again = safetensors.torch.load_file(path)
    torch.save(state, tmp_path / "weights.pt")
    pickled = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert (
        weights_hash(state) == weights_hash(again) == weights_hash(pickled) == load_card(NAME).weights_sha256
    )


@pytest.mark.parametrize("change", [lambda t: t + 1e-6, lambda t: t.reshape(256, 1)], ids=["value", "shape"])
def test_hash_of_weights_sees_every_change(state, change):
    assert weights_hash(state | {"fc.weight": change(state["fc.weight"])}) != weights_hash(state)


def test_hash_of_weights_sees_a_name(state):
    renamed = {name.replace("fc.bias", "fc.bia"): tensor for name, tensor in state.items()}
    assert weights_hash(renamed) != weights_hash(state)


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """The folder of one's own models."""
    monkeypatch.setenv(hub.MODELS_VARIABLE, str(tmp_path))
    return tmp_path


def test_a_card_of_ones_own_is_found_first_with_weights_beside_it(own, state):
    path, right = saved(own, state | {"fc.bias": state["fc.bias"] + 1})
    card = summary(right) | {"weights": path.name}
    (own / f"{NAME}.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    (own / "mine.yaml").write_text(yaml.safe_dump(card | {"name": "mine"}), encoding="utf-8")
    assert {"mine", NAME} <= set(list_models())
    for name in ("mine", NAME):
        assert torch.equal(load_source(name).state["fc.bias"], state["fc.bias"] + 1)


def test_weights_of_ones_own_stay_in_their_folder(own):
    card = summary(load_card(NAME)) | {"name": "mine", "weights": "../weights.safetensors"}
    (own / "mine.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    with pytest.raises(StrataError, match="not a valid name"):
        load_source("mine")


def put_installed(own: Path, **changes) -> None:
    """Write a card whose weights an installed package carries; here a file of pytest's own."""
    distribution = metadata.distribution("pytest")
    file = next(str(path) for path in distribution.files if path.name == "py.typed")
    installed = {"distribution": "pytest", "version": distribution.version, "file": file, "extra": "dev"}
    installed["sha256"] = hashlib.sha256(Path(distribution.locate_file(file)).read_bytes()).hexdigest()
    card = summary(load_card(NAME)) | {"name": "carried", "weights": None, "file_sha256": ""}
    text = yaml.safe_dump(card | {"installed": installed | changes})
    (own / "carried.yaml").write_text(text, encoding="utf-8")


def test_an_installed_file_is_found_and_checked(own):
    put_installed(own)
    path = hub.installed_path(load_card("carried").installed)
    assert path.name == "py.typed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distribution": "no-such-package"}, r"no-such-package.* is not installed; .*\[dev\]"),
        ({"version": "0.0.1"}, r"pytest .* is installed; the card's weights are those of 0.0.1"),
        ({"sha256": "0" * 64}, r"py.typed: its SHA-256 is [0-9a-f]{64}, the card says 0{64}"),
        ({"file": "pytest/gone.pt"}, r"gone.pt cannot be read .*; install the package again"),
    ],
)
def test_an_installed_file_that_is_another_is_refused(own, changes, message):
    put_installed(own, **changes)
    with pytest.raises(StrataError, match=message):
        load_source("carried")


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": None},
        {"file_sha256": ""},
        {"published": {"file": "x.zip", "url": "https://example.org/x.zip"}},
    ],
    ids=["none", "no hash", "two"],
)
def test_weights_come_from_one_place(shelf, changes):
    put_card(shelf, **changes)
    with pytest.raises(StrataError, match="a card names either weights with file_sha256"):
        load_card(NAME)


def test_an_unknown_backbone_is_named(shelf):
    put_card(shelf, backbone="alinn")
    with pytest.raises(StrataError, match=r"unknown backbone 'alinn'; did you mean 'alignn'"):
        load_card(NAME)
