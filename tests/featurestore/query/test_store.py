import duckdb
import numpy as np
import pytest

import featurestore
from core.errors import StrataError
from featurestore import Reject, SplitKey
from featurestore.tables.log import snapshot
from tests.stores import (
    EXTRACTION,
    SOURCE,
    add_dataset,
    add_features,
    structure_id,
    vectors_of,
)

RANDOM = SplitKey("random", 0, 0)


@pytest.fixture(scope="module")
def store(shared_store):
    return featurestore.open(shared_store)


def numbers(ids):
    return [int(name, 16) for name in ids]


def test_a_store_says_what_it_holds(store):
    assert "alpha, beta; 50 structures, 1 extraction)" in repr(store)
    assert store.datasets() == ["alpha", "beta"]
    assert store.properties("beta") == {"energy": "eV", "gap": "eV"}
    assert store.extractions().to_pylist()[0]["extraction_id"] == EXTRACTION
    assert store.splits("alpha", "gap") == [("random", 0, 0), ("random", 1, 0)]


def test_a_store_that_is_not_there(tmp_path):
    with pytest.raises(StrataError, match="there is no store at"):
        featurestore.open(tmp_path / "store")


def test_an_empty_store_answers(tmp_path):
    store = featurestore.open(tmp_path)
    assert "no datasets" in repr(store)
    assert store.sql("SELECT count(*) FROM features JOIN structures USING (structure_id)").fetchall() == [
        (0,)
    ]
    with pytest.raises(StrataError, match="unknown dataset 'x'"):
        store.matrix("x", "y")


def test_a_matrix_is_aligned_with_its_ids_and_in_the_providers_order(store):
    found = store.matrix("beta", "gap", "atom_bond_8")
    assert [int(name.split("-")[1]) for name in found.entry_ids] == [i for i in range(30) if i % 3 != 2]
    assert found.X.shape == (20, 512)
    assert found.X.dtype == np.float32
    assert found.X.flags.c_contiguous
    assert (found.unit, found.part, len(found)) == ("eV", None, 20)
    for number, x, y in zip(numbers(found.structure_ids), found.X, found.y, strict=True):
        vectors = vectors_of(number)
        assert np.array_equal(x, np.concatenate([vectors["atom_8"], vectors["bond_8"]]))
        assert y == float(vectors["atom_8"].sum()) + 1


def test_parts_of_a_split_make_up_the_whole(store):
    whole = store.matrix("alpha", "energy", split=RANDOM)
    learnt = store.matrix("alpha", "energy", split=RANDOM, parts=("train", "val"))
    test = store.inputs("alpha", "energy", split=RANDOM, parts=("test",))
    assert set(learnt.part) == {"train", "val"}
    assert set(test.part) == {"test"}
    assert sorted([*learnt.entry_ids, *test.entry_ids]) == sorted(whole.entry_ids)
    chosen = np.isin(whole.entry_ids, learnt.entry_ids)
    assert np.array_equal(whole.X[chosen], learnt.X)
    assert np.array_equal(whole.y[chosen], learnt.y)


def test_inputs_are_the_same_rows_without_targets(store):
    matrix, inputs = store.matrix("beta", "gap"), store.inputs("beta", "gap")
    assert inputs.y is None
    assert np.array_equal(matrix.X, inputs.X)
    assert list(matrix.entry_ids) == list(inputs.entry_ids)
    assert "no targets" in repr(inputs)
    assert "targets in eV" in repr(matrix)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("alpah", "gap"), {}, "unknown dataset 'alpah'.*did you mean 'alpha'"),
        (("alpha", "gpa"), {}, "unknown property 'gpa'.*alpha; did you mean 'gap'"),
        (("alpha", "gap", "atom_9"), {}, "unknown feature set 'atom_9'"),
        (("alpha", "gap"), {"extraction": "x"}, "unknown extraction 'x'"),
        (("alpha", "gap"), {"parts": ("train",)}, "name the split"),
        (
            ("alpha", "gap"),
            {"split": SplitKey("kfold", 0, 3)},
            "no split kfold:0:3 .*random:0.*strata split alpha",
        ),
        (("alpha", "gap"), {"split": RANDOM, "parts": ("tset",)}, "unknown part 'tset'; did you mean 'test'"),
        (("x'; DROP VIEW targets; --", "gap"), {}, "unknown dataset"),
    ],
)
def test_what_is_unknown_is_named(store, arguments, options, says):  # rows 37, 38
    with pytest.raises(StrataError, match=says):
        store.matrix(*arguments, **options)


def test_a_split_may_be_given_as_text(store):
    for text, key in (("random:0", RANDOM), ("random:1:0", SplitKey("random", 1))):
        found, same = (store.matrix("alpha", "gap", split=split, parts=("val",)) for split in (text, key))
        assert found.entry_ids.tolist() == same.entry_ids.tolist() != []
    (batch,) = store.batches("alpha", "gap", split="random:0", parts=("val",))
    inputs = store.inputs("alpha", "gap", split="random:0", parts=("val",))
    assert batch.entry_ids.tolist() == inputs.entry_ids.tolist()


