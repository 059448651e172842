"""What an object store is asked, and what becomes of its answers, lost ones too."""

import pytest

from core.errors import StrataError
from featurestore.tables.address import located
from featurestore.tables.log import LOG, history, snapshot
from featurestore.tables.places import storage_of
from featurestore.tables.schema import ENTRIES
from featurestore.tables.storage import LOCAL
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import chunk

LOST = ("drop", "error_after", "broken", "busy")


@pytest.fixture
def folder(bucket):
    return located("s3://vectors/store/entries/x")


def test_a_name_is_taken_once(folder):
    storage = storage_of(folder)
    assert storage.put_if_absent(folder / "a", b"one")
    assert not storage.put_if_absent(folder / "a", b"two")
    assert storage.read(folder / "a") == b"one"
    assert storage.names(folder) == ["a"]
    assert storage.is_folder(folder)
    storage.delete(folder / "a")
    storage.delete(folder / "a")
    assert not storage.exists(folder / "a")
    assert not storage.is_folder(folder)
    with pytest.raises(FileNotFoundError):
        storage.read(folder / "a")


@pytest.mark.parametrize("trouble", LOST)
@pytest.mark.parametrize("times", [1, 3])  # by the client's own repeats, and by ours
def test_a_put_whose_answer_was_lost_counts_as_ours(bucket, folder, trouble, times, monkeypatch):
    storage = storage_of(folder)
    monkeypatch.setattr("featurestore.tables.bucket.time.sleep", lambda _: None)
    if times > 1:
        patient(storage, monkeypatch)
    bucket.trouble.only, bucket.trouble.ahead = ("PUT",), [trouble] * times
    assert storage.put_if_absent(folder / "a", b"mine")
    assert not storage.put_if_absent(folder / "a", b"another's")
    assert storage.read(folder / "a") == b"mine"


def patient(storage, monkeypatch):
    """Let the client repeat nothing, so that our own repeats are what is tested."""
    import obstore.store

    client = obstore.store.from_url(
        "s3://vectors", client_options={"allow_http": True}, retry_config={"max_retries": 0}
    )
    monkeypatch.setattr(storage, "_client", client)


@pytest.mark.parametrize("trouble", LOST)
def test_a_commit_under_trouble_is_there_once(bucket, folder, trouble):
    with TableWriter(folder, ENTRIES, "test") as writer:
        bucket.trouble.ahead = [trouble, "", trouble]
        assert writer.commit("a", chunk(0))
        bucket.trouble.only, bucket.trouble.ahead = ("PUT",), [trouble] * 4
        assert writer.commit("b", chunk(1))
        assert not writer.commit("b", chunk(1))
    assert [len(entry.added) for entry in history(folder)] == [1, 1]
    assert sum(name.endswith(".parquet") for name in bucket.names()) == 2


def test_two_writers_of_one_table_both_succeed(folder):
    with TableWriter(folder, ENTRIES, "one") as one, TableWriter(folder, ENTRIES, "two") as two:
        assert one.commit("a", chunk(0))
        assert two.commit("b", chunk(1))
        assert not one.commit("b", chunk(1))
        one.retain(["b"])
    assert set(snapshot(folder).by_key) == {"b"}
    assert len(history(folder)) == 3


def test_a_large_object_goes_in_parts_and_comes_back_whole(bucket, folder):
    content = bytes(range(256)) * 50_000
    bucket.trouble.only, bucket.trouble.ahead = ("POST",), ["", "drop"]  # the answer to its end is lost
    sink = storage_of(folder).put_hashed(folder, lambda file: file.write(content), len(content))
    path = folder / f"{sink.sha256}.parquet"
    assert storage_of(folder).sha256(path) == sink.sha256
    assert storage_of(folder).size(path) == len(content)
    assert any("partNumber" in path for _, path, _ in bucket.requests)


def test_a_folder_of_many_names_is_listed_whole(folder):
    storage = storage_of(folder)
    names = {f"{number:03d}" for number in range(120)}  # a page of the server has fifty
    storage.each(lambda name: storage.put_if_absent(folder / name, b""), names)
    assert set(storage.names(folder)) == names == set(storage.sizes(folder))
    assert storage.folders(folder.parent) == ["x"]


def test_ages_are_by_the_servers_clock(bucket, folder):
    storage = storage_of(folder)
    storage.put_if_absent(folder / "a", b"")
    bucket.age("store/entries/x/a", 7200)
    assert 7190 < storage.clock(folder) - storage.modified(folder)["a"] < 7300
    assert storage.names(folder) == ["a"]  # the question left nothing


def test_a_table_is_there_before_its_first_commit(bucket, folder):
    with TableWriter(folder, ENTRIES, "test"):
        assert storage_of(folder).is_folder(folder / LOG)
    assert snapshot(folder).version == 0
    assert bucket.names() == ["store/entries/x/_log/.table"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://nowhere/store", "there is no bucket s3://nowhere"),
        ("s3://forbidden/store", "no permission"),
        ("s3://readonly/store", "no permission"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_computed(bucket, address, says):
    with pytest.raises(StrataError, match=says) as caught:
        TableWriter(located(address) / "entries" / "x", ENTRIES, "test").__enter__()
    assert "not-a-secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_named(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("featurestore.tables.bucket._TRIES", 1)
    monkeypatch.setattr("featurestore.tables.bucket._RETRIES", 0)
    with pytest.raises(StrataError, match="s3://vectors/a: the object store did not do what was asked"):
        storage_of(located("s3://vectors/a")).read(located("s3://vectors/a"))


def test_without_the_extra_the_error_says_how_to_install_it(bucket, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    monkeypatch.setenv("AWS_REGION", "elsewhere")  # a bucket that was not opened before
    with pytest.raises(StrataError, match=r"pip install 'strata\[bucket\]'"):
        storage_of(located("s3://vectors/store"))


def test_a_path_of_this_machine_needs_no_object_store(tmp_path):
    assert storage_of(tmp_path) is LOCAL


def test_a_models_folder_goes_and_comes_back(bucket, tmp_path, monkeypatch):
    folder = located("s3://vectors/store/runs/x/models/one")
    folder.mkdir(parents=True)
    for name in ("SHA256SUMS", "head.json", "more/arrays"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    storage_of(folder).keep_folder(folder)
    (folder / "more" / "arrays").unlink()
    storage_of(folder).keep_folder(folder)  # made anew, with a file fewer
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path / "another machine"))
    elsewhere = located("s3://vectors/store/runs/x/models/one")
    storage_of(elsewhere).fetch_folder(elsewhere)
    assert {path.name for path in elsewhere.rglob("*")} == {"SHA256SUMS", "head.json"}
    before = len(bucket.requests)
    storage_of(elsewhere).fetch_folder(elsewhere)
    assert len(bucket.requests) == before + 1  # the list of hashes alone
    for key in bucket.names():
        del bucket.objects[f"vectors/{key}"]
    storage_of(elsewhere).fetch_folder(elsewhere, anew=True)  # as `verify` does
    assert not [path for path in elsewhere.rglob("*") if path.is_file()]
