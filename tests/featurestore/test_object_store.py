"""A whole store in an object store: what it answers, who looks after it, and what a storm leaves of it."""

import json
import shutil

import pytest

import featurestore
from core.checksums import changed_in
from core.errors import StrataError
from core.params import parse
from featurestore import current
from featurestore.query import pointer
from featurestore.splits.schemes import split_dataset
from featurestore.tables import maintenance
from featurestore.tables.address import folder_of_all, located
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import LOG, history, snapshot
from featurestore.tables.models import model_folder
from featurestore.tables.places import storage_of
from featurestore.tables.schema import ENTRIES
from featurestore.tables.transactions import Together
from featurestore.tables.writer import TableWriter
from heads.fit import fit
from tests.featurestore.bucket_storm import storm
from tests.featurestore.committer import chunk
from tests.object_store import Trouble
from tests.stores import SOURCE, add_dataset, add_features, small_store

ADDRESS = "s3://vectors/team/store"
QUESTIONS = (
    "SELECT * FROM entries ORDER BY ALL",
    "SELECT * FROM targets ORDER BY ALL",
    "SELECT structure_id, atom_8 FROM features ORDER BY ALL",
    'SELECT "table", sum(rows), count(*) FROM shards GROUP BY ALL ORDER BY ALL',
    'SELECT "table", operation, rows_added FROM log ORDER BY n',
)


def test_it_answers_as_a_local_one_does(bucket, shared_store):
    small_store(ADDRESS)
    shutil.rmtree(folder_of_all())  # as on another machine
    with featurestore.open(ADDRESS, files=False) as far, featurestore.open(shared_store) as near:
        for question in QUESTIONS:
            assert far.sql(question).fetchall() == near.sql(question).fetchall()
        ours, theirs = (one.matrix("beta", "gap", split="random:0") for one in (far, near))
        assert (ours.X == theirs.X).all()
        assert (ours.y == theirs.y).all()
        assert repr(far).startswith("FeatureStore('s3://vectors/team/store', version ")
        with pytest.raises(StrataError, match=r"DuckDB: .*permission|Permission"):
            far.sql("SELECT * FROM read_parquet('s3://vectors/another/x.parquet')")


def test_it_is_looked_after(bucket):
    small_store(ADDRESS)
    root = located(ADDRESS)
    assert maintenance.compact(ADDRESS)
    before = len(bucket.names())
    assert maintenance.gc(ADDRESS)[0] == 0  # what became garbage is young
    for key in bucket.names():
        bucket.age(key, 7200)
    maintenance.compact(ADDRESS)
    gone, _ = maintenance.gc(ADDRESS)
    assert gone > 0
    # each table in which there was something has one more entry, that of gc
    assert sum(name.endswith(".parquet") for name in bucket.names()) == sum(
        len(snapshot(folder).shards) for _, folder in maintenance.tables_of(ADDRESS)
    )
    assert len(bucket.names()) < before
    assert not maintenance.verify(ADDRESS).damages
    held = next(one for key, one in bucket.objects.items() if "/features/" in key and key.endswith("parquet"))
    held.content = held.content[:-200] + bytes([held.content[-200] ^ 1]) + held.content[-199:]
    (damage,) = maintenance.verify(ADDRESS).damages  # whatever the copy here says
    assert "SHA-256" in damage.what
    assert maintenance.repair(ADDRESS, [damage])[damage.table] == damage.shard.rows
    assert not maintenance.verify(ADDRESS).damages
    assert StoreLayout(root).tables("features")


def test_a_lost_shard_is_found_at_opening(bucket):
    small_store(ADDRESS)
    del bucket.objects[next(key for key in bucket.objects if "/targets/" in key and key.endswith("parquet"))]
    with pytest.raises(StrataError, match=r"\.parquet is missing: the log names it"):
        featurestore.open(ADDRESS)


def test_a_transaction_is_seen_whole_though_its_second_table_was_empty(bucket):
    layout = StoreLayout(located(ADDRESS))
    with (
        TableWriter(layout.entries("a"), ENTRIES, "test", alone=True) as one,
        TableWriter(layout.entries("b"), ENTRIES, "test", alone=True) as two,
    ):
        with Together(one, two):
            one.commit("k", chunk(0))
            two.commit("k", chunk(0))
        assert len(history(layout.entries("a"))) == 1
        # as it was between the two entries
        del bucket.objects["vectors/team/store/entries/b/_log/00000001.json"]
        assert storage_of(layout.root).is_folder(layout.entries("b") / LOG)
        assert snapshot(layout.entries("a")).rows == 0


