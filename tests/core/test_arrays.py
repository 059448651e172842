"""Arrays in a file of their own: what is written is read, and nothing else is."""

import json
import struct

import numpy as np
import pytest

from core.arrays import read_arrays, write_arrays
from core.errors import StrataError


def test_arrays_come_back_with_their_numbers_kinds_and_shapes(tmp_path):
    arrays = {
        "double": np.array([[1.5, np.nan], [np.inf, -0.0]]),
        "single": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
        "whole": np.arange(10)[::3],
        "truth": np.array([True, False]),
        "nothing": np.empty((0, 3)),
        "scalar": np.array(2.5),
    }
    write_arrays(tmp_path / "a.safetensors", arrays)
    found = read_arrays(tmp_path / "a.safetensors")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


def test_what_was_in_the_file_is_replaced(tmp_path):
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"old": np.ones(1000)})
    write_arrays(path, {"new": np.zeros(1)})
    assert set(read_arrays(path)) == {"new"}


@pytest.mark.parametrize(
    "content", [b"", b"no arrays at all", b"\x80\x04K\x01."], ids=["empty", "text", "pickle"]
)
def test_another_file_is_named(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(StrataError, match=r"a\.safetensors is no safetensors file that can be read"):
        read_arrays(path)


def test_a_file_that_is_cut_off_or_gone_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(StrataError, match="can be read"):
        read_arrays(path)
    write_arrays(path, {"a": np.ones(100)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StrataError, match="can be read"):
        read_arrays(path)


def test_numbers_of_an_unknown_kind_are_named(tmp_path):
    header = json.dumps({"a": {"dtype": "X7", "shape": [1], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\x80\x3f")
    with pytest.raises(StrataError, match="can be read"):
        read_arrays(path)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(StrataError, match=r"cannot write .*a\.safetensors"):
        write_arrays(tmp_path / "gone" / "a.safetensors", {"a": np.ones(1)})


def test_texts_are_no_arrays_of_numbers(tmp_path):
    with pytest.raises(StrataError, match="cannot write"):
        write_arrays(tmp_path / "a.safetensors", {"a": np.array(["x"])})
