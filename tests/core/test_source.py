"""Published files on this machine: where they are looked for, and what vouches for them."""

import hashlib

import pytest

from core import source
from core.errors import StrataError
from core.source import Source

DATA = b"published bytes"
HASH = hashlib.sha256(DATA).hexdigest()
OTHER = "0" * 64


def of(**changes):
    return Source.model_validate({"file": "x.zip", "url": "https://example.org/x"} | changes)


def test_default_cache_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv(source.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert source.cache_folder() == tmp_path / ".cache" / "strata"


def test_the_folder_of_raw_files_comes_before_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv(source.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(source.RAW_VARIABLE, str(tmp_path))
    assert list(source.folders()) == [tmp_path, tmp_path / "cache"]
    monkeypatch.delenv(source.RAW_VARIABLE)
    assert list(source.folders()) == [tmp_path / "cache"]


@pytest.mark.parametrize(
    ("lock", "changes", "by"),
    [
        (HASH, {"sha256": OTHER}, "lock"),
        (None, {"sha256": HASH}, "card"),
        (None, {"unverified": True}, "nothing"),
    ],
)
def test_what_vouches_for_a_file(tmp_path, lock, changes, by):
    (tmp_path / "x.zip").write_bytes(DATA)
    if lock:
        (tmp_path / source.LOCK).write_text(f"{lock}  x.zip\n")
    found = source.checked(tmp_path / "x.zip", of(**changes), "the card of x")
    assert (found.sha256, found.vouched_for_by) == (HASH, by)


def test_another_hash_names_who_expects_it(tmp_path):
    (tmp_path / "x.zip").write_bytes(DATA)
    with pytest.raises(StrataError, match=f"{HASH}, but the card of x expects {OTHER}"):
        source.checked(tmp_path / "x.zip", of(sha256=OTHER), "the card of x")
    with pytest.raises(StrataError, match="nothing vouches"):
        source.checked(tmp_path / "x.zip", of(), "the card of x")


@pytest.mark.parametrize("name", ["../../secret.json", "/etc/passwd", ".hidden", "a b"])
def test_a_file_is_a_plain_name(name):
    with pytest.raises(ValueError, match="not a valid name"):
        of(file=name)
