"""YAML as people write it, and as somebody writes it who means harm."""

import pytest

from core.errors import StrataError
from core.yaml_file import read_yaml


def read(folder, text):
    path = folder / "card.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


def test_plain_values_and_aliases_are_read(tmp_path):
    assert read(tmp_path, "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: [1.5, null]}") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": [1.5, None]},
    }
    assert read(tmp_path, "") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fit:\n  a: 1\nsplit: 2\nfit:\n  b: 2\n", r"card.yaml, line 4: 'fit' stands twice"),
        ("a: {b: 1, b: 2}", "line 1: 'b' stands twice"),
        ("a: &x [*x]", "alias that contains itself"),
        ("a: &x {<<: *x}", "alias that contains itself"),
        ("[" * 5000, "nested too deeply"),
        ("a: [1", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("a: 2026-13-45", "not valid YAML"),
        (b"a: \xff", "not UTF-8 at byte 3"),
        (b"a: \x00", "not valid YAML"),
    ],
)
def test_what_is_refused_names_the_file(tmp_path, text, expected):
    with pytest.raises(StrataError, match=expected) as error:
        read(tmp_path, text)
    assert "card.yaml" in str(error.value)


@pytest.mark.parametrize("line", ["[{}]", "{{k: [{}]}}", "{{<<: [{}]}}"])
def test_a_few_lines_do_not_become_gigabytes(tmp_path, line):
    bomb = ["a0: &a0 {k: v}"]
    bomb += [f"a{n}: &a{n} " + line.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 30)]
    with pytest.raises(StrataError, match="aliases stand for more than 100,000 values"):
        read(tmp_path, "\n".join(bomb))
