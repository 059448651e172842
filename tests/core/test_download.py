"""Downloads from a server on this machine that misbehaves in many ways; nothing bad is kept."""

import hashlib
import socket
import subprocess
import sys

import pytest

from core import download
from core.download import Rules, fetch
from core.errors import StrataError
from core.source import Source, read_lock
from tests.download_site import (
    FLIPPED,
    GOOD,
    HASH,
    NAME,
    PAGE,
    RULES,
    around,
    chunked_and_torn,
    drip,
    half,
    kept,
    ranged,
    reply,
    reset,
    silent,
    source,
    torn,
    zip_of,
)

pytest.importorskip("pooch")


def test_a_good_download_is_kept_and_its_hash_recorded(site, cache):
    site.behave(reply(200, GOOD))
    seen = []
    path, sha256 = fetch(source(site), cache, RULES, progress=lambda *facts: seen.append(facts))
    assert (path.read_bytes(), sha256) == (GOOD, HASH)
    assert read_lock(cache) == {NAME: HASH}
    assert kept(cache) == {NAME}
    assert seen[-1] == (NAME, len(GOOD), len(GOOD))
    assert fetch(source(site), cache, RULES) == (path, HASH)
    assert len(site.requests) == 1  # what is there is not asked for again


# kind → (answers, requests that may be made, words of the error, hash known before)
BAD = {
    "404": ([reply(404, PAGE)], 1, "answered 404 Not Found", None),
    "403": ([reply(403, PAGE)], 1, "answered 403 Forbidden", None),
    "429": ([reply(429)], 1, "answered 429", None),
    "410 after a while": ([reply(503), reply(410)], 2, "answered 410 Gone", None),
    "204": ([reply(204, Content_Length=None)], 1, "answered 204", None),
    "500": ([reply(500, b"oh")], 3, "answered 500", None),
    "503": ([reply(503)], 3, "answered 503", None),
    "empty 202": ([reply(202)], 3, "answered 202", None),
    "empty 200": ([reply(200)], 3, "empty", None),
    "time-out": ([silent], 3, "in time", None),
    "too slow": ([drip], 3, "slowly|in time", None),
    "redirects without end": ([around], 4, "redirects", None),
    "page instead of a file": ([reply(200, PAGE)], 1, "no readable .zip.*DOCTYPE", None),
    "half a file, length not told": ([torn(GOOD[:-700], told=False)], 1, "no readable .zip", None),
    "half a file, length not told, known": ([torn(GOOD[:-700], told=False)], 1, f"expects {HASH}", HASH),
    "one bit flipped": ([reply(200, FLIPPED)], 1, f"{hashlib.sha256(FLIPPED).hexdigest()}.*{HASH}", HASH),
    "another file": ([reply(200, zip_of("[1]"))], 1, f"expects {HASH}", HASH),
    "a bit flipped, hash unknown": ([reply(200, FLIPPED)], 1, "no readable .zip", None),
    "not JSON": ([reply(200, zip_of("hello"))], 1, "no readable .zip.*unlike a JSON", None),
    "zip-slip": ([reply(200, zip_of("[]", "../x.json"))], 1, "points outside", None),
    "zip bomb": ([reply(200, zip_of("[" + " " * 3_000_000 + "]"))], 1, "accepted|unpacks", None),
    "too large, told": ([reply(200, GOOD, Content_Length="9000000")], 1, "at most 1,000,000", None),
    "too large, not told": ([reply(200, b"x" * 1_200_000, Content_Length=None)], 1, "more bytes", None),
    "recoded": ([reply(200, GOOD, Content_Encoding="gzip")], 1, "recodes", None),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_downloads_are_not_kept_and_not_retried_wrongly(site, cache, kind):
    answers, requests, words, known = BAD[kind]
    site.behave(*answers)
    with pytest.raises(StrataError, match=words) as caught:
        fetch(source(site, sha256=known), cache, RULES)
    assert site.url in str(caught.value)
    assert len(site.requests) == requests
    assert NAME not in kept(cache)
    assert not any(name.startswith("tmp") for name in kept(cache))
    assert read_lock(cache) == {}
    # and afterwards all is well
    site.behave(reply(200, GOOD))
    assert fetch(source(site, sha256=known), cache, RULES)[1] == HASH
    assert kept(cache) == {NAME}


def test_there_are_at_least_twelve_kinds():
    assert len(BAD) >= 12


@pytest.mark.parametrize(
    "answer", [half(), half(None), reset, chunked_and_torn], ids=["told", "unknown", "reset", "chunked"]
)
def test_of_a_torn_download_only_the_part_remains(site, cache, answer):
    site.behave(answer)
    with pytest.raises(StrataError, match=r"3 attempts.*data\.json\.zip\.part is kept"):
        fetch(source(site), cache, RULES)
    assert kept(cache) == {f"{NAME}.part", f"{NAME}.part.json"}
    assert len(site.requests) == 3


def test_a_torn_download_goes_on_where_it_stopped(site, cache):
    site.behave(half(), ranged)
    assert fetch(source(site), cache, RULES)[1] == HASH
    asked = [request.get("Range") for request in site.requests]
    assert asked == [None, f"bytes={len(GOOD) // 2}-"]
    assert kept(cache) == {NAME}


def test_it_goes_on_in_a_later_run_too(site, cache):
    site.behave(half())
    with pytest.raises(StrataError):
        fetch(source(site), cache, Rules(attempts=1))
    site.behave(ranged)
    fetch(source(site), cache, RULES)
    assert site.requests[-1]["Range"] == f"bytes={len(GOOD) // 2}-"


def test_a_file_that_changed_meanwhile_is_begun_anew(site, cache):
    site.behave(half('"v0"'), ranged)  # ranged has v1: it answers with all of it
    assert fetch(source(site), cache, RULES)[1] == HASH
    assert site.requests[1]["If-Range"] == '"v0"'


@pytest.mark.parametrize("validator", [None, 'W/"v1"'])
def test_without_a_strong_validator_it_is_begun_anew(site, cache, validator):
    site.behave(half(validator), reply(200, GOOD))
    assert fetch(source(site), cache, RULES)[1] == HASH
    assert "Range" not in site.requests[1]


@pytest.mark.parametrize(
    "confused",
    [
        reply(416),
        reply(206, GOOD[10:], Content_Range=f"bytes 10-{len(GOOD) - 1}/{len(GOOD)}"),
        reply(206, GOOD),
    ],
    ids=["416", "another range", "no range"],
)
def test_a_server_confused_by_ranges_gets_a_plain_request(site, cache, confused):
    site.behave(half(), confused, reply(200, GOOD))
    assert fetch(source(site), cache, RULES)[1] == HASH
    assert "Range" not in site.requests[2]


def test_a_server_that_recovers(site, cache):
    site.behave(reply(500), reply(202), reply(200, GOOD))
    assert fetch(source(site), cache, RULES)[1] == HASH


def test_the_recorded_hash_is_enforced(site, cache):
    site.behave(reply(200, GOOD))
    path, _ = fetch(source(site), cache, RULES)
    path.unlink()
    site.behave(reply(200, zip_of("[1, 2]")))
    with pytest.raises(StrataError, match=f"SHA256SUMS expects {HASH}; it was removed"):
        fetch(source(site), cache, RULES)
    assert kept(cache) == set()


def test_a_file_that_went_bad_on_disk_is_fetched_again(site, cache):
    site.behave(reply(200, GOOD))
    path, _ = fetch(source(site), cache, RULES)
    path.write_bytes(FLIPPED)
    assert fetch(source(site), cache, RULES)[1] == HASH
    assert path.read_bytes() == GOOD


def test_nobody_there(cache):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
    with pytest.raises(StrataError, match=r"connection failed.*3 attempts"):
        fetch(Source(file=NAME, url=url), cache, RULES)
    assert kept(cache) == set()


def test_addresses_that_are_refused(cache):
    with pytest.raises(StrataError, match="no http"):
        fetch(Source(file="x.zip", url="file:///etc/passwd"), cache, RULES)
    assert not cache.exists()


def test_two_at_once(site, cache):
    cache.mkdir()
    code = (
        "import fcntl, sys, pathlib; handle = open(sys.argv[1], 'a'); fcntl.flock(handle, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    place = str(cache / f".{NAME}.lock")
    with subprocess.Popen(
        [sys.executable, "-c", code, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        site.behave(reply(200, GOOD))
        with pytest.raises(StrataError, match="another process is downloading"):
            fetch(source(site), cache, RULES)
        other.stdin.close()
    assert site.requests == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/x", "http://[::1]/x", "http://10.0.0.1:80/x", "http://localhost/x", "http://0/x"],
)
def test_addresses_of_this_machine_and_its_network(url):
    assert download._is_inward(url)


def test_a_public_address_does_not_lead_into_this_network(site, cache, monkeypatch):
    inward = download._is_inward
    monkeypatch.setattr(download, "_is_inward", lambda url: url != site.url and inward(url))  # no net here
    site.behave(reply(302, Location="/inner"), reply(200, GOOD))
    with pytest.raises(StrataError, match=r"leads to http://127\.0\.0\.1:\d+/inner, which lies on this"):
        fetch(Source(file=NAME, url=site.url), cache, RULES)
    assert len(site.requests) == 1  # it was not asked


def test_ones_own_server_may_redirect(site, cache):
    site.behave(reply(302, Location="/inner"), reply(200, GOOD))
    assert fetch(Source(file=NAME, url=site.url), cache, RULES)[1] == HASH
