import signal

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from featurestore import SplitKey, StoreLayout
from featurestore.query.cache import FOLDER, MatrixCache
from featurestore.tables.log import snapshot
from featurestore.tables.schema import SCHEMAS
from tests.stores import SOURCE, add_dataset, add_features, write

ASK = ("alpha", "gap", "atom_bond_8")


def same(one, two):
    for name in ("X", "y", "entry_ids", "structure_ids", "part"):
        a, b = getattr(one, name), getattr(two, name)
        assert (a is None and b is None) or np.array_equal(a, b)
    assert (one.unit, one.extraction_id, one.blocks) == (two.unit, two.extraction_id, two.blocks)


def files(root):
    return sorted(path for path in (root / FOLDER).iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize(
    "options", [{}, {"split": SplitKey()}, {"split": SplitKey(), "parts": ("train", "val")}]
)
def test_a_kept_answer_is_the_stores_own(store_root, options, monkeypatch):
    plain = featurestore.open(store_root).matrix(*ASK, **options)
    assert not (store_root / FOLDER).exists()
    same(featurestore.open(store_root, cache=True).matrix(*ASK, **options), plain)
    monkeypatch.setattr("featurestore.query.reader.gather", None)  # the shards are not asked again
    same(featurestore.open(store_root, cache=True).matrix(*ASK, **options), plain)


def test_inputs_and_matrix_are_two_answers(store_root):
    store = featurestore.open(store_root, cache=True)
    assert store.matrix(*ASK).y is not None
    assert store.inputs(*ASK).y is None
    assert store.inputs(*ASK).y is None
    assert len(files(store_root)) == 2


def test_a_changed_store_is_another_key(store_root):
    before = featurestore.open(store_root, cache=True).matrix(*ASK)
    add_dataset(store_root, "gamma", range(60, 64))  # another dataset's tables do not matter
    same(featurestore.open(store_root, cache=True).matrix(*ASK), before)
    assert len(files(store_root)) == 1
    add_features(store_root, range(50), "fedcba9876543210", seed=1)
    featurestore.open(store_root, cache=True).matrix(*ASK, extraction=before.extraction_id)
    assert len(files(store_root)) == 2


def test_new_runs_do_not_make_an_answer_stale(store_root):
    featurestore.open(store_root, cache=True).matrix(*ASK)
    row = dict.fromkeys(("run_id", "dataset", "property", "part", "role"), "alpha")
    write(StoreLayout(store_root).scores, "scores", pa.Table.from_pylist([row | {"n": 1}], SCHEMAS["scores"]))
    featurestore.open(store_root, cache=True).matrix(*ASK)
    assert len(files(store_root)) == 1


@pytest.mark.parametrize("offset", [0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.95])
def test_a_damaged_answer_is_not_believed(store_root, offset):
    plain = featurestore.open(store_root, cache=True).matrix(*ASK)
    (path,) = files(store_root)
    whole = path.read_bytes()
    at = int(len(whole) * offset)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    same(featurestore.open(store_root, cache=True).matrix(*ASK), plain)


@pytest.mark.parametrize("kept", [0, 100, 0.5, -1])
def test_an_answer_cut_short_is_not_believed(store_root, kept):
    plain = featurestore.open(store_root, cache=True).matrix(*ASK)
    (path,) = files(store_root)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept) if kept == 0.5 else kept])
    same(featurestore.open(store_root, cache=True).matrix(*ASK), plain)


def test_an_answer_under_another_name_is_not_believed(store_root):
    store = featurestore.open(store_root, cache=True)
    wrong, right = store.matrix("alpha", "gap", "atom_0"), store.matrix("alpha", "gap", "atom_1")
    one, two = files(store_root)
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    again = featurestore.open(store_root, cache=True)
    same(again.matrix("alpha", "gap", "atom_0"), wrong)
    same(again.matrix("alpha", "gap", "atom_1"), right)


@pytest.mark.parametrize("step", ["cache_written", "cache_replaced"])
def test_killed_while_an_answer_is_kept_the_old_one_serves(store_root, start, step):  # row 3
    plain = featurestore.open(store_root, cache=True).matrix(*ASK)
    code = f"""
import featurestore
store = featurestore.open({str(store_root)!r}, cache=True)
store.matrix(*{ASK!r})
store.matrix("alpha", "gap", "atom_0")
"""
    process = start("-c", code, STRATA_FAILPOINT=step)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(files(store_root)) == 1 + (step == "cache_replaced")
    store = featurestore.open(store_root, cache=True)
    same(store.matrix(*ASK), plain)
    fresh = featurestore.open(store_root).matrix("alpha", "gap", "atom_0")
    same(store.matrix("alpha", "gap", "atom_0"), fresh)
    assert len(files(store_root)) == 2


def test_older_answers_make_room(store_root, monkeypatch):
    store = featurestore.open(store_root, cache=True)
    store.matrix("alpha", "gap", "atom_0")
    size = files(store_root)[0].stat().st_size
    monkeypatch.setattr("featurestore.query.cache.MOST_BYTES", 2 * size)
    for depth in range(1, 4):
        store.matrix("alpha", "gap", f"atom_{depth}")
    assert len(files(store_root)) == 2


def test_clearing_frees_all_and_harms_nothing(store_root):
    store = featurestore.open(store_root, cache=True)
    plain = store.matrix(*ASK)
    (store_root / FOLDER / ".tmp-1-left").write_bytes(b"by a killed process")
    assert MatrixCache(store_root).clear() > plain.X.nbytes
    assert not list((store_root / FOLDER).iterdir())
    same(store.matrix(*ASK), plain)
    assert MatrixCache(store_root / "nowhere").clear() == 0


def test_a_store_that_cannot_be_written_answers_all_the_same(store_root):
    (store_root / FOLDER).write_text("a file where the folder should be")
    assert len(featurestore.open(store_root, cache=True).matrix(*ASK)) == 27
    assert snapshot(store_root / "features" / SOURCE).rows == 50
