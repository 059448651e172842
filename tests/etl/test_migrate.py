"""Stores of the older layout, one table for all source models: refused, moved, and the same as before."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from etl.migrate import migrate
from featurestore.tables import log
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Reject
from featurestore.tables.maintenance import verify
from featurestore.tables.schema import features_schema
from featurestore.tables.writer import TableWriter
from tests.stores import CHECKPOINTS, COUNTS, add_dataset, features, structure_id, vectors_of

FIRST, SECOND = "alignn_mp_eform", "mp_e_form_alignn"
ID = {FIRST: "a" * 16, SECOND: "b" * 16}
REJECTED = Reject(structure_id(30), "too_large", "31 atoms are too many")
SCHEMA = features_schema(COUNTS, CHECKPOINTS)


def older(root: Path) -> Path:
    """Write a store as version 0.1 did: shards of two source models in one table, and its log.

    Four steps of the first, one of which says nothing of its source model, one took a shard away, and one
    has rejects only; two of the second.
    """
    add_dataset(root, "alpha", range(31), rejects=[])
    with TableWriter(root / "features", SCHEMA, "extract") as writer:

        def commit(key, source, numbers, rejects=(), seed=0, told=True):
            table = features(numbers, ID[source], seed)
            names = pa.array([source] * len(table), pa.string())
            column = SCHEMA.get_field_index("source_model")
            table = table.set_column(column, SCHEMA.field(column), names)
            facts = {"extraction_id": ID[source], "pooling": "mean", "torch": "2.1"}
            writer.commit(key, table, rejects, facts | ({"source_model": source} if told else {}))

        commit("a1", FIRST, range(10))
        commit("b1", SECOND, range(20), seed=7)
        commit("a2", FIRST, range(10, 20), told=False)
        commit("old", FIRST, range(20, 25), seed=3)
        commit("a3", FIRST, range(20, 30))
        commit("a4", FIRST, [], [REJECTED], told=False)
        commit("b2", SECOND, range(20, 31), seed=7)
        writer.retain({"a1", "a2", "a3", "a4", "b1", "b2"})
    return root


@pytest.fixture
def root(tmp_path) -> Path:
    return older(tmp_path / "store")


def check(root: Path) -> None:
    """All that was kept is there, bit for bit, and nothing else."""
    opened = featurestore.open(root)
    assert list(opened.sources) == [FIRST, SECOND], "the default first"
    assert {name: source.extraction_id for name, source in opened.sources.items()} == ID
    for source, numbers, seed in ((FIRST, range(30), 0), (SECOND, range(31), 7)):
        ids = [structure_id(number) for number in numbers]
        expected = np.stack([np.concatenate([*vectors_of(number, seed).values()]) for number in numbers])
        assert opened.vectors(ids, f"{source}/all").tobytes() == expected.tobytes()
    counts = "SELECT source_model, extraction_id, count(*) FROM stored_features GROUP BY ALL ORDER BY ALL"
    assert opened.sql(counts).fetchall() == [(FIRST, ID[FIRST], 30), (SECOND, ID[SECOND], 31)]
    rejects = "SELECT id, code, message, extraction_id FROM rejects"
    assert opened.sql(rejects).fetchall() == [(*REJECTED, ID[FIRST])]
    layout = StoreLayout(root)
    steps = {name: len(log.history(layout.features(name))) for name in ID}
    assert steps == {FIRST: 6, SECOND: 2}
    assert sorted(path.name for path in (root / "features").iterdir()) == sorted(ID)
    assert verify(root).damages == ()


def test_an_older_store_is_refused_with_the_command_that_helps(root):
    with pytest.raises(StrataError, match=r"made by an earlier version.*strata store migrate"):
        featurestore.open(root)


def test_everything_is_there_afterwards(root):
    before = {path.name: path.read_bytes() for path in (root / "features").glob("*.parquet")}
    said = migrate(root, FIRST)
    assert said == [
        f"{FIRST}: 30 structures under extraction {ID[FIRST]}",
        f"{SECOND}: 31 structures under extraction {ID[SECOND]}",
    ]
    check(root)
    after = {path.name: path.read_bytes() for path in (root / "features").glob("*/*.parquet")}
    assert after == before, "shards are moved as they are, those of the past too"


def test_the_past_can_still_be_read(root):
    migrate(root, FIRST)
    folder = StoreLayout(root).features(FIRST)
    then = log.snapshot(folder, at=3)
    assert [set(shard.keys) for shard in then.shards] == [{"a1"}, {"a2"}, {"old"}]
    then.check()


def test_moments_and_words_of_the_log_are_kept(root):
    before = {e.written_at: e.operation for e in log.history(root / "features")}
    migrate(root, FIRST)
    for name in ID:
        for entry in log.history(StoreLayout(root).features(name)):
            assert before[entry.written_at] == entry.operation


def test_the_other_source_model_may_be_the_default(root):
    migrate(root, SECOND)
    assert featurestore.open(root).default_source == SECOND


def test_a_second_time_does_nothing(root):
    migrate(root, FIRST)
    assert migrate(root, FIRST) == ["nothing to do: each source model has a table of its own already"]
    check(root)


def killed_at(step: str, root: Path) -> None:
    """Migrate in a process that is killed at a step; forked, since what it imports is here already."""

    def run() -> None:
        os.environ["STRATA_FAILPOINT"] = step
        migrate(root, FIRST)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    "step", ["table_written:1", "table_written:2", "committed:1", "tables_moved", "log_retired"]
)
def test_killed_in_the_middle_nothing_is_lost(root, step):
    killed_at(step, root)
    if step != "log_retired":
        with pytest.raises(StrataError, match="strata store migrate"):
            featurestore.open(root)
    migrate(root, FIRST)
    check(root)


def test_a_past_shard_that_was_collected_is_no_hindrance(root):
    live = {shard.path for shard in log.snapshot(root / "features").shards}
    (gone,) = (path for path in (root / "features").glob("*.parquet") if path.name not in live)
    gone.unlink()
    migrate(root, FIRST)
    check(root)


def test_a_shard_that_is_cut_short_stops_it_before_anything_is_moved(root):
    path = log.snapshot(root / "features").paths[0]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StrataError, match="truncated or changed"):
        migrate(root, FIRST)
    assert (root / "features" / "_log").is_dir()
    assert [p for p in (root / "features").iterdir() if p.is_dir()] == [root / "features" / "_log"]


def test_a_folder_that_is_no_store(tmp_path):
    with pytest.raises(StrataError, match="there is no store at"):
        migrate(tmp_path / "nothing", FIRST)
