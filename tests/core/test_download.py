"""Downloads from a server on this machine that misbehaves in many ways; nothing bad is kept."""

import hashlib
import io
import json
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core import download
from core.download import Rules, fetch
from core.errors import StrataError
from core.source import LOCK, Source, read_lock

pytest.importorskip("pooch")

NAME = "data.json.zip"
RULES = Rules(attempts=3, backoff=0.0, connect=5, read=0.3, slowest=10_000, max_bytes=1_000_000, redirects=3)


def zip_of(text, member="data.json"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, text)
    return buffer.getvalue()


GOOD = zip_of(json.dumps([{"id": i, "noise": random.Random(i).random()} for i in range(2000)]))
HASH = hashlib.sha256(GOOD).hexdigest()
FLIPPED = GOOD[:500] + bytes([GOOD[500] ^ 1]) + GOOD[501:]
PAGE = b"<!DOCTYPE html><title>Are you human?</title>"


class Site:
    """What the server does; each answer is a function of the handler. Requests are remembered."""

    def __init__(self):
        self.answers = []  # one a request; the last stays
        self.requests = []  # their headers

    def behave(self, *answers):
        self.answers = list(answers)

    def next(self, handler):
        self.requests.append(dict(handler.headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(handler)


def reply(status=200, body=b"", **headers):
    """An answer with a body, its length told unless a header says otherwise; None leaves a header out."""

    def answer(handler):
        handler.send_response(status)
        for key, value in ({"Content_Length": str(len(body))} | headers).items():
            if value is not None:
                handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def torn(body, told=True, **headers):
    """A body that ends before the file does; the file's whole length is told, or none."""
    return reply(200, body, Content_Length=str(len(GOOD)) if told else None, **headers)


def ranged(handler):
    """A server that can go on where it was left, and says what its file is."""
    asked = handler.headers.get("Range")
    if asked is None or handler.headers.get("If-Range") != '"v1"':
        return reply(200, GOOD, ETag='"v1"')(handler)
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    where = f"bytes {start}-{len(GOOD) - 1}/{len(GOOD)}"
    return reply(206, GOOD[start:], Content_Range=where, ETag='"v1"')(handler)


def half(etag='"v1"'):
    return torn(GOOD[: len(GOOD) // 2], ETag=etag)


def reset(handler):
    """Half a body, then the connection is thrown away."""
    half()(handler)
    handler.wfile.flush()
    handler.server.over.wait(0.1)  # the client reads what came: a reset throws away what it has not read
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def silent(handler):
    handler.server.over.wait(2)


def drip(handler):
    reply(200, b"", Content_Length=str(len(GOOD)))(handler)
    for place in range(100):
        handler.wfile.write(GOOD[place : place + 1])
        handler.wfile.flush()
        if handler.server.over.wait(0.05):
            break


def chunked_and_torn(handler):
    reply(200, b"", Content_Length=None, Transfer_Encoding="chunked")(handler)
    handler.wfile.write(b"100\r\n" + GOOD[:256] + b"\r\n200\r\n" + GOOD[256:300])


def around(handler):
    reply(302, b"", Location="/again")(handler)


@pytest.fixture(scope="module")
def server():
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with suppress(BrokenPipeError, ConnectionResetError):  # the client has given up, as it should
                site.next(self)
            self.close_connection = True

        def log_message(self, *_):
            pass

        def finish(self):
            with suppress(OSError, ValueError):
                super().finish()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        over = threading.Event()

        def handle_error(self, *_):
            pass

    with Server(("127.0.0.1", 0), Handler) as running:
        site.url = f"http://127.0.0.1:{running.server_port}/files/1"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield site
        running.over.set()
        running.shutdown()


@pytest.fixture
def site(server):
    server.requests.clear()
    return server


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def source(site, **changes):
    return Source.model_validate({"file": NAME, "url": site.url} | changes)


def kept(cache):
    """What lies in the cache besides the lock."""
    return {path.name for path in cache.iterdir()} - {LOCK}


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


@pytest.fixture
def two_doors(site, monkeypatch):
    """The site as figshare: a door for browsers, and one for scripts; returns what each answers."""
    root = site.url.removesuffix("/files/1")
    monkeypatch.setattr(download, "_FOR_BROWSERS", re.compile(re.escape(root) + r"/files/(\d+)"))
    monkeypatch.setattr(download, "_FOR_SCRIPTS", root + "/v2/file/download/{}")
    asked = []

    def behave(browsers, scripts):
        def answer(handler):
            asked.append(handler.path)
            (browsers if handler.path.startswith("/files/") else scripts)(handler)

        site.behave(answer)
        return asked

    return behave


CHALLENGES = {
    "an empty 202": reply(202),
    "a page with 202": reply(202, PAGE, **{"Content-Type": "text/html"}),
    "a page with 403": reply(403, PAGE),
    "a page with 200": reply(200, PAGE, **{"Content-Type": "text/html; charset=utf-8"}),
}


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_a_server_that_answers_browsers_only_is_asked_at_its_other_door(site, cache, two_doors, challenge):
    asked = two_doors(CHALLENGES[challenge], reply(200, GOOD))
    assert fetch(source(site), cache, RULES)[1] == HASH
    assert asked == ["/files/1", "/v2/file/download/1"]  # the first one once


def test_a_server_that_fails_is_asked_at_its_other_door_in_the_end(site, cache, two_doors):
    asked = two_doors(reply(500), reply(200, GOOD))
    assert fetch(source(site), cache, RULES)[1] == HASH
    assert asked == ["/files/1"] * RULES.attempts + ["/v2/file/download/1"]


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_where_both_doors_are_shut_nothing_is_kept(site, cache, two_doors, challenge):
    two_doors(CHALLENGES[challenge], reply(403, PAGE))
    with pytest.raises(StrataError, match="v2/file/download/1: the server answered 403"):
        fetch(source(site), cache, RULES)
    assert not kept(cache)


def test_what_comes_by_the_other_door_is_checked_as_ever(site, cache, two_doors):
    two_doors(reply(202), reply(200, FLIPPED))
    with pytest.raises(StrataError, match="what came has the SHA-256"):
        fetch(source(site, sha256=HASH), cache, RULES)
    assert not kept(cache)


def test_only_figshare_has_another_door():
    assert download.other_addresses("https://figshare.com/ndownloader/files/7") == [
        "https://api.figshare.com/v2/file/download/7"
    ]
    for url in ("https://example.org/files/7", "https://ndownloader.figshare.com.example.org/files/7"):
        assert download.other_addresses(url) == []
