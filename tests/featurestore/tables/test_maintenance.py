import json
import os
import random
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import featurestore
from core.errors import StrataError
from featurestore import Reject
from featurestore.cli import app
from featurestore.tables import maintenance
from featurestore.tables.log import entry_path, history, snapshot
from featurestore.tables.schema import ENTRIES, features_schema
from featurestore.tables.writer import AGE, TableWriter
from tests.featurestore.committer import ROWS, chunk
from tests.featurestore.tables.test_transactions import commit_both
from tests.stores import (
    CHECKPOINTS,
    COUNTS,
    EXTRACTION,
    OTHER,
    SOURCE,
    add_features,
    add_other_features,
    describe,
    features,
    flip,
    structure_id,
)

FEATURES = features_schema(COUNTS, CHECKPOINTS)


@pytest.fixture
def strata():
    def run(*arguments):
        return CliRunner().invoke(app, ["store", *map(str, arguments)])

    return run


def answers(root):
    """What a user reads: rows of every table in a fixed order, and a matrix."""
    store = featurestore.open(root)
    tables = [
        store.sql(query).fetchall()
        for query in (
            "FROM entries ORDER BY ALL",
            "FROM targets ORDER BY ALL",
            "SELECT structure_id, floats_from FROM structures ORDER BY ALL",
            "FROM splits ORDER BY ALL",
            "FROM rejects ORDER BY ALL",
            "SELECT structure_id, extraction_id, n_bonds, atom_3 FROM features ORDER BY ALL",
        )
    ]
    return tables, store.matrix("beta", "gap").X.tolist()


def test_a_sound_store_has_no_damages(store_root):
    found = maintenance.verify(store_root)
    assert not found.damages
    assert found.shards == featurestore.open(store_root).sql("SELECT count(*) FROM shards").fetchall()[0][0]
    assert found.bytes == sum(path.stat().st_size for path in store_root.rglob("*.parquet"))


def test_every_flipped_byte_is_found_and_its_shard_named(store_root):  # row 7
    shards = sorted(store_root.rglob("*.parquet"))
    moments = random.Random(0)
    for number in range(66):
        path = shards[number % len(shards)]
        whole = path.read_bytes()
        flip(path, moments.randrange(len(whole)), moments.randrange(8))
        (damage,) = maintenance.verify(store_root).damages
        assert damage.table / damage.shard.path == path
        assert "SHA-256" in str(damage)
        path.write_bytes(whole)
    assert not maintenance.verify(store_root).damages


@pytest.mark.parametrize("kept", [0, 3, 8, 0.5, -1])
def test_every_cut_is_found(store_root, kept):  # row 8
    path = snapshot(store_root / "features" / SOURCE).paths[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 if kept == 0.5 else kept])
    (damage,) = maintenance.verify(store_root).damages
    assert damage.shard.path == path.name
    assert f"the log says {len(whole):,}" in damage.what
    with pytest.raises(StrataError, match=path.name):
        featurestore.open(store_root)


def test_a_missing_shard_is_found(store_root):  # row 9
    snapshot(store_root / "entries" / "alpha").paths[0].unlink()
    (damage,) = maintenance.verify(store_root).damages
    assert damage.what == "missing"


def test_repair_drops_the_shard_so_that_its_key_is_computed_again(store_root):  # row 7
    before = answers(store_root)
    folder = store_root / "features" / SOURCE
    bad = snapshot(folder).shards[1]
    flip(folder / bad.path, 5000)
    lost = maintenance.repair(store_root, maintenance.verify(store_root).damages)
    assert lost == {folder: bad.rows}
    assert not maintenance.verify(store_root).damages
    assert history(folder)[-1].operation == "repair"
    missing = featurestore.open(store_root).missing(EXTRACTION)["structure_id"].to_pylist()
    assert missing == [structure_id(n) for n in range(16, 32)]
    with pytest.raises(StrataError, match="no vectors"):
        featurestore.open(store_root).matrix("alpha", "energy")
    add_features(store_root, range(50))  # as extract does: keys that are there are skipped
    assert answers(store_root) == before


def test_a_truncated_shard_can_be_repaired_too(store_root):
    folder = store_root / "targets" / "beta"
    path = snapshot(folder).paths[0]
    path.write_bytes(path.read_bytes()[:-1])
    maintenance.repair(store_root, maintenance.verify(store_root).damages)
    assert snapshot(folder).rows == 0
    assert featurestore.open(store_root).properties("beta") == {}


def test_a_damaged_log_is_not_repaired(store_root):
    entry = min((store_root / "features" / SOURCE / "_log").iterdir())
    entry.write_text(entry.read_text().replace('"rows": 16', '"rows": 15'))
    with pytest.raises(StrataError, match="log entry is corrupt"):
        maintenance.verify(store_root)


