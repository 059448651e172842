import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from core.errors import StrataError
from evaluation.explorer import page as module
from evaluation.explorer.pack import piece
from evaluation.explorer.serve import server


@contextmanager
def running(shown, explain=None):
    with server(shown, 0, explain) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        try:
            yield served.server_address
        finally:
            served.shutdown()
            thread.join()


def ask(address, path, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{address[1]}{path}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


@pytest.fixture(autouse=True)
def short_viewer(monkeypatch):
    monkeypatch.setattr(module, "viewer_script", lambda: "globalThis.$3Dmol = {};")


def test_it_gives_the_page_crystals_and_shares(mapped):
    asked = []

    def explain(place):
        asked.append(place)
        return [0.5, -0.5]

    with running(mapped, explain) as address:
        assert address[0] == "127.0.0.1"
        assert b'"explains": true' in ask(address, "/")
        assert ask(address, "/pieces/0") == piece(mapped, 0)
        assert [json.loads(ask(address, "/shares/3")) for _ in range(2)] == [[0.5, -0.5]] * 2
    assert asked == [3]  # the second time it is known


@pytest.mark.parametrize(
    "path", ["/pieces/1", "/pieces/-1", "/pieces/x", "/shares/0", "/../params.yaml", "/pieces/²"]
)
def test_nothing_else_is_there(mapped, path):
    with running(mapped) as address, pytest.raises(urllib.error.HTTPError, match="404"):
        ask(address, urllib.request.quote(path))


def test_a_page_elsewhere_that_names_this_machine_is_refused(mapped):
    with running(mapped) as address, pytest.raises(urllib.error.HTTPError, match="403"):
        ask(address, "/", Host="example.org")


def test_a_port_that_is_taken_is_named(mapped):
    with running(mapped) as address, pytest.raises(StrataError, match=f"port {address[1]} cannot be used"):
        server(mapped, address[1])
