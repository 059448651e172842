"""`strata extract --shard i/N`: parts that are exactly the whole, at once, and whatever was killed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import etl.extract as stage
import featurestore
import zoo.backbones
from core.errors import StrataError
from core.params import Params, parse
from core.structure import Structure
from etl.extract import extract
from etl.parts import Part, number_of
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import history, snapshot
from tests import toys
from tests.crystals import random_structure
from tests.etl.test_extract import add

TOY = "toy"
LARGEST = 4  # atoms; the toy rejects a structure of more
# Every fifth is rejected.
STRUCTURES = [random_structure(np.random.default_rng(n), 6 if n % 5 == 0 else 1 + n % 3) for n in range(40)]
REJECTED = {s.structure_id for s in STRUCTURES if s.n_atoms > LARGEST}


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The toy in the folders of one's own."""
    for name, value in toys.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(zoo.backbones, "__path__", list(zoo.backbones.__path__))


@pytest.fixture
def store(tmp_path) -> Path:
    root = tmp_path / "store"
    add(root, "some", STRUCTURES)
    return root


def params(chunk: int = 3) -> Params:
    return parse({"datasets": ["some"], "extract": {"source_models": [TOY], "chunk": chunk, "workers": 0}})


def content(root: Path) -> tuple[list, list, list]:
    """Every row, every vector and every reject, also what is there twice."""
    opened = featurestore.open(root)
    rows = opened.sql("SELECT structure_id, extraction_id FROM stored_features ORDER BY ALL").fetchall()
    asked = "SELECT structure_id, n_sites, cell_0, cell_1 FROM features_toy ORDER BY ALL"
    vectors = opened.sql(asked).fetchall()
    rejects = opened.sql("SELECT id, code, message FROM rejects ORDER BY ALL").fetchall()
    return rows, vectors, rejects


@pytest.fixture
def whole(tmp_path) -> tuple[list, list, list]:
    """What one writer makes of the same structures."""
    add(tmp_path / "other", "some", STRUCTURES)
    extract(params(), tmp_path / "other")
    return content(tmp_path / "other")


@given(st.text(), st.integers(1, 50))
def test_a_structure_is_in_one_part(structure_id, of):
    assert [n for n in range(1, of + 1) if Part(n, of).holds(structure_id)] == [number_of(structure_id, of)]


def test_parts_are_about_equally_large_and_do_not_change():
    numbers = np.array([number_of(f"{n:064x}", 8) for n in range(8000)])
    assert np.bincount(numbers, minlength=9)[1:].min() > 900
    assert [number_of(name, 4) for name in ("a", "b", "c", "d")] == [3, 3, 3, 2]


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "x/4", "4", "", "1/0", "-1/4", "1/4/4", "1 / 4", "1/x", "²/4"]
)
def test_what_is_no_part_is_an_error(text):
    with pytest.raises(StrataError, match=r"--shard .*expected i/N"):
        Part.parse(text)


@pytest.mark.parametrize("of", [1, 4, 20])
def test_the_parts_together_are_exactly_the_whole(store, whole, of):
    reports = [extract(params(), store, part=Part(number, of))[0] for number in range(1, of + 1)]
    assert content(store) == whole
    assert sum(report.unique for report in reports) == len(STRUCTURES)
    assert sum(report.extracted for report in reports) == len(STRUCTURES) - len(REJECTED)
    assert sum(report.rejected.get("too_large", 0) for report in reports) == len(REJECTED)
    versions = len(history(StoreLayout(store).features(TOY)))
    (after,) = extract(params(), store)
    assert "0 structures extracted" in str(after)
    assert len(history(StoreLayout(store).features(TOY))) == versions


def test_a_part_says_what_it_did_and_does_nothing_twice(store):
    part = Part(2, 4)
    mine = [s.structure_id for s in STRUCTURES if part.holds(s.structure_id)]
    (first,) = extract(params(), store, part=part)
    assert f"part 2/4: {len(mine)} structures" in str(first)
    (again,) = extract(params(), store, part=part)
    done = len(set(mine) - REJECTED)
    assert f"0 structures extracted, {done} were there already" in str(again)


def test_parts_at_once_with_other_parts_and_the_same_part_twice(store, whole):
    """Nobody asks who else is there: two cuts of the work overlap, and one part runs three times."""
    asked = [*(Part(n, 4) for n in range(1, 5)), *(Part(n, 3) for n in range(1, 4)), Part(1, 3), Part(1, 3)]
    with ThreadPoolExecutor(len(asked)) as pool:
        list(pool.map(lambda numbered: extract(params(1 + numbered[0] % 4), store, part=numbered[1]),
                      enumerate(asked)))  # fmt: skip
    assert content(store) == whole


def test_what_others_have_added_meanwhile_is_left_out(store, whole, monkeypatch):
    """Overlapping chunks of other keys: the later one is committed without what is there, or not at all."""
    real = stage.run_tasks
    asked = []

    def slow(source_model, tasks, *rest):
        if not asked:  # the other one works while this one runs its first chunk
            asked.append(True)
            extract(params(chunk=2), store, part=Part(1, 2))
        return real(source_model, tasks, *rest)

    monkeypatch.setattr(stage, "run_tasks", slow)
    (report,) = extract(params(chunk=7), store, part=Part(1, 1))
    assert report.unique == len(STRUCTURES)
    assert content(store) == whole
    shards = snapshot(StoreLayout(store).features(TOY)).shards
    assert all(shard.rows or shard.rejects for shard in shards)


def test_a_structure_added_later_belongs_to_one_part(store):
    for number in (1, 2):
        extract(params(), store, part=Part(number, 2))
    late = Structure(np.eye(3) * 9.0, [29], [[0, 0, 0]])
    add(store, "late", [late])
    more = params().model_copy(update={"datasets": ("some", "late")})
    done = [extract(more, store, part=Part(number, 2))[0].extracted for number in (1, 2)]
    assert sorted(done) == [0, 1]
    assert done[number_of(late.structure_id, 2) - 1] == 1
