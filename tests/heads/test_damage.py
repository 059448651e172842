"""Saved heads that were damaged or made up: one error that names the file, and nothing of them is run."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from core.checksums import write_checksums
from core.errors import StrataError
from heads import Ridge, load_head
from heads.base import ARRAYS_FILE, HEAD_FILE
from heads.sklearn_head import FILE, SklearnHead

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4)).astype(np.float32)
Y = X[:, 0] * 3 + 1


@pytest.fixture
def saved(tmp_path):
    Ridge().fit(X, Y).save(tmp_path / "head")
    return tmp_path / "head"


def used(folder: Path) -> np.ndarray:
    """Do what `strata predict` does with a model."""
    return load_head(folder).predict(X)


def test_a_flipped_bit_anywhere_is_found(saved):
    for path in sorted(saved.iterdir()):
        whole = path.read_bytes()
        for place in (0, len(whole) // 3, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(StrataError, match=f"nothing in {saved} is loaded"):
                used(saved)
        path.write_bytes(whole)
    assert used(saved).shape == (20,)


def test_a_file_that_is_not_listed_and_one_that_is_gone_are_found(saved):
    (saved / "more.txt").write_text("x")
    with pytest.raises(StrataError, match=r"more\.txt is not in SHA256SUMS"):
        used(saved)
    (saved / "more.txt").unlink()
    (saved / ARRAYS_FILE).unlink()
    with pytest.raises(StrataError, match=r"arrays\.safetensors is missing"):
        used(saved)


def test_a_head_of_an_earlier_version_has_no_list_and_is_loaded(saved):
    (saved / "SHA256SUMS").unlink()
    assert used(saved).shape == (20,)


def facts(**changes):
    def change(folder: Path) -> None:
        path = folder / HEAD_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def text(content: str):
    return lambda folder: (folder / HEAD_FILE).write_text(content)


def arrays(content):
    def change(folder: Path) -> None:
        path = folder / ARRAYS_FILE
        path.write_bytes(content(path.read_bytes()) if callable(content) else content)

    return change


def header(said: dict, data: bytes = b"") -> bytes:
    head = json.dumps(said).encode()
    return struct.pack("<Q", len(head)) + head + data


COEF = {"dtype": "F64", "shape": [4], "data_offsets": [0, 32]}
DAMAGES = {
    "another class": facts(**{"class": "heads.mean.Mean"}),
    "a class of no head": facts(**{"class": "os.system"}),
    "a class that is a list": facts(**{"class": ["heads.ridge.Ridge"]}),
    "a setting more": facts(settings={"alphas": [1.0], "more": 1}),
    "settings that are a list": facts(settings=[1.0]),
    "fitted values that are a list": facts(fitted=["coef_"]),
    "a fitted value called as a method": facts(fitted={"predict": "x", "n_features_in_": 4}),
    "no fitted value": facts(fitted={}),
    "a fitted value that is a text": facts(fitted={"intercept_": "x", "n_features_in_": 4, "alpha_": 1.0}),
    "another number of columns": facts(fitted={"intercept_": 1.0, "n_features_in_": 9, "alpha_": 1.0}),
    "deep brackets": text("[" * 200_000),
    "a list": text("[]"),
    "no JSON": text("{"),
    "not UTF-8": lambda folder: (folder / HEAD_FILE).write_bytes(b"\xff{}"),
    "empty arrays": arrays(b""),
    "half of the arrays": arrays(lambda data: data[: len(data) // 2]),
    "an oversized header": arrays(struct.pack("<Q", 2**60) + b"{}"),
    "a header that is no JSON": arrays(struct.pack("<Q", 4) + b"abcd"),
    "overlapping arrays": arrays(header({"coef_": COEF, "more_": COEF}, bytes(32))),
    "another shape": arrays(header({"coef_": COEF | {"shape": [2, 2]}}, bytes(32))),
    "too few coefficients": arrays(
        header({"coef_": {**COEF, "shape": [3], "data_offsets": [0, 24]}}, bytes(24))
    ),
    "an array called as a method": arrays(header({"_predict": COEF}, bytes(32))),
    "an unknown type": arrays(header({"coef_": COEF | {"dtype": "F65"}}, bytes(32))),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_made_up_head_whose_hashes_hold_is_a_users_error(saved, name):
    DAMAGES[name](saved)
    write_checksums(saved)
    with pytest.raises(StrataError, match=f"{saved}|Ridge"):
        used(saved)


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_cut_estimator_of_scikit_learn_is_a_users_error(tmp_path, part):
    SklearnHead({"class": "sklearn.svm.SVR"}).fit(X, Y).save(tmp_path / "head")
    path = tmp_path / "head" / FILE
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(StrataError, match=r"estimator\.skops has another SHA-256"):
        used(tmp_path / "head")
    write_checksums(tmp_path / "head")
    with pytest.raises(StrataError, match="head"):
        used(tmp_path / "head")


def test_a_class_in_the_current_folder_that_nobody_named_is_not_imported(saved, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.chdir(tmp_path)
    facts(**{"class": "mine.Head"})(saved)
    write_checksums(saved)
    with pytest.raises(StrataError, match="if you trust it"):
        used(saved)
    assert not (tmp_path / "ran").exists()