@pytest.mark.parametrize("method", ["matrix", "inputs", "batches"])
def test_a_split_that_is_none_is_refused(store, method):
    with pytest.raises(StrataError, match=r"'random/0' is not scheme:seed .*such as random:0"):
        list(getattr(store, method)("alpha", "gap", split="random/0"))


def test_a_store_is_closed_at_the_end_of_its_block(shared_store):
    with featurestore.open(shared_store) as store:
        known = store.matrix("alpha", "gap")
        connection = store.connection
    assert len(known) == 27
    assert repr(store).endswith("closed)")
    for ask in (
        lambda: store.sql("SELECT 1"),
        lambda: store.matrix("alpha", "gap"),
        lambda: store.near("alpha-0"),
    ):
        with pytest.raises(StrataError, match="is closed; open it again"):
            ask()
    with pytest.raises(duckdb.ConnectionException):
        connection.sql("SELECT 1")
    store.close()  # twice does no harm


def test_a_store_is_closed_after_an_error_too(shared_store):
    with pytest.raises(StrataError, match="unknown dataset"), featurestore.open(shared_store) as store:
        store.matrix("alpah", "gap")
    assert repr(store).endswith("closed)")


@pytest.mark.parametrize("value", ["x'; DROP VIEW entries; --", '"', "../x", "a\0b", "é" * 300])
def test_values_are_bound_not_pasted(store, value):  # row 37
    assert store.sql("SELECT count(*) FROM entries WHERE entry_id = ?", [value]).fetchall() == [(0,)]
    assert store.sql("SELECT count(*) FROM entries").fetchall() == [(70,)]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("CREATE TABLE x (a INT)", "only questions"),
        ("COPY entries TO 'entries.csv'", "only questions"),
        ("ATTACH 'x.duckdb'", "only questions"),
        ("SELECT 1; SELECT 2", "one question at a time"),
        ("", "one question at a time"),
        ("SELEKT 1", "DuckDB: Parser Error"),
        ("SELECT atom_9 FROM features", "DuckDB: Binder Error.*atom_9"),
    ],
)
def test_only_questions_are_answered(store, query, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StrataError, match=says):
        store.sql(query)
    assert not list(tmp_path.iterdir())


def test_a_query_does_not_see_the_programs_variables(store):
    entriez = [{"a": 1}]  # noqa: F841 - DuckDB would find it by its name
    with pytest.raises(StrataError, match="entriez"):
        store.sql("SELECT * FROM entriez")


def test_vectors_by_id(store):
    found = store.vectors([structure_id(4), structure_id(41)], "angle_4")
    assert np.array_equal(found, np.stack([vectors_of(4)["angle_4"], vectors_of(41)["angle_4"]]))
    with pytest.raises(StrataError, match=r"1 structures have no vectors.*strata extract"):
        store.vectors([structure_id(4), structure_id(400)])


def test_structures_by_id(store):
    pytest.importorskip("core.structure")
    first, second = store.structures([structure_id(45), structure_id(3)])
    assert (first.frac_coords == [[0, 0, 0.045]]).all()
    assert (second.lattice == 3 * np.eye(3)).all()
    assert list(second.numbers) == [14]
    with pytest.raises(StrataError, match="has no structure 'nope'"):
        store.structures(["nope"])


def test_what_is_missing_is_neither_there_nor_rejected(tmp_path):
    add_dataset(tmp_path, "b", [5, 6, 7])
    add_dataset(tmp_path, "a", [9, 7, 9])
    add_features(tmp_path, [6], rejects=[Reject(structure_id(9), "too_large", "")])
    store = featurestore.open(tmp_path)
    assert numbers(store.missing(EXTRACTION)["structure_id"].to_pylist()) == [7, 5]
    assert numbers(store.missing("other")["structure_id"].to_pylist()) == [9, 7, 5, 6]
    assert numbers(store.missing("other", ["b"])["structure_id"].to_pylist()) == [5, 6, 7]
    assert store.missing(EXTRACTION)["n_atoms"].to_pylist() == [1, 1]


def test_entries_without_vectors_are_an_error(tmp_path):
    add_dataset(tmp_path, "a", [1, 2, 3], properties=["energy"])
    add_features(tmp_path, [1, 3])
    with pytest.raises(
        StrataError,
        match=r"1 structures have no vectors by synthetic under extraction .*strata extract synthetic",
    ):
        featurestore.open(tmp_path).matrix("a", "energy")


def test_rejected_entries_are_left_out(tmp_path):
    add_dataset(tmp_path, "a", [1, 2, 3], properties=["energy"])
    add_features(tmp_path, [1, 3], rejects=[Reject(structure_id(2), "too_large", "")])
    assert list(featurestore.open(tmp_path).matrix("a", "energy").entry_ids) == ["a-0", "a-2"]


