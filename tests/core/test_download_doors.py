"""Downloads from figshare, which has a door for browsers and one for scripts."""

import re

import pytest

from core import download
from core.download import fetch
from core.errors import StrataError
from tests.download_site import FLIPPED, GOOD, HASH, PAGE, RULES, kept, reply, source

pytest.importorskip("pooch")


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