def test_require_sound_names_the_first_damage_of_what_is_read(store_root):  # row 40
    maintenance.require_sound(store_root, ("targets", "features"), "alpha")
    flip(snapshot(store_root / "targets" / "beta").paths[0], 100)
    maintenance.require_sound(store_root, ("targets", "features"), "alpha")
    with pytest.raises(StrataError, match=r"targets/beta/.*damaged since.*dvc checkout"):
        maintenance.require_sound(store_root, ("targets", "features"), "beta")


def test_compacting_changes_no_answer_and_old_versions_stay(store_root):
    add_features(store_root, range(60, 64), rejects=[Reject(structure_id(99), "too_large", "1")])
    before, version = answers(store_root), featurestore.open(store_root).version
    changed = maintenance.compact(store_root)
    assert changed == {
        store_root / "features" / SOURCE: (4, 1),
        store_root / "splits" / "alpha": (2, 1),
        store_root / "splits" / "beta": (2, 1),
    }
    assert answers(store_root) == before
    assert set(snapshot(store_root / "features" / SOURCE).by_key) == {
        f"{EXTRACTION}-{n}" for n in (0, 16, 32, 48)
    }
    assert featurestore.open(store_root, at=version).sql("SELECT count(*) FROM shards").fetchall() != [(0,)]
    assert maintenance.compact(store_root) == {}
    assert not maintenance.verify(store_root).damages


def test_compacting_keeps_to_the_size_and_to_one_provenance(tmp_path):
    add_features(tmp_path, range(10), chunk=2)
    add_features(tmp_path, range(10), "other", chunk=5)
    maintenance.compact(tmp_path, rows=6)
    assert [
        (shard.rows, shard.provenance["extraction_id"])
        for shard in snapshot(tmp_path / "features" / SOURCE).shards
    ] == [
        (5, "other"),
        (5, "other"),
        (6, EXTRACTION),
        (4, EXTRACTION),
    ]
    with pytest.raises(StrataError, match="one row at least"):
        maintenance.compact(tmp_path, rows=0)


def test_each_source_models_table_is_joined_by_its_own_columns(tmp_path):
    add_features(tmp_path, range(20))
    add_other_features(tmp_path, range(20))
    maintenance.compact(tmp_path)
    for source in (SOURCE, OTHER):
        (shard,) = snapshot(tmp_path / "features" / source).shards
        assert shard.rows == 20
    asked = "SELECT count(pair_1), count(site_0) FROM features_other"
    assert featurestore.open(tmp_path).sql(asked).fetchall() == [(20, 20)]


def test_a_committed_key_is_skipped_after_compacting(store_root):
    maintenance.compact(store_root)
    with TableWriter(store_root / "features" / SOURCE, FEATURES, "extract") as writer:
        assert not writer.commit(f"{EXTRACTION}-16", features(range(16, 32)))


def test_retain_keeps_the_rows_and_rejects_of_the_named_keys_of_a_joined_shard(tmp_path, assert_sound):
    folder = tmp_path / "entries" / "x"
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        for number, rejects in enumerate([2, 0, 1]):
            writer.commit(
                str(number), chunk(number), [Reject(f"{number}-{i}", "empty", "") for i in range(rejects)]
            )
    maintenance.compact(tmp_path)
    (joined,) = snapshot(folder).shards
    assert joined.keys == {"0": ROWS, "1": ROWS, "2": ROWS}
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.retain(["0", "1", "2"])
        assert len(history(folder)) == 4  # nothing to drop: no entry
        writer.retain(["2", "0"])
        assert set(writer.committed) == {"0", "2"}
    found = snapshot(folder)
    assert len(history(folder)) == 5
    assert [reject.entry_id for reject in found.rejects] == ["0-0", "0-1", "2-0"]
    names = [f"{number}-{i}" for number in (0, 2) for i in range(ROWS)]
    from featurestore.tables.vectors import read_columns

    assert read_columns(found.paths[0], ["entry_id"])["entry_id"].to_pylist() == names
    with TableWriter(folder, ENTRIES, "ingest") as writer:
        writer.retain(["2"])
    assert [reject.entry_id for reject in snapshot(folder).rejects] == ["2-0"]
    maintenance.gc(tmp_path, 0)
    assert assert_sound(folder).rows == ROWS


def test_a_damaged_shard_is_not_joined(store_root):
    flip(snapshot(store_root / "features" / SOURCE).paths[0], 3000)
    with pytest.raises(StrataError, match="not what was committed"):
        maintenance.compact(store_root)
    assert len(snapshot(store_root / "features" / SOURCE).shards) == 4


