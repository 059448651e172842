"""Nothing outside zoo/backbones/ names a checkpoint or a width: each is read from where it is declared."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = ("core", "featurestore", "heads", "zoo", "etl", "evaluation")
ENDINGS = (".py", ".sql", ".jinja")
BACKBONES = ROOT / "zoo" / "backbones"
NAMED = re.compile(
    r"\b(atom|bond|angle)_\d"  # a checkpoint
    r"|\batom_bond"  # a set of ALIGNN's
    r"|FLOAT\[\d+\]|\b256 [×x] |\b\d+ [×x] 256\b|\b768\b"  # a width
    r"|\b(23|38) (checkpoints|sets|feature sets)\b"
)
# Published names and numbers, quoted as the paper has them.
QUOTED = {"featurestore/query/feature_sets.py": ("38 sets of Gupta",)}


def files() -> list[Path]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in ENDINGS]
    found += [ROOT / name for name in ("strata.py", "params.yaml", "dvc.yaml")]
    return sorted(path for path in found if BACKBONES not in path.parents)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_checkpoint_and_no_width_is_named(path):
    quoted = QUOTED.get(path.relative_to(ROOT).as_posix(), ())
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if NAMED.search(line) and not any(words in line for words in quoted)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line", ["by atom_8", "FLOAT[256]", "(2, 768)", "atom_bond_angle_last", "the 23 checkpoints", "256 × 3"]
)
def test_the_pattern_finds_them(line):
    assert NAMED.search(line)


def test_there_is_something_to_look_at():
    assert len(files()) > 80
