"""An object store in this process that speaks as much of S3's protocol as the store needs, for the tests.

A conditional put is atomic here, and the server can misbehave on command: it drops the reply of what it has
done, so that a repeated request meets its own 412, answers 500 or 503, before or after having done what it
was asked, and waits. Which request meets what is drawn from a seed.
"""

import hashlib
import random
import re
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

BUCKET, FORBIDDEN, READ_ONLY = "vectors", "forbidden", "readonly"
PAGE = 50  # names in one answer to a list


@dataclass
class Held:
    """An object: its bytes, and when it was put, in seconds since 1970."""

    content: bytes
    at: float
    tag: str = field(init=False)  # names the content, as S3 does

    def __post_init__(self) -> None:
        self.tag = f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'


@dataclass
class Trouble:
    """How often, of all requests, each misbehaviour comes."""

    drop: float = 0.0  # the request is done, and its reply is lost
    error_after: float = 0.0  # the request is done, and answered by 500
    broken: float = 0.0  # 500, and nothing is done
    busy: float = 0.0  # 503, and nothing is done
    delay: float = 0.0  # up to `seconds`
    seconds: float = 0.05
    seed: int = 0
    only: tuple[str, ...] = ("PUT", "GET", "HEAD", "POST", "DELETE")
    ahead: list[str] = field(default_factory=list)  # what the next requests of `only` meet, before any draw
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def next(self, method: str) -> str | None:
        """Say what the next request meets."""
        if method not in self.only:
            return None
        if self.ahead:
            return self.ahead.pop(0)
        names = ("drop", "error_after", "broken", "busy", "delay")
        number = self._random.random()
        for name in names:
            number -= getattr(self, name)
            if number < 0:
                return name
        return None