def test_gc_removes_the_past_and_says_so_to_who_asks_for_it(store_root):
    version = featurestore.open(store_root).version
    maintenance.compact(store_root)
    featurestore.open(store_root, cache=True).matrix("alpha", "gap")
    before = answers(store_root)
    files, freed = maintenance.gc(store_root, 0)
    assert files == 8
    assert freed > 50 * 23 * 1024
    assert answers(store_root) == before
    assert not list((store_root / ".cache").iterdir())
    with pytest.raises(
        StrataError, match=rf"at version {version}: `strata store gc` of .* removed shards of"
    ):
        featurestore.open(store_root, at=version)
    assert maintenance.gc(store_root, 0) == (0, 0)


@pytest.mark.parametrize("step", ["shard_renamed", "entry_linked", "collecting"])
def test_killed_in_maintenance_the_store_is_whole(store_root, start, step):  # rows 1, 2
    before = answers(store_root)
    code = f"""
from featurestore.tables import maintenance
maintenance.compact({str(store_root)!r})
maintenance.gc({str(store_root)!r}, 0)
"""
    process = start("-c", code, STRATA_FAILPOINT=step)
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert answers(store_root) == before
    maintenance.compact(store_root)
    maintenance.gc(store_root, 0)
    assert answers(store_root) == before
    assert len(list((store_root / "features" / SOURCE).glob("*.parquet"))) == 1


def test_maintenance_waits_for_no_one(store_root):  # row 5
    with (
        TableWriter(store_root / "features" / SOURCE, FEATURES, "extract", alone=True),
        pytest.raises(StrataError, match="is being written by process"),
    ):
        maintenance.compact(store_root)


def test_a_place_without_a_store(tmp_path):
    with pytest.raises(StrataError, match="there is no store at"):
        maintenance.verify(tmp_path / "store")


def test_the_commands(store_root, strata):
    assert "15 of 15 shards" in strata("verify", "--store", store_root).output
    bad = snapshot(store_root / "features" / SOURCE).shards[2]
    flip(store_root / "features" / SOURCE / bad.path, 77)
    told = strata("verify", "--store", store_root)
    assert bad.path in told.output
    assert isinstance(told.exception, StrataError)
    assert "14 of 15 shards" in str(told.exception)
    told = strata("verify", "--repair", "--store", store_root)
    assert f"dropped 16 rows from {store_root / 'features' / SOURCE}" in told.output
    add_features(store_root, range(50))
    assert "4 shards, now 1" in strata("compact", "--store", store_root).output
    assert "nothing to join" in strata("compact", "--store", store_root).output
    assert "removed 8 shards" in strata("gc", "--older-than", 0, "--store", store_root).output
    assert "15 of" not in strata("verify", "--store", store_root).output


def test_the_environment_stands_beside_the_extraction(tmp_path):
    for torch in ("2.4", "2.13"):
        provenance = {
            "extraction_id": "e",
            "source_model": SOURCE,
            "torch": torch,
            "numpy": "2",
            "platform": "P",
        }
        with TableWriter(tmp_path / "features" / SOURCE, FEATURES, "extract") as writer:
            writer.commit(torch, features([len(torch)], "e"), provenance=provenance)
    describe(tmp_path, "e")
    (row,) = featurestore.open(tmp_path).extractions().to_pylist()
    assert row["environments"] == ["torch 2.13, numpy 2, platform P", "torch 2.4, numpy 2, platform P"]
    assert json.loads(row["provenance"])["extraction_id"] == "e"
    assert np.isclose(row["structures"], 2)


def test_a_log_whose_newest_entry_is_gone_is_reported(store_root, strata):
    folder = store_root / "targets" / "alpha"
    (path,) = snapshot(folder).paths
    entry_path(folder, 1).unlink()
    long_ago = time.time() - 2 * AGE
    os.utime(path, (long_ago, long_ago))
    found = maintenance.verify(store_root)
    assert not found.damages
    assert (found.strays, found.young) == ((path,), ())
    told = strata("verify", "--store", store_root)
    assert f"{path}: no log entry names it" in told.output
    assert "entries of a log may be lost" in str(told.exception)


def test_what_another_writer_is_about_to_commit_is_no_damage(store_root, strata):
    path = store_root / "targets" / "alpha" / f"{'0' * 64}.parquet"
    path.write_bytes(b"not named yet")
    found = maintenance.verify(store_root)
    assert (found.strays, found.young) == ((), (path,))
    told = strata("verify", "--store", store_root)
    assert told.exit_code == 0
    assert f"{path}: no log entry names it yet" in told.output
    assert "15 of 15 shards" in told.output
    assert maintenance.verify(store_root, older_than=0).strays == (path,)


def test_a_transaction_that_lacks_a_member_is_reported(tmp_path, strata):
    commit_both(tmp_path, 0)
    entry_path(tmp_path / "entries" / "x", 1).unlink()
    (lost,) = maintenance.verify(tmp_path).lost
    assert "structures/x/_log/00000001.json counts on entries of other tables" in lost
    told = strata("verify", "--store", tmp_path)
    assert "counts on entries of other tables" in told.output
    assert isinstance(told.exception, StrataError)
