import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.download_site import Site


@pytest.fixture(scope="module")
def server():
    """A server that does as its `Site` says, for all tests of a file."""
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
    """The server, with no request remembered."""
    server.requests.clear()
    return server


@pytest.fixture
def cache(tmp_path):
    """Where downloads are kept."""
    return tmp_path / "cache"
