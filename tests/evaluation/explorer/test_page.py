"""The page: nothing that it shows can run, nothing outside of it is asked for."""

import base64
import hashlib
import html.parser
import re
import zlib

import pytest

from core.errors import StrataError
from evaluation.explorer import page as module
from evaluation.explorer.page import check_path, page, safe_script, write_page
from tests.evaluation.explorer.conftest import HOSTILE


class Elements(html.parser.HTMLParser):
    """Collects elements with their attributes, and the text of scripts, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        self.texts.append(data)


@pytest.fixture(autouse=True)
def short_viewer(monkeypatch):
    """Three megabytes of viewer say nothing about what is tested here."""
    monkeypatch.setattr(module, "viewer_script", lambda: "globalThis.$3Dmol = {};")


def policy_of(elements: Elements) -> str:
    (policy,) = [
        attrs["content"]
        for tag, attrs in elements.found
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    return policy


def test_hostile_names_stay_texts_in_every_field(hostile):
    text = page(hostile)
    elements = Elements(text)
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 3 + 1 + 2  # header, numbers, texts, one piece of crystals, two that run
    assert "img" not in tags
    assert "svg" not in tags
    assert not any(name.startswith("on") for _, attrs in elements.found for name in attrs)
    shown = "".join(elements.texts)
    assert all(name in shown for name in HOSTILE)  # title, notes and rejects, as they are
    assert "globalThis.run" not in "".join(elements.scripts[-2:])


def test_the_policy_names_the_two_scripts_and_lets_nothing_else_in(mapped):
    elements = Elements(page(mapped))
    policy = policy_of(elements)
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in elements.scripts[-2:]
    ]
    assert f"script-src {' '.join(hashes)};" in policy
    assert "unsafe-eval" not in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "connect-src 'self'" in policy_of(Elements(page(mapped, served=True)))


def test_nothing_is_fetched_from_elsewhere(mapped):
    for tag, attrs in Elements(page(mapped)).found:
        assert "src" not in attrs
        if tag in {"link", "img", "iframe"}:
            assert attrs["href"] == "data:,"


def test_crystals_are_in_the_page_or_asked_of_the_server(mapped):
    within, served = page(mapped), page(mapped, served=True)
    (piece,) = re.findall(r'id="piece0">([^<]+)<', within)
    assert len(zlib.decompress(base64.b64decode(piece))) > 50 * 40
    assert 'id="piece0"' not in served


def test_a_script_cannot_end_its_element():
    assert "</script" not in safe_script("let a = '</script>';")
    assert "<!--" not in safe_script("let a = '<!--';")


def test_it_is_written_whole(mapped, tmp_path):
    size = write_page(mapped, tmp_path / "map.html")
    assert (tmp_path / "map.html").stat().st_size == size
    assert [path.name for path in tmp_path.iterdir()] == ["map.html"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("map.txt", "ends in .html"), ("no/map.html", "no folder"), ("is.html", "is a folder")],
)
def test_what_cannot_be_written_is_said_before_the_work(tmp_path, name, message):
    (tmp_path / "is.html").mkdir()
    with pytest.raises(StrataError, match=message):
        check_path(tmp_path / name)


def test_without_the_viewer_the_install_line_is_named(mapped, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(__import__("sys").modules, "chemiscope", None)
    with pytest.raises(StrataError, match=r"pip install 'strata\[explore\]'"):
        page(mapped)


def test_the_viewer_in_the_wheel_brings_3dmol(monkeypatch):
    monkeypatch.undo()
    script = module.viewer_script()
    assert "window.$3Dmol=" in script
    assert "</script" not in script
