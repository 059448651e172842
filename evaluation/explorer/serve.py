"""A map on this machine's own address, for more structures than a file should hold: crystals by request."""

import json
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from core.errors import StrataError
from evaluation.explorer.pack import PIECE, piece
from evaluation.explorer.page import page
from evaluation.explorer.shares import Explain
from evaluation.explorer.structure_map import StructureMap

ADDRESS = "127.0.0.1"  # nobody else's machine reaches it


def server(shown: StructureMap, port: int = 0, explain: Explain | None = None) -> ThreadingHTTPServer:
    """Return a server of a map, ready to be asked; port 0: any that is free.

    explain: gives the shares of the atoms of one structure, None where it has none; without it only those of
    the map are shown. Raises `StrataError` where the port is taken.
    """
    start = page(shown, served=True, explains=explain is not None).encode()
    count = -(-len(shown) // PIECE)
    known = cache(explain) if explain is not None else None

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers.get("Host", "")
            if host.rpartition(":")[0] not in {ADDRESS, "localhost"}:  # a page elsewhere that names us
                self.send_error(HTTPStatus.FORBIDDEN)
                return
            kind, _, text = self.path.lstrip("/").partition("/")
            place = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
            if self.path == "/":
                self._send(start, "text/html; charset=utf-8")
            elif kind == "pieces" and 0 <= place < count:
                self._send(piece(shown, place), "application/octet-stream")
            elif kind == "shares" and 0 <= place < len(shown) and known is not None:
                self._send(json.dumps(known(place)).encode(), "application/json")
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(content))),
                ("X-Content-Type-Options", "nosniff"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing of what is asked."""

    try:
        return ThreadingHTTPServer((ADDRESS, port), Answer)
    except (OSError, OverflowError) as error:
        raise StrataError(f"port {port} cannot be used: {error}; leave --port out for a free one") from None