def test_an_older_state_is_opened_by_a_pointer(bucket, tmp_path):
    small_store(ADDRESS)
    ask = "SELECT count(*), count(DISTINCT seed) FROM splits"
    with featurestore.open(ADDRESS) as store:
        before = store.sql(ask).fetchall()
        pointer.write(store.path, {t.snapshot.folder: t.snapshot for t in store._tables}, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["store"] == ADDRESS
    split_dataset(ADDRESS, "beta", ["random"], [0, 1, 2, 3])
    with featurestore.open(ADDRESS) as now, featurestore.open(ADDRESS, str(tmp_path / "a.json")) as then:
        assert now.sql(ask).fetchall() != before
        assert then.sql(ask).fetchall() == before


def test_a_stage_keeps_its_models_there(bucket, shared_store, tmp_path, monkeypatch):
    small_store(ADDRESS)
    local = shutil.copytree(shared_store, tmp_path / "store")
    asked = {
        "heads": ["ridge"],
        "feature_sets": ["last"],
        "composition": None,
        "workers": 0,
        "committee": None,
    }
    params = parse({"extract": {"source_models": [SOURCE]}, "fit": asked})
    for root in (ADDRESS, local):
        fit("beta", params, root)
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path / "another machine"))
    asked = "SELECT run_id, model_path, model_sha256, val_mae FROM runs ORDER BY run_id"
    with featurestore.open(ADDRESS) as far, featurestore.open(local) as near:
        ours, theirs = (store.sql(asked).fetchall() for store in (far, near))
        assert ours == theirs
        folder = model_folder(far.path, ours[0][1])
        assert changed_in(folder, ours[0][2]) is None
    assert current.read(StoreLayout(located(ADDRESS)).runs("beta")) == {row[0] for row in ours}
    found = maintenance.verify(ADDRESS)
    assert (found.models, found.damaged_models) == (len(ours), ())
    held = next(one for key, one in bucket.objects.items() if key.endswith(f"{ours[0][0]}/head.json"))
    held.content = held.content.replace(b"1", b"2", 1)
    assert [damaged.run_id for damaged in maintenance.verify(ADDRESS).damaged_models] == [ours[0][0]]


def run(bucket, tmp_path, **settings):
    scratch = tmp_path / "storm"
    scratch.mkdir()
    found = storm("s3://vectors/store", scratch, **settings)
    assert (found.lost, found.doubled, found.torn_reads, found.damaged) == (0, 0, 0, 0), found
    assert found.equal
    return found


def test_writers_killed_on_a_server_that_misbehaves_leave_what_one_would(bucket, tmp_path):
    bucket.trouble = Trouble(drop=0.03, error_after=0.02, broken=0.02, busy=0.02, delay=0.05, seed=1)
    run(bucket, tmp_path, writers=3, own=2, shared=2, kills=2, cared=False)
    assert sum(bucket.met.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_eight_writers_killed_on_a_server_that_misbehaves_leave_what_one_would(bucket, tmp_path, seed):
    bucket.trouble = Trouble(drop=0.04, error_after=0.02, broken=0.02, busy=0.02, delay=0.1, seed=seed)
    found = run(bucket, tmp_path, writers=8, own=20, shared=12, kills=40, seed=seed)
    assert found.kills > 10
    assert set(bucket.met) == {"drop", "error_after", "broken", "busy", "delay"}


def test_the_plain_path_on_moto(bucket, monkeypatch, tmp_path):
    """Another server's words of the protocol; it checks and then puts, so one writer writes here."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed (extra dev-s3)")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        address = "http://{}:{}".format(*running.get_host_and_port())
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        boto3 = pytest.importorskip("boto3")
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="moto-bucket")
        root = located("s3://moto-bucket/store")
        for place in (root, tmp_path / "store"):
            add_dataset(place, "gamma", range(4), ("energy",))
            add_features(place, range(4), chunk=2)
        with TableWriter(StoreLayout(root).entries("z"), ENTRIES, "test", alone=True) as writer:
            assert writer.commit("a", chunk(0))
            assert not writer.commit("a", chunk(0))
        assert maintenance.compact(root)
        maintenance.gc(root, older_than=0)
        assert not maintenance.verify(root).damages
        with featurestore.open(root) as far, featurestore.open(tmp_path / "store") as near:
            question = "SELECT * FROM targets ORDER BY ALL"
            assert far.sql(question).fetchall() == near.sql(question).fetchall()
            assert (far.matrix("gamma", "energy").X == near.matrix("gamma", "energy").X).all()
    finally:
        running.stop()