class ObjectStore(ThreadingHTTPServer):
    """The server; use it as a context manager, and `url` as the address of its endpoint."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, trouble: Trouble | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.trouble = trouble or Trouble()
        self.objects: dict[str, Held] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.RLock()
        self.latency = 0.0  # seconds before every answer
        self.met: dict[str, int] = {}  # misbehaviour → how often
        self.requests: list[tuple[str, str, int]] = []  # method, path, bytes of the answer

    @property
    def url(self) -> str:
        """Return the address of the endpoint."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which a client finds this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_REGION": "us-east-1",
        }

    def names(self, prefix: str = "") -> list[str]:
        """Return the keys of the bucket, sorted."""
        with self.lock:
            whole = f"{BUCKET}/{prefix}"
            return sorted(key[len(BUCKET) + 1 :] for key in self.objects if key.startswith(whole))

    def age(self, key: str, seconds: float) -> None:
        """Make an object older than it is."""
        self.objects[f"{BUCKET}/{key}"].at -= seconds

    def __enter__(self) -> "ObjectStore":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that were killed in the middle of a request."""


class _Handler(BaseHTTPRequestHandler):
    server: ObjectStore
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client was killed in the middle: nothing of it counts
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        self.key, self.asked = unquote(parts.path).lstrip("/"), parse_qs(parts.query, keep_blank_values=True)
        with self.server.lock:
            met = self.server.trouble.next(self.command)
            if met:
                self.server.met[met] = self.server.met.get(met, 0) + 1
        if self.server.latency:
            time.sleep(self.server.latency)
        if met == "delay":
            time.sleep(random.uniform(0, self.server.trouble.seconds))
        if met in ("broken", "busy"):
            self._fail(*((500, "InternalError") if met == "broken" else (503, "SlowDown")))
            return
        with self.server.lock:
            status, headers, content = self._done(body)
        if met == "drop":
            self.close_connection = True
            return
        if met == "error_after":
            self._fail(500, "InternalError")
            return
        self._reply(status, headers, content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - named by http.server

    def _done(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        bucket, _, key = self.key.partition("/")
        if bucket == FORBIDDEN or (bucket == READ_ONLY and self.command not in ("GET", "HEAD")):
            return 403, {}, _error("AccessDenied")
        if bucket not in (BUCKET, READ_ONLY):
            return 404, {}, _error("NoSuchBucket")
        if self.command == "PUT":
            return self._put(body)
        if self.command == "POST":
            return self._post(body)
        if self.command == "DELETE":
            if "uploadId" in self.asked:
                self.server.uploads.pop(self.asked["uploadId"][0], None)
            else:
                self.server.objects.pop(self.key, None)
            return 204, {}, b""
        return self._get() if key else self._list(bucket)

    def _put(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if "partNumber" in self.asked:
            upload = self.server.uploads.get(self.asked["uploadId"][0])
            if upload is None:
                return 404, {}, _error("NoSuchUpload")
            upload[int(self.asked["partNumber"][0])] = body
            return 200, {"ETag": Held(body, 0).tag}, b""
        there = self.server.objects.get(self.key)
        wanted = self.headers.get("If-Match")
        if (self.headers.get("If-None-Match") == "*" and there) or (
            wanted and (there is None or there.tag != wanted)
        ):
            return 412, {}, _error("PreconditionFailed")
        held = self.server.objects[self.key] = Held(body, time.time())
        return 200, {"ETag": held.tag}, b""

    def _post(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if "uploads" in self.asked:
            name = f"upload-{len(self.server.uploads)}-{random.getrandbits(32)}"
            self.server.uploads[name] = {}
            inner = f"<Bucket>b</Bucket><Key>{escape(self.key)}</Key><UploadId>{name}</UploadId>"
            return 200, {}, _document("InitiateMultipartUploadResult", inner)
        if "uploadId" in self.asked:
            parts = self.server.uploads.pop(self.asked["uploadId"][0], None)
            if parts is None:
                return 404, {}, _error("NoSuchUpload")
            held = Held(b"".join(parts[n] for n in sorted(parts)), time.time())
            self.server.objects[self.key] = held
            inner = f"<Key>{escape(self.key)}</Key><ETag>{escape(held.tag)}</ETag>"
            return 200, {}, _document("CompleteMultipartUploadResult", inner)
        keys = re.findall(r"<Key>(.*?)</Key>", body.decode())  # to be deleted
        for key in keys:
            self.server.objects.pop(f"{self.key.rstrip('/')}/{unescape(key)}", None)
        inner = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        return 200, {}, _document("DeleteResult", inner)

    def _get(self) -> tuple[int, dict[str, str], bytes]:
        held = self.server.objects.get(self.key)
        if held is None:
            return 404, {}, _error("NoSuchKey")
        headers = {"ETag": held.tag, "Last-Modified": formatdate(held.at, usegmt=True)}
        span = self.headers.get("Range")
        if not span:
            return 200, headers, held.content
        first, _, last = span.removeprefix("bytes=").partition("-")
        size = len(held.content)
        start = int(first) if first else max(0, size - int(last))
        stop = min(int(last) + 1, size) if first and last else size
        if start >= size:
            return 416, headers, _error("InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return 206, headers, held.content[start:stop]

    def _list(self, bucket: str) -> tuple[int, dict[str, str], bytes]:
        prefix = self.asked.get("prefix", [""])[0]
        delimiter = self.asked.get("delimiter", [""])[0]
        after = self.asked.get("continuation-token", self.asked.get("start-after", [""]))[0]
        most = min(int(self.asked.get("max-keys", [PAGE])[0]), PAGE)
        inner, folders, last, more = [], set(), "", False
        for whole in sorted(self.server.objects):
            name = whole[len(bucket) + 1 :]
            if not (whole.startswith(f"{bucket}/{prefix}") and name > after):
                continue
            tail = name[len(prefix) :]
            folder = prefix + tail.split(delimiter)[0] + delimiter if delimiter and delimiter in tail else ""
            if folder and (folder in folders or after.startswith(folder)):
                continue
            if len(inner) == most:
                more = True
                break
            last = name
            if folder:
                folders.add(folder)
                inner.append(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>")
                continue
            held = self.server.objects[whole]
            when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(held.at))
            inner.append(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{when}</LastModified>"
                f"<ETag>{escape(held.tag)}</ETag><Size>{len(held.content)}</Size></Contents>"
            )
        if more:
            inner.append(f"<NextContinuationToken>{escape(last)}</NextContinuationToken>")
        head = f"<Name>{bucket}</Name><IsTruncated>{str(more).lower()}</IsTruncated>"
        return 200, {}, _document("ListBucketResult", head + "".join(inner))

    def _fail(self, status: int, code: str) -> None:
        self._reply(status, {}, _error(code))

    def _reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.server.requests.append((self.command, self.path, 0 if self.command == "HEAD" else len(content)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output free of requests."""


def _error(code: str) -> bytes:
    return _document("Error", f"<Code>{code}</Code><Message>{code}</Message>")


def _document(name: str, inner: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inner}</{name}>'.encode()
