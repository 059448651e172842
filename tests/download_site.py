"""A server of downloads on this machine, and the ways in which it misbehaves."""

import hashlib
import io
import json
import random
import socket
import struct
import zipfile

from core.download import Rules
from core.source import LOCK, Source

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


def source(site, **changes):
    return Source.model_validate({"file": NAME, "url": site.url} | changes)


def kept(cache):
    """What lies in the cache besides the lock."""
    return {path.name for path in cache.iterdir()} - {LOCK}
