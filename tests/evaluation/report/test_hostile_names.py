"""Names with markup, quotes, 300 letters and right-to-left text, in every field of the page."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.report.html import render
from evaluation.report.provenance import Rejected
from tests.evaluation.report.hostile import LONG, hostile_page
from tests.evaluation.report.test_experiment_blocks import made  # noqa: F401 - a fixture
from tests.evaluation.report.test_report import CHROMIUM, Seen

CHECK = Path(__file__).with_name("check_page.cjs")
MODULES = os.environ.get("STRATA_NODE_MODULES", "")  # where axe-core and puppeteer-core were installed by npm


@pytest.fixture
def hostile(made) -> str:  # noqa: F811
    _, page, _ = made
    rejects = (Rejected("entries", "d", "id", "code", "message"),)
    return render(hostile_page(replace(page, rejects=rejects)))


def test_nothing_of_a_name_becomes_markup(hostile):
    tags = Seen(hostile).tags
    assert sum(tag == "script" for tag, _ in tags) == 1
    assert sum(tag == "style" for tag, _ in tags) == 1
    assert not any(tag in ("img", "iframe", "object", "base", "form") for tag, _ in tags)
    assert not any(name.startswith("on") or name == "style" for _, attributes in tags for name in attributes)
    assert "alert(1)</script>" not in hostile
    assert "{{7*7}}" in hostile  # names are no templates either
    assert hostile.count(LONG) > 100


def test_names_are_set_apart_from_the_text_around_them(hostile):
    """Right-to-left text must not turn what follows: a name stands in a <bdi>, or alone in an element."""
    body = hostile[hostile.index("<body") : hostile.index("<script>")]
    body = re.sub("<(bdi|code|pre|svg)[ >].*?</\\1>", "", body, flags=re.DOTALL)
    outside = re.sub("<[^>]*>", "\\n", body)
    found = [line for line in outside.splitlines() if LONG in line and not line.startswith("&lt;script")]
    assert found == []


@pytest.mark.slow
@pytest.mark.skipif(
    CHROMIUM is None or shutil.which("node") is None or not Path(MODULES, "axe-core").is_dir(),
    reason="needs Chromium, node, and STRATA_NODE_MODULES with axe-core and puppeteer-core",
)
@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_pages_fit_every_screen_and_axe_finds_nothing_serious(made, hostile, kind, tmp_path):  # noqa: F811
    path = tmp_path / "page.html"
    path.write_text(hostile if kind == "hostile" else made[2], encoding="utf-8")
    done = subprocess.run(
        ["node", str(CHECK), str(path), str(CHROMIUM)],
        env={**os.environ, "NODE_PATH": MODULES},
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["scheme"], one["width"]) for one in found] == [
        (scheme, width) for scheme in ("light", "dark") for width in (360, 768, 1280, 1920, 2560)
    ]
    for one in found:
        assert (one["clipped"], one["said"]) == ([], []), one
        assert [v for v in one["violations"] if v["impact"] in ("serious", "critical")] == [], one
