"""Files that somebody sent: what is read, and what is refused before a reader sees it."""

import json
import os
import zipfile

import numpy as np
import pytest

from core.arrays import write_arrays
from core.errors import StrataError
from core.untrusted import check_header, check_zip, plain_files, read_json


def test_files_of_a_folder_by_their_size(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.txt").write_text("xyz")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("x")
    assert plain_files(tmp_path, 10, 100, (".git",)) == {"a/b/c.txt": 3}
    with pytest.raises(StrataError, match="3 bytes, at most 2"):
        plain_files(tmp_path, 10, 2, (".git",))
    with pytest.raises(StrataError, match="more than 1 files"):
        plain_files(tmp_path, 1, 100)


def test_links_and_pipes_are_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(StrataError, match="link is a link"):
        plain_files(tmp_path, 10, 100)
    (tmp_path / "link").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StrataError, match="pipe is a link or no regular file"):
        plain_files(tmp_path, 10, 100)


@pytest.mark.parametrize(
    "text", ["NaN", "[1e999]", "[-Infinity]", '{"a": 1, "a": 1}', "[" * 100_000, "{", "9" * 9999]
)
def test_strange_json(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(StrataError, match=r"a\.json is no JSON that is read here"):
        read_json(path)


def test_json_as_it_should_be(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [1, 2.5, None]}))
    assert read_json(path) == {"a": [1, 2.5, None]}
    path.write_text("[NaN]")
    assert np.isnan(read_json(path, finite=False)[0])


def test_headers_of_arrays(tmp_path):
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"a": np.zeros(3)})
    check_header(path)
    whole = path.read_bytes()
    for content, match in (
        (b"", "header would be 0|cannot be read"),
        (whole[:20], "at most 12 are read"),
        ((2**62).to_bytes(8, "little") + whole[8:], "at most"),
        (whole[:8] + b"[" * (len(whole) - 8), "cannot be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(StrataError, match=match):
            check_header(path)


def test_zips_inside(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"abc")
    check_zip(path, 2, 1000)
    with pytest.raises(StrataError, match="more than 2 bytes"):
        check_zip(path, 2, 2)
    path.write_bytes(b"PK")
    with pytest.raises(StrataError, match="no archive"):
        check_zip(path, 2, 1000)
