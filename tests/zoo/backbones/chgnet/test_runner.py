"""The file of weights: found by its hash, read without running anything, refused where it is another's."""

import copy
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from core.errors import StrataError
from zoo.backbones.chgnet.runner import ChgnetRunner
from zoo.fetch import verify
from zoo.hub import load_card, load_source, load_state, weights_hash

CARD = load_card("chgnet")


def random_state() -> dict[str, torch.Tensor]:
    return {name: torch.rand(shape) for name, shape in CARD.architecture.shapes().items()}


def saved(path: Path, state: object, **arguments: object) -> Path:
    torch.save({"model": {"state_dict": state, "model_args": arguments}, "optimizer": {}}, path)
    return path


def test_the_weights_are_those_of_the_card(engine):
    source = load_source("chgnet")
    assert weights_hash(source.state) == CARD.weights_sha256 == verify("chgnet")
    ChgnetRunner.check_state(source.state, CARD.architecture, "the package")
    assert engine.backbone.architecture == CARD.architecture


@pytest.mark.skipif(find_spec("chgnet") is None, reason="the package chgnet is not installed")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, r"chgnet_0.3.0_e29f68s314m37.pth.tar: its SHA-256 is d14ab7c0f093.*says 0000"),
        ({"version": "0.4.1"}, r"chgnet 0.4.2 is installed.*those of 0.4.1: pip install chgnet==0.4.1"),
        ({"file": "chgnet/pretrained/none.tar"}, r"none.tar cannot be read .*install the package again"),
    ],
)
def test_another_file_than_the_card_names_is_refused(change, message):
    other = CARD.installed.model_copy(update=change)
    with pytest.raises(StrataError, match=message):
        load_state(CARD.model_copy(update={"installed": other}))


def test_other_tensors_than_the_card_names_are_refused(engine):
    with pytest.raises(StrataError, match=r"its tensors hash to 5c53271ac57b.*the card says 0000"):
        load_state(CARD.model_copy(update={"weights_sha256": "0" * 64}))


def test_without_the_package_the_error_says_how_to_get_it():
    absent = CARD.installed.model_copy(update={"distribution": "chgnet-that-is-not-there"})
    with pytest.raises(StrataError, match=r"not installed; install it with: pip install '.*\[chgnet\]'"):
        load_state(CARD.model_copy(update={"installed": absent}))


def test_a_file_of_our_network_is_read(tmp_path):
    state = random_state()
    path = saved(
        tmp_path / "weights.tar", state, n_conv=4, atom_graph_cutoff=6, non_linearity="silu", version="x"
    )
    found, architecture = ChgnetRunner.read_published(path, CARD)
    assert weights_hash(found) == weights_hash(state)
    assert architecture == CARD.architecture


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"non_linearity": "relu"}, "its non_linearity is 'relu'"),
        ({"readout_norm": None}, "its readout_norm is None"),
        ({"atom_graph_cutoff": 5}, "its atom_graph_cutoff is 5, the card of chgnet says 6.0"),
        ({"n_conv": 3}, "its n_conv is 3, the card of chgnet says 4"),
        ({"bond_fea_dim": 32}, "its bond_fea_dim is 32, the card of chgnet says 64"),
    ],
)
def test_another_network_is_refused(tmp_path, arguments, message):
    path = saved(tmp_path / "weights.tar", random_state(), **arguments)
    with pytest.raises(StrataError, match=message):
        ChgnetRunner.read_published(path, CARD)


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_that_holds_code_is_refused_and_not_run(tmp_path):
    path = saved(tmp_path / "weights.tar", {"a": Harmful(tmp_path / "was_run")})
    with pytest.raises(StrataError, match=r"weights.tar: refused, .*nothing of it was run"):
        ChgnetRunner.read_published(path, CARD)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"plain words"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "weights.tar"
    path.write_bytes(content)
    with pytest.raises(StrataError, match=r"weights.tar"):
        ChgnetRunner.read_published(path, CARD)


def test_a_file_without_a_model_is_named(tmp_path):
    torch.save({"weights": {}}, tmp_path / "weights.tar")
    with pytest.raises(StrataError, match="no model with state_dict and model_args"):
        ChgnetRunner.read_published(tmp_path / "weights.tar", CARD)


def test_a_missing_a_misshapen_and_a_broken_tensor_are_named():
    state, name = random_state(), "atom_conv_layers.2.mlp_out.layers.1.weight"
    ChgnetRunner.check_state(state, CARD.architecture, "file")
    for change, message in (
        (None, f"file: not the state of a CHGNet: {name} missing"),
        (torch.rand(3), rf"tensor {name} has shape \(3,\), expected \(64, 64\)"),
        (torch.full((64, 64), torch.nan), f"tensor {name} holds NaN"),
    ):
        changed = copy.copy(state)
        changed.pop(name)
        if change is not None:
            changed[name] = change
        with pytest.raises(StrataError, match=message):
            ChgnetRunner.check_state(changed, CARD.architecture, "file")