def test_of_two_extractions_the_one_asked_for_last_is_meant(store_root):  # row 10
    add_features(store_root, range(50), "fedcba9876543210", seed=1)
    store = featurestore.open(store_root)
    kept = store.extractions().to_pylist()
    assert {row["extraction_id"]: row["is_current"] for row in kept} == {
        EXTRACTION: False,
        "fedcba9876543210": True,
    }
    two = store.matrix("alpha", "energy", "atom_8")
    assert two.extraction_id == "fedcba9876543210"
    assert np.array_equal(two.X[0], vectors_of(0, seed=1)["atom_8"])
    one = store.matrix("alpha", "energy", "atom_8", extraction=EXTRACTION)
    assert one.extraction_id == EXTRACTION
    assert np.array_equal(one.X[0], vectors_of(0)["atom_8"])


def test_without_vectors_it_is_said_how_to_get_them(tmp_path):
    add_dataset(tmp_path, "a", [1, 2])
    with pytest.raises(StrataError, match="no vectors yet; run: strata extract"):
        featurestore.open(tmp_path).matrix("a", "energy")


@pytest.mark.parametrize("kind", [f"features/{SOURCE}", "entries/alpha", "targets/beta"])
def test_a_deleted_shard_is_an_error_never_fewer_rows(store_root, kind):  # row 9
    snapshot(store_root / kind).paths[0].unlink()
    with pytest.raises(StrataError, match="is missing"):
        featurestore.open(store_root)


def test_an_open_store_does_not_change_under_its_reader(store_root):  # row 6
    store = featurestore.open(store_root)
    add_dataset(store_root, "gamma", range(5))
    assert store.datasets() == ["alpha", "beta"]
    assert store.sql("SELECT count(*) FROM entries").fetchall() == [(70,)]
    assert featurestore.open(store_root).datasets() == ["alpha", "beta", "gamma"]


def test_a_store_can_be_opened_as_it_was(store_root):
    versions = [featurestore.open(store_root, at=n) for n in (0, 1, 3, 6)]
    assert [store.datasets() for store in versions] == [[], [], ["alpha"], ["alpha", "beta"]]
    assert versions[3].version == 6
    with pytest.raises(StrataError, match="versions 0 to 15; there is no version 99"):
        featurestore.open(store_root, at=99)


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
def test_batches_are_the_matrix_in_pieces(store, size):
    whole = store.matrix("alpha", "gap", "atom_bond_8", split=RANDOM, parts=("train", "test"))
    pieces = list(
        store.batches("alpha", "gap", "atom_bond_8", split=RANDOM, parts=("train", "test"), size=size)
    )
    assert [len(piece) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    for name in ("X", "y", "entry_ids", "structure_ids", "part"):
        assert np.array_equal(
            np.concatenate([getattr(piece, name) for piece in pieces]), getattr(whole, name)
        )


def test_a_batch_holds_something(store):
    with pytest.raises(StrataError, match="one row at least, got size 0"):
        next(store.batches("alpha", "gap", size=0))


def test_a_question_asked_again_gives_the_same_rows(store_root):
    opened = featurestore.open(store_root)
    first = opened.matrix("alpha", "gap", "atom_1")
    for depth in range(9):  # more questions than are remembered
        for seed in (0, 1):
            for part in ("train", "val", "test"):
                opened.matrix("alpha", "gap", f"atom_{depth}", split=SplitKey("random", seed), parts=(part,))
    again = opened.matrix("alpha", "gap", "atom_1")
    assert np.array_equal(first.X, again.X)
    assert list(first.entry_ids) == list(again.entry_ids)


def test_all_vectors_of_a_dataset_or_of_all(store):
    ids, vectors = store.all_vectors("atom_8", dataset="beta")
    assert sorted(numbers(ids.to_pylist())) == list(range(30, 50))
    assert np.array_equal(vectors[3], vectors_of(numbers(ids.to_pylist())[3])["atom_8"])
    assert len(store.all_vectors()[0]) == 50


def test_opening_reads_no_page_of_any_shard(store_root):
    """A store opens, whatever its size, by its logs and the ends of its shards; damage inside shows later."""
    for path in store_root.rglob("*.parquet"):
        if path.parent.parent.name == "extractions":
            continue  # a row that says which columns there are
        whole = bytearray(path.read_bytes())
        footer = 8 + int.from_bytes(whole[-8:-4], "little")
        path.write_bytes(bytes(len(whole) - footer) + whole[-footer:])
    store = featurestore.open(store_root)
    assert store.datasets() == ["alpha", "beta"]
    with pytest.raises(StrataError, match="the shard is corrupt"):
        store.vectors([structure_id(1)])
    with pytest.raises(StrataError, match="the shard is corrupt"):
        store.structures([structure_id(1)])


def test_structures_come_in_the_order_asked_for_with_the_first_datasets_floats(tmp_path):
    add_dataset(tmp_path, "alpha", [3, 1])
    add_dataset(tmp_path, "beta", [1, 2])
    add_features(tmp_path, [1, 2, 3])
    store = featurestore.open(tmp_path)
    found = store.structures([structure_id(number) for number in (2, 1, 3, 1)])
    assert [structure.frac_coords[0, 2] for structure in found] == [0.002, 0.001, 0.003, 0.001]
    assert store.structures([]) == []
    with pytest.raises(StrataError, match=f"has no structure '{structure_id(9)}'"):
        store.structures([structure_id(1), structure_id(9)])
