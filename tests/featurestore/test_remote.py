import hashlib

import pytest

import featurestore
from core.errors import StrataError
from featurestore.remote import ask, pull
from featurestore.tables import log, maintenance
from featurestore.tables.log import Entry, Shard, snapshot
from tests.stores import SOURCE, add_dataset, small_store

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def far(shared_store):
    """The small store, somewhere that only fsspec reaches."""
    files = fsspec.filesystem("memory")
    files.put(str(shared_store), "/bucket/store", recursive=True)
    yield "memory://bucket/store"
    files.rm("/bucket", recursive=True)


def test_a_store_is_asked_where_it_lies(far, shared_store):
    query = "SELECT dataset, count(*), sum(value) FROM targets GROUP BY ALL ORDER BY ALL"
    near = featurestore.open(shared_store)
    with ask(far) as connection:
        assert connection.sql(query).fetchall() == near.sql(query).fetchall()
        vector = "SELECT atom_8 FROM features ORDER BY structure_id LIMIT 1"
        assert connection.sql(vector).fetchall() == near.sql(vector).fetchall()
        assert connection.sql("SELECT count(*) FROM structures").fetchall() == [(50,)]
    with ask(far, at=3) as connection:
        assert connection.sql("SELECT count(*) FROM entries").fetchall() == [(40,)]


def test_a_copy_is_the_store_and_is_made_once(far, shared_store, tmp_path):
    copied, size = pull(far, tmp_path / "copy")
    assert (copied, size) == (15, maintenance.verify(shared_store).bytes)
    assert not maintenance.verify(tmp_path / "copy").damages
    one, two = (featurestore.open(root).matrix("beta", "gap") for root in (shared_store, tmp_path / "copy"))
    assert (one.X == two.X).all()
    assert pull(far, tmp_path / "copy") == (0, 0)


def test_tables_can_be_chosen(far, tmp_path):
    pull(far, tmp_path / "copy", ("entries", "targets", "features", "extractions"))
    store = featurestore.open(tmp_path / "copy")
    assert len(store.matrix("alpha", "energy")) == 40
    assert store.sql("SELECT count(*) FROM structures").fetchall() == [(0,)]


def test_a_damaged_shard_is_not_copied_and_the_rest_is_kept(far, tmp_path, shared_store):
    files = fsspec.filesystem("memory")
    path = snapshot(shared_store / "features" / SOURCE).paths[2]
    bad = f"/bucket/store/features/{SOURCE}/{path.name}"
    good = files.cat(bad)
    files.pipe(bad, good[:100] + b"\0" + good[101:])
    with pytest.raises(
        StrataError, match=rf"{path.name}: its bytes have SHA-256 [0-9a-f]{{64}}, the log says"
    ):
        pull(far, tmp_path / "copy", ("features",))
    assert not list((tmp_path / "copy").rglob(".tmp-*"))
    assert snapshot(tmp_path / "copy" / "features" / SOURCE).rows == 0
    files.pipe(bad, good)
    assert pull(far, tmp_path / "copy", ("features",))[0] == 2
    files.rm(bad)
    with pytest.raises(StrataError, match="is missing, yet the log names it"):
        pull(far, tmp_path / "other", ("features",))


def test_a_store_that_went_another_way_is_not_overwritten(far, tmp_path):
    small_store(tmp_path / "mine", splits=False)
    with pytest.raises(StrataError, match="separate ways"):
        pull(far, tmp_path / "mine")
    add_dataset(tmp_path / "fresh", "gamma", range(3))
    assert pull(far, tmp_path / "fresh")[0] == 15  # other tables beside it are no matter
    assert featurestore.open(tmp_path / "fresh").datasets() == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize(
    ("url", "says"),
    [("memory://nothing/here", "there is no store"), ("nosuch://x", "cannot be opened")],
)
def test_a_place_without_a_store(url, says):
    with pytest.raises(StrataError, match=says), ask(url):
        pass


def test_a_folder_that_is_no_store():
    files = fsspec.filesystem("memory")
    files.pipe("/plain/readme.txt", b"x")
    with pytest.raises(StrataError, match="is no store"), ask("memory://plain"):
        pass
    files.rm("/plain", recursive=True)


def test_a_log_that_leads_out_of_the_store_is_refused_and_nothing_written(far, tmp_path):
    files = fsspec.filesystem("memory")
    victim = tmp_path / "home" / "victim"
    victim.parent.mkdir()
    victim.write_text("mine")
    content = b"the attacker's"
    sha256 = hashlib.sha256(content).hexdigest()
    shard = Shard({"a": 1}, "../../../home/victim", len(content), sha256, 1)
    entry = log.encode(Entry(1, "x", log.now(), (shard,)))
    files.pipe("/bucket/store/entries/evil/_log/00000001.json", entry)
    files.pipe("/bucket/store/entries/evil/../../../home/victim", content)
    with pytest.raises(
        StrataError, match=r"00000001\.json: this log entry is corrupt .*not the name of a shard"
    ):
        pull(far, tmp_path / "a" / "copy")
    assert victim.read_text() == "mine"
    assert not list(tmp_path.rglob("*.parquet"))
