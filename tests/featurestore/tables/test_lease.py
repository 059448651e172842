"""Who is alone in a table of an object store."""

import json

import pytest

from core.errors import StrataError
from featurestore.tables import lease
from featurestore.tables.address import located
from featurestore.tables.places import storage_of
from featurestore.tables.schema import ENTRIES
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import chunk

KEY = "store/entries/.x.lease"

HOLD = """
import sys
from featurestore.tables.address import located
from featurestore.tables.places import storage_of
folder = located("s3://vectors/store/entries/x")
lease = storage_of(folder).lock(folder, "compact")
lease.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(bucket):
    return located("s3://vectors/store/entries/x")


def taken(folder, operation="fit"):
    one = storage_of(folder).lock(folder, operation)
    one.acquire()
    return one


def test_the_second_is_told_who_holds_it_and_the_third_may_follow(folder):
    first = taken(folder, "extract")
    with pytest.raises(StrataError, match=r"s3://vectors/store/entries/x is being written .*extract, since"):
        taken(folder)
    first.release()
    taken(folder).release()


def test_that_of_a_killed_process_of_this_machine_is_free_at_once(folder, start):
    process = start("-c", HOLD)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StrataError, match=f"process {process.pid} "):
        taken(folder)
    process.kill()
    process.wait()
    taken(folder).release()


def test_that_of_another_machine_ends_when_it_is_not_renewed(bucket, folder, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(lease, "_machine", lambda: "another")
        held = taken(folder)
    with pytest.raises(StrataError, match="its lease ends in"):
        taken(folder)
    bucket.age(KEY, lease.TTL + 1)
    second = taken(folder)
    held.release()  # which is nobody's any more: the second's stays
    assert json.loads(storage_of(folder).read(folder.parent / ".x.lease"))["token"] != "{}"
    second.release()


def test_it_is_renewed_while_it_is_held(bucket, folder, monkeypatch):
    monkeypatch.setattr(lease, "TTL", 0.08)
    held = taken(folder)
    while json.loads(bucket.objects[f"vectors/{KEY}"].content)["renewals"] < 4:
        held._stop.wait(0.01)
    held.release()
    assert bucket.objects[f"vectors/{KEY}"].content == b"{}"


@pytest.mark.parametrize("trouble", ["drop", "error_after"])
def test_one_whose_answer_was_lost_is_ours(bucket, folder, trouble):
    bucket.trouble.only, bucket.trouble.ahead = ("PUT",), [trouble]
    held = taken(folder)
    held.check()
    held.release()
    taken(folder).release()


def test_a_writer_that_stood_still_for_too_long_commits_nothing_more(bucket, folder):
    with TableWriter(folder, ENTRIES, "test", alone=True) as writer:
        writer.commit("a", chunk(0))
        writer._lock._until = 0.0
        with pytest.raises(StrataError, match="could not be renewed"):
            writer.commit("b", chunk(1))
