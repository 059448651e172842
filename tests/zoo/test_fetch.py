"""Published archives, made here with alignn's own model class, and spoilt as rows 29 to 33 would."""

import functools
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import StrataError
from tests.engines import alignn_engine
from tests.training import metals, network
from zoo.backbones.alignn.published import read_archive
from zoo.fetch import fetch, verify
from zoo.hub import fetched_folder, load_card, load_source, weights_path

NAME = "mp_e_form_alignn"
BOMB = 50_000_000
CONFIG = {
    "cutoff": 8.0,
    "max_neighbors": 12,
    "atom_features": "cgcnn",
    "neighbor_strategy": "k-nearest",
    "model": {"name": "alignn", "alignn_layers": 4, "gcn_layers": 4, "link": "identity", "fc_layers": 1},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path / "cache"))
    return tmp_path


@functools.cache
def weights(seed: int):
    return network(seed=seed).state_dict()


def state():
    return {name: tensor.clone() for name, tensor in weights(3).items()}


def checkpoint(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def archive(folder: Path, members: dict[str, bytes | str] | None = None, **config) -> Path:
    """A zip as they are published: everything in a folder, several epochs, logs."""
    path = folder / f"{NAME}.zip"
    big = members is not None and any(len(content) == BOMB for content in members.values())
    kind = zipfile.ZIP_DEFLATED if big else zipfile.ZIP_STORED  # noise does not shrink
    if members is None:
        members = {
            "out/checkpoint_300.pt": checkpoint({"model": state(), "epoch": 300}),
            "out/checkpoint_20.pt": checkpoint({"model": weights(4)}),
            "out/config.json": json.dumps(CONFIG | config),
            "out/ids_train_val_test.json": "{}",
        }
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def with_checkpoint(content: bytes) -> dict[str, bytes | str]:
    return {"checkpoint_300.pt": content, "config.json": json.dumps(CONFIG)}


def test_a_model_of_alignns_own_class_comes_through_and_predicts_the_same(tmp_path):
    alignn = pytest.importorskip("alignn.models.alignn", reason="needs the extra dgl")
    torch.manual_seed(0)
    theirs = alignn.ALIGNN(alignn.ALIGNNConfig(name="alignn"))
    content = checkpoint({"model": theirs.state_dict(), "optimizer": {"lr": 0.1}})
    card = fetch(NAME, archive(tmp_path, with_checkpoint(content)))
    assert len(card.weights_sha256) == 64
    source = load_source(NAME)
    assert all(torch.equal(source.state[k], t) for k, t in theirs.state_dict().items())
    structures = metals()[:3]
    by_engine = alignn_engine(card.graph, source.state)(structures).prediction
    by_dgl = alignn_engine(card.graph, source.state, backend="dgl")(structures).prediction
    np.testing.assert_allclose(by_engine, by_dgl, atol=1e-4)


def test_the_last_epoch_is_taken_and_kept_without_pickles(tmp_path):
    fetch(NAME, archive(tmp_path))
    assert torch.equal(load_source(NAME).state["fc.weight"], state()["fc.weight"])
    assert {path.name for path in fetched_folder(NAME).iterdir()} == {"weights.safetensors", "record.json"}
    assert verify(NAME) == load_card(NAME).weights_sha256


def test_a_model_that_was_not_fetched_says_how():
    with pytest.raises(StrataError, match=f"strata zoo fetch {NAME}"):
        weights_path(load_card(NAME))
    with pytest.raises(StrataError, match=f"strata zoo fetch {NAME}"):
        load_source(NAME)


def test_changed_file_in_the_cache_is_refused(tmp_path):
    fetch(NAME, archive(tmp_path))
    path = fetched_folder(NAME) / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StrataError, match="SHA-256"):
        verify(NAME)


def test_the_embedded_model_has_nothing_to_fetch(tmp_path):
    with pytest.raises(StrataError, match="comes with the project"):
        fetch("alignn_mp_eform", archive(tmp_path))


@pytest.mark.parametrize("name", ["../../x/checkpoint_300.pt", "/checkpoint_300.pt", "C:/checkpoint_300.pt"])
def test_members_that_point_outside_are_refused(tmp_path, name):
    members = {name: checkpoint(state()), "config.json": json.dumps(CONFIG)}
    refused(tmp_path, members, "points outside")


def test_bomb_is_refused(tmp_path):
    refused(tmp_path, with_checkpoint(bytes(BOMB)), "unpacks to more than")


def test_malicious_pickle_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "run"

    class Touch:
        def __reduce__(self):
            return Path.touch, (mark,)

    for content in (checkpoint({"model": state(), "x": Touch()}), pickle.dumps(Touch())):
        refused(tmp_path, with_checkpoint(content), "refused|not a checkpoint")
    assert not mark.exists()


def spoilt(change) -> bytes:
    changed = state()
    change(changed)
    return checkpoint({"model": changed})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("gcn_layers.2.bn_nodes.weight"),
            r"1 tensors missing \(gcn_layers.2.bn_nodes.weight",
        ),
        (lambda s: s.update(extra=torch.zeros(1)), r"1 unexpected \(extra"),
        (lambda s: s.update({"fc.weight": torch.zeros(2, 256)}), r"fc.weight has shape \(2, 256\)"),
        (lambda s: s["fc.bias"].fill_(float("nan")), "fc.bias holds NaN"),
        (lambda s: s["alignn_layers.0.node_update.src_gate.weight"].fill_(float("inf")), "infinite"),
    ],
)
def test_wrong_tensors_are_named(tmp_path, change, message):
    refused(tmp_path, with_checkpoint(spoilt(change)), message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model": {"name": "alignn_atomwise"}},
            "'alignn_atomwise', the card of mp_e_form_alignn says 'alignn'",
        ),
        ({"model": {"name": "alignn", "hidden_features": 64}}, "model.hidden_features"),
        ({"model": {"name": "alignn", "classification": True}}, "classification is True; that is no plain"),
        ({"use_canonize": False}, "use_canonize is False, the card of mp_e_form_alignn says True"),
        ({"neighbor_strategy": "radius_graph"}, "neighbor_strategy is 'radius_graph'"),
        ({"cutoff": 5.0}, "cutoff is 5.0, the card of mp_e_form_alignn says 8.0"),
        ({"max_neighbors": 16}, "max_neighbors is 16"),
        ({"model": 3}, "not a config.json of alignn"),
    ],
)
def test_other_architectures_and_graphs_are_refused_by_name(tmp_path, config, message):
    with pytest.raises(StrataError, match=message):
        fetch(NAME, archive(tmp_path, **config))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"config.json": json.dumps(CONFIG)}, "no checkpoint"),
        ({"checkpoint_300.pt": b""}, "no config.json"),
        ({"checkpoint_300.pt": b"junk", "config.json": json.dumps(CONFIG)}, "refused|not a checkpoint"),
        ({"checkpoint_300.pt": b"", "config.json": "not json"}, "not a config.json"),
    ],
)
def test_incomplete_archives_are_refused(tmp_path, members, message):
    refused(tmp_path, members, message)


def test_another_checkpoint_than_the_card_names_is_refused(tmp_path):
    card = load_card("jv_formation_energy_peratom_alignn")
    with pytest.raises(StrataError, match="the card of jv_formation_energy_peratom_alignn says bce5cdaf"):
        read_archive(archive(tmp_path), card)


def refused(folder: Path, members: dict[str, bytes | str], message: str) -> None:
    with pytest.raises(StrataError, match=message):
        fetch(NAME, archive(folder, members))
    assert not fetched_folder(NAME).exists()
    assert not (folder.parent / "x").exists()
