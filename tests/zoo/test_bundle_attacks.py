"""Bundles that were damaged or made to harm: each refused by name, and nothing of them is run."""

import io
import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from core.arrays import read_arrays, write_arrays
from core.errors import StrataError
from heads.nn17 import NN17
from tests.bundles import QUICK, copied, made_model, rewritten, sealed
from zoo.bundle import load_bundle, save_bundle
from zoo.predict import predict_structures

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return save_bundle(made_model("magpie"), tmp_path_factory.mktemp("sound") / "volume")


@pytest.fixture
def bundle(sound, tmp_path, monkeypatch):
    """A copy to be changed, in a folder with a module whose import leaves a canary behind."""
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "payload.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'canary')!r}).touch()\nclass Evil: pass\n"
    )
    return copied(sound, tmp_path / "volume")


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path):
    yield
    assert not (tmp_path / "canary").exists()


class Payload:
    """A pickle that makes a file where it is read."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def refused(path: Path, match: str, **more) -> None:
    with pytest.raises(StrataError, match=match) as error:
        load_bundle(path, QUICK, **more)
    assert "Traceback" not in str(error.value)


def config(bundle: Path, change) -> Path:
    rewritten(bundle / "config.json", change)
    return sealed(bundle)


def arrays(path: Path, change) -> None:
    found = {name: array.copy() for name, array in read_arrays(path).items()}
    change(found)
    write_arrays(path, found)


def test_a_sound_one_loads(bundle):
    assert load_bundle(bundle, QUICK).card.rows == 72


def test_a_changed_byte_of_any_file(bundle):
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            refused(bundle, "SHA-256|SHA256SUMS")
        path.write_bytes(whole)
    assert load_bundle(bundle, QUICK).card.rows == 72


def test_an_extra_file_and_a_missing_one(bundle):
    (bundle / "heads" / "0" / "notes.txt").write_text("x")
    refused(bundle, r"notes\.txt is not in SHA256SUMS")
    (bundle / "heads" / "0" / "notes.txt").unlink()
    (bundle / "golden.json").unlink()
    refused(bundle, r"'golden\.json' is in SHA256SUMS, but it is missing")


def test_swapped_weights_without_a_list(bundle):
    arrays(bundle / "heads" / "0" / "arrays.safetensors", lambda found: found["coef_"].__imul__(2))
    for path in bundle.rglob("SHA256SUMS"):
        path.unlink()
    refused(bundle, r"SHA256SUMS is missing")


def test_swapped_weights_with_a_new_list_do_not_say_what_was_saved(bundle):
    arrays(bundle / "heads" / "0" / "arrays.safetensors", lambda found: found["coef_"].__imul__(2))
    refused(sealed(bundle), r"golden\.json: of its structure")


@pytest.mark.parametrize("path", ["payload.Evil", "os.system", "subprocess.Popen", "heads.base.NotThere"])
def test_a_class_path(bundle, path):
    rewritten(bundle / "heads" / "0" / "head.json", lambda facts: facts | {"class": path})
    config(bundle, lambda facts: facts["members"][0].update(cls=path))
    refused(bundle, f"{path}, which is not this project's")
    config(bundle, lambda facts: facts["members"][0].update(cls="heads.ridge.Ridge"))
    refused(bundle, rf"holds a {path}, config\.json says heads\.ridge\.Ridge")


@pytest.mark.parametrize(
    "name", ["heads/0/model.pkl", "model.pt", "heads/0/con.txt", "run.py", "heads/0/a/b.txt"]
)
def test_a_file_that_no_bundle_has(bundle, tmp_path, name):
    path = bundle / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Payload(tmp_path / "canary")))
    refused(sealed(bundle), f"'{name}' is none of the files that a bundle has")


def test_a_pickle_in_place_of_arrays(bundle, tmp_path):
    (bundle / "domain.safetensors").write_bytes(pickle.dumps(Payload(tmp_path / "canary")))
    refused(sealed(bundle), r"domain\.safetensors: its header")


def test_links_and_pipes(bundle, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    target = bundle / "golden.json"
    target.unlink()
    target.symlink_to(secret)
    refused(bundle, r"golden\.json is a link or no regular file")
    target.unlink()
    os.mkfifo(target)
    refused(bundle, r"golden\.json is a link or no regular file")
    target.unlink()
    (bundle / "models").symlink_to(tmp_path)
    refused(bundle, "models is a link")


def packed(bundle: Path, target: Path, *more: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(bundle).as_posix())
        for name, content in more:
            archive.writestr(name, content)
    return target


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("../outside.txt", "points outside the archive"),
        ("heads/../../outside.txt", "points outside the archive"),
        ("/tmp/outside.txt", "points outside the archive"),
        ("..\\outside.txt", "points outside the archive"),
        ("C:/outside.txt", "points outside the archive"),
        (link("models/x.yaml"), "points outside the archive"),
        ("heads/0/nul.txt", "none of the files"),
        ("payload.py", "none of the files"),
        ("golden.json", "two members are named golden.json"),
    ],
)
def test_members_of_a_zip(bundle, tmp_path, name, match):
    with pytest.warns(UserWarning, match="Duplicate") if name == "golden.json" else nullcontext():
        path = packed(bundle, tmp_path / "bad.zip", (name, b"x"))
    before = sorted(tmp_path.rglob("outside*"))
    refused(path, match)
    assert sorted(tmp_path.rglob("outside*")) == before
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_a_zip_bomb(bundle, tmp_path):
    (bundle / "heads" / "0" / "arrays.safetensors").write_bytes(bytes(400 * 2**20))
    refused(packed(bundle, tmp_path / "bomb.zip"), "unpacks to more than")
    assert not list((tmp_path / "cache").rglob("arrays.safetensors"))


def test_a_zip_of_too_many_members(bundle, tmp_path):
    path = packed(bundle, tmp_path / "many.zip", *((f"heads/0/n{i}.txt", b"x") for i in range(700)))
    refused(path, "members in the archive, at most 600")


def test_a_bomb_inside(bundle):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(50 * 2**20))
    (bundle / "heads" / "0" / "estimator.skops").write_bytes(content.getvalue())
    refused(sealed(bundle), r"estimator\.skops: refused, it unpacks to more than")


def test_a_cached_zip_that_was_changed_is_unpacked_anew(bundle, tmp_path):
    path = packed(bundle, tmp_path / "volume.zip")
    load_bundle(path, QUICK)
    (kept,) = (tmp_path / "cache").rglob("config.json")
    kept.write_text("{}")
    assert load_bundle(path, QUICK).card.rows == 72


@pytest.mark.parametrize("length", [2**63, 2**40, 10_000_000])
def test_an_oversized_header(bundle, length):
    path = bundle / "domain.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    refused(sealed(bundle), r"domain\.safetensors: its header would be")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a": NaN}', "no finite number"),
        ('{"a": 1e999}', "no finite number"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        ("[]", "expected a mapping"),
        ("{}", "format"),
        ("\x00", "is no JSON"),
        (" " * 5_000_000 + "{}", "at most 4,194,304 are read"),
    ],
)
def test_json_that_is_huge_deep_or_strange(bundle, text, match):
    (bundle / "config.json").write_text(text)
    refused(sealed(bundle), match)


def set_card(**more):
    return lambda facts: facts["card"].update(more)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda facts: facts.update(format=99),
            "a bundle of format 99; this version of strata reads format 1",
        ),
        (lambda facts: facts.update(format=0), "no bundle of format 0"),
        (lambda facts: facts.update(run="rm"), "unknown key 'run'"),
        (lambda facts: facts["members"][0].update(head=7), r"members\.0\.head: 7 is not its place"),
        (lambda facts: facts["members"][0].update(head=-1), r"members\.0\.head"),
        (lambda facts: facts["members"][0].update(weight=-1), r"members\.0\.weight"),
        (lambda facts: facts["members"].append(facts["members"][0] | {"head": 1}), "names the heads 0, 1"),
        (lambda facts: facts["members"].clear(), "either heads or a network"),
        (lambda facts: facts["members"][0]["blocks"][0].update(checkpoint="none"), "which no source has"),
        (lambda facts: facts["sources"][0].update(name="../../x"), r"sources\.0\.name"),
        (lambda facts: facts["sources"][0].update(weights_sha256="cd" * 32), "another model of that name"),
        (lambda facts: facts["sources"][0].update(extraction_id="cd" * 8), "makes otherwise"),
        (lambda facts: facts["sources"][0].update(inside=True), "magpie is a built-in source model"),
        (
            lambda facts: facts["sources"][0]["checkpoints"][0].update(width=7),
            "the arrays of magpie do not fit",
        ),
        (set_card(dataset="<img src=x onerror=alert(1)>"), r"card\.dataset"),
        (set_card(property="a/../../b"), r"card\.property"),
        (set_card(unit="<b>eV</b>"), r"card\.unit.*< or >"),
        (set_card(citation="\x1b[2J"), r"card\.citation.*control characters"),
        (set_card(caution="x" * 100_000), r"card\.caution"),
        (set_card(run_id="../x"), r"card\.run_id"),
        (lambda facts: facts.update(transform="log"), "another transform"),
        (lambda facts: facts.update(with_data=False), "has 72 rows"),
        (lambda facts: facts["seen"].update({"<b>": {"rows": 1, "mae": 1.0}}), "is none of inside"),
    ],
)
def test_what_the_config_says(bundle, change, match):
    refused(config(bundle, change), match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda found: found["magpie/mean"].__setitem__(3, np.nan), "hold NaN"),
        (lambda found: found["magpie/axes"].__setitem__((0, 0), np.inf), "hold NaN or infinity"),
        (lambda found: found["magpie/points"].__setitem__((2, 1), np.nan), "points of magpie hold NaN"),
        (lambda found: found["magpie/scale"].__setitem__(0, -1.0), "scale of magpie is not positive"),
        (lambda found: found["own/near"].__setitem__((0, 0), 10**9), "a neighbour is none of its points"),
        (lambda found: found["own/distance"].__setitem__(0, np.nan), "distances hold NaN"),
        (lambda found: found.update({"magpie/points": found["magpie/points"][:5]}), "as many points"),
        (lambda found: found.pop("magpie/axes"), "holds no domain that can be read"),
    ],
)
def test_arrays_of_the_domain(bundle, change, match):
    arrays(bundle / "domain.safetensors", change)
    refused(sealed(bundle), match)


def test_intervals_and_their_forest(bundle):
    path = bundle / "intervals.safetensors"
    whole = path.read_bytes()
    arrays(path, lambda found: found["residuals"].__setitem__(0, np.nan))
    refused(sealed(bundle), "residuals or errors are NaN")
    path.write_bytes(whole)
    rewritten(bundle / "difficulty" / "head.json", lambda facts: facts["fitted"].update(depth_=10**12))
    refused(sealed(bundle), "trees 1000000000000 deep")


def test_golden_structures_that_cannot_be(bundle):
    whole = (bundle / "golden.json").read_text()
    for change, match in (
        (lambda facts: facts["structures"][0].update(numbers=[200]), "cannot be used"),
        (lambda facts: facts["structures"][0].update(numbers=[26] * 5000), "atoms"),
        (lambda facts: facts.update(value=[1.0]), "not as many predictions as structures"),
        (lambda facts: facts.update(value="x"), "no golden predictions"),
    ):
        (bundle / "golden.json").write_text(whole)
        rewritten(bundle / "golden.json", change)
        refused(sealed(bundle), match)


def test_a_source_model_that_nobody_names(bundle):
    (bundle / "models").mkdir()
    (bundle / "models" / "mine.yaml").write_text("name: mine")
    refused(sealed(bundle), r"mine\.yaml is of no source model")


def test_a_card_that_fetches_from_elsewhere(bundle):
    (bundle / "models").mkdir()
    card = {
        "name": "mine",
        "title": "t",
        "licence": "none",
        "published": {"file": "a.zip", "url": "http://127.0.0.1/a.zip"},
    }
    (bundle / "models" / "mine.yaml").write_text(json.dumps(card))

    def change(facts):
        facts["sources"][0].update(name="mine", inside=True)
        for block in facts["members"][0]["blocks"]:
            block["source"] = "mine"

    refused(config(bundle, change), "the card of a bundle names no weights but its own")


def test_a_copied_run_is_no_bundle(bundle):
    refused(bundle / "heads" / "0", "folder of a run.*strata publish DATASET PROPERTY")


def test_a_layer_of_keras_that_runs_code(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path / "cache"))
    model = made_model("magpie", heads=(NN17(layers=(4,), max_epochs=2, standardise=True),))
    folder = save_bundle(model, tmp_path / "nn17")
    path = folder / "heads" / "0" / "model.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    said = json.loads(members["config.json"])
    layer = {"class_name": "Lambda", "config": {"function": f"open({str(tmp_path / 'canary')!r}, 'w')"}}
    said["config"]["layers"].append(layer | {"module": "keras.layers", "registered_name": None})
    members["config.json"] = json.dumps(said).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    loaded = load_bundle(sealed(folder), QUICK)  # what it says of its layers is not read
    first, second = (predict_structures(one, list(model.examples))["value"] for one in (loaded, model))
    np.testing.assert_allclose(first, second, rtol=1e-6)
    rewritten(
        folder / "heads" / "0" / "head.json", lambda facts: facts["settings"].update(layers=[10**6, 10**6])
    )
    refused(sealed(folder), "its layers need")


def test_on_the_command_line_it_is_one_paragraph(bundle):
    (bundle / "golden.json").write_text("x")
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from strata import main; main()", "bundle", "verify", str(bundle)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
