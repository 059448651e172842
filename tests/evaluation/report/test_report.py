"""The page as a reader meets it."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from core.errors import StrataError
from evaluation.evaluate import evaluate
from evaluation.report.answers import summarise
from evaluation.report.html import render
from evaluation.report.report import picture, report
from evaluation.verdict import RULE
from featurestore.tables.log import snapshot
from tests.conftest import ROOT
from tests.evaluation.conftest import targets_of
from tests.stores import flip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


class Seen(HTMLParser):
    """Collects tags with their attributes, and the text of table rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.rows: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data):
        if self.rows:
            self.rows[-1] += data + " "


@pytest.fixture
def made(small):
    """Return the folder, the page's rows and its HTML."""
    evaluate(small.params, small.store, small.root)
    out = small.root / "report/index.html"
    page = report(small.params, small.store, out, small.root / "plots/parity.csv", small.root / "params.yaml")
    return small.root, page, out.read_text(encoding="utf-8")


def test_page_asks_the_network_for_nothing(made):
    _, _, html = made
    for tag, attributes in Seen(html).tags:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            target = attributes.get(name, "#")
            assert target.startswith("#") or target == "data:,", (tag, target)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not any("style" in attributes for _, attributes in Seen(html).tags)  # the policy would refuse it


def test_page_is_the_same_each_time_and_small(made, small):
    _, page, html = made
    assert render(page) == html
    assert len(html) < 200_000


def test_summary_counts(made):
    _, page, html = made
    facts = summarise(page.answers)
    assert (facts.properties, facts.rated, facts.better, facts.surely) == (2, 2, 2, 2)
    assert facts.median == pytest.approx((4 / 35 + 4 / 70) / 2)
    assert "<strong>2 of 2</strong>" in html
    assert "0.086" in html


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", "", html)).replace("\xa0", " ")


def test_each_property_has_a_line_that_says_it_all(made):
    _, _, html = made
    lines = [text_of(line) for line in re.findall('<span class="line">(.*?)</summary>', html, re.DOTALL)]
    assert len(lines) == 2
    assert lines[1].startswith(
        "volume of ase_elements: off by 4 Å³/atom on average (95 % interval 4 to 4); 94 % below Base; "
        "60 values, 10 of them tested. Only 10 entries were tested."
    )
    assert html.count('class="verdict barely">barely worth using</span>\n<span class="line">') == 2


def test_the_rule_of_the_verdict_stands_on_the_page_and_in_the_docs(made):
    text = text_of(made[2])
    docs = re.sub(r"\s+", " ", (ROOT / "docs" / "report.md").read_text(encoding="utf-8"))
    for word, rule in RULE.items():
        assert word.value in text
        assert rule.replace("'", "&#39;") in text
        assert rule in docs


def test_differences_say_that_negative_is_better(made):
    table = made[2][made[2].index('id="scores"') :]
    assert "<strong>negative is better</strong>" in table[: table.index("<table")]
    assert "−94" in table


def test_nothing_stands_in_a_tooltip_alone(made):
    _, page, html = made
    assert not any("title" in attributes for _, attributes in Seen(html).tags)
    tips = [attributes["data-tip"] for _, attributes in Seen(html).tags if "data-tip" in attributes]
    worst = html[html.index('id="w-') :]
    assert len(tips) == 20  # the ten worst of each property, which stand in its table
    assert all(
        f"{point.name}</bdi>" in worst.replace("&lt;", "<").replace("&gt;", ">")
        for points in page.parity.values()
        for point in points
    )


def test_every_table_has_its_labels_for_a_narrow_screen(made):
    for table in re.findall("<table.*?</table>", made[2], re.DOTALL):
        heads = re.findall("<th [^>]*>([^<]*)</th>", table[: table.index("</thead>")])
        rows = re.findall("<tr[ >].*?</tr>", table[table.index("</thead>") :], re.DOTALL)
        assert rows
        for row in rows:
            assert re.findall('data-l="([^"]*)"', row) == heads[1:]
            assert row.count("<td") == len(heads) - 1


def test_a_target_that_the_source_model_has_seen_is_marked_and_not_counted(small, monkeypatch):
    monkeypatch.setattr("evaluation.seen.has_seen", lambda _card, _dataset, prop: prop == "volume")
    evaluate(small.params, small.store, small.root)
    out = small.root / "report/index.html"
    page = report(small.params, small.store, out, small.root / "plots/parity.csv", small.root / "params.yaml")
    facts = summarise(page.answers)
    assert (facts.properties, facts.rated, facts.seen, facts.seen_by) == (2, 1, 1, "alignn_mp_eform")
    assert facts.median == pytest.approx(4 / 35)
    html = out.read_text(encoding="utf-8")
    assert "<strong>1 of 1</strong>" in html
    assert "1 of 2 properties is not counted in these" in html
    assert "cannot be told" in html
    marked = [row for row in Seen(html).rows if "label seen by alignn_mp_eform" in row]
    assert marked
    assert all("volume" in row for row in marked)
    svg = picture(page, [("ase_elements", "volume")])
    assert "1 of 1 properties" in svg
    assert "1 left out: label seen by alignn_mp_eform" in svg


def test_composition_and_rows_that_are_left_out_stand_on_the_page(small):
    small.add_forest("volume", 3.25)
    small.add_run("fewer", "volume", "ridge", targets_of("volume") + 5.0, val_mae=5.0, lacks=[59], n_test=9)
    evaluate(small.params, small.store, small.root)
    out = small.root / "report/index.html"
    report(small.params, small.store, out, small.root / "plots/parity.csv", small.root / "params.yaml")
    html = out.read_text(encoding="utf-8")
    table = html[html.index('id="t-scores"') :]
    heads, *rows = Seen(table[: table.index("</table>")]).rows
    assert "Composition" in heads
    assert {"volume" in row: "3.25" in row for row in rows} == {True: True, False: False}
    assert "ase_elements/volume, random: 1 of 10 test rows are left out" in html
    assert "Composition alone predicts it as well; only 9 entries were tested." in html
    assert "<code>alignn_mp_eform/<wbr>atom_bond_angle_last</code>" in html
    assert "<code>magpie/<wbr>all</code>" in html


def test_every_run_stands_on_the_page_with_its_label(made):
    _, _, html = made
    rows = [row for row in Seen(html).rows if "lightgbm" in row]
    assert len(rows) == 2
    assert all("demo" in row for row in rows)
    assert any("ridge" in row and "chosen" in row and " 4 " in row for row in Seen(html).rows)


def test_cards_note_is_on_the_page(made):
    _, page, html = made
    assert page.datasets[0].card.title in html
    assert page.datasets[0].card.note[:30] in html


def test_the_data_report_is_on_the_page(made):
    _, page, html = made
    (facts,) = page.facts
    table = html[html.index('id="t-data"') :]
    rows = Seen(table[: table.index("</table>")]).rows[1:]
    assert len(rows) == len(facts.properties) == 2
    for item, row in zip(facts.properties, rows, strict=True):
        assert [item.unit, "60", "0", "0"] == row.split("ase_elements")[1].split()[:4]
    for line in facts.notes:
        assert line.partition(",")[0] in html


def test_page_without_base_and_without_rejects(made):
    _, page, _ = made
    alone = tuple(replace(one, target=replace(one.target, base=None)) for one in page.answers)
    html = render(replace(page, answers=alone))
    assert "There is no Base" in html
    assert 'id="base"' not in html
    assert "None: every record" in html


def test_picture_draws_what_is_named(made):
    _, page, _ = made
    svg = picture(page, [("ase_elements", "volume")])
    assert "actual (Å³/atom)" in svg
    assert "2 of 2" in svg
    assert svg.count("predicted (") == 1
    with pytest.raises(StrataError, match="ase_elements/mass: not scored"):
        picture(page, [("ase_elements", "mass")])


def browse(path, tmp_path) -> tuple[str, str]:
    """Return the document after its scripts have run, and what the console said."""
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    flags += (
        "--disable-component-update --disable-sync --enable-logging=stderr --window-size=1200,900 --dump-dom"
    )
    done = subprocess.run(
        [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@needs_browser
def test_browser_opens_it_from_disk_and_runs_its_script(made, tmp_path):
    root, _, _ = made
    document, console = browse(root / "report/index.html", tmp_path)
    assert console == ""
    assert '<button type="button">Property</button>' in document


ACTIONS = """
const said = {};
const id = "c-ase_elements-volume";
const cells = column => [...document.querySelectorAll(`#${id} tbody tr`)].filter(r => !r.hidden)
  .map(r => r.cells[column].textContent.trim());
const heads = [...document.querySelectorAll(`#${id} th button`)];
const column = heads.findIndex(b => b.textContent === "Test error");
heads[column].click(); said.up = cells(column);
heads[column].click(); said.down = cells(column);
const input = document.querySelector("[data-filter=properties]");
input.value = "volume BARELY"; input.dispatchEvent(new Event("input"));
said.filtered = [...document.querySelectorAll("#properties > details")].filter(d => !d.hidden).map(d => d.id);
said.count = document.querySelector("[data-count=properties]").textContent;
input.value = ""; input.dispatchEvent(new Event("input"));
dispatchEvent(new Event("beforeprint"));
said.printed = document.querySelectorAll("details:not([open])").length;
const dot = document.querySelector("svg.parity [data-tip]");
dot.scrollIntoView();
const box = dot.getBoundingClientRect();
const at = {bubbles: true, clientX: box.x + 8, clientY: box.y};
dot.closest("svg").dispatchEvent(new PointerEvent("pointermove", at));
said.tip = document.getElementById("tip").textContent; said.shown = !document.getElementById("tip").hidden;
document.body.textContent = "RESULT" + JSON.stringify(said) + "END";
"""


@needs_browser
def test_sorting_filtering_and_tooltips_work(made, tmp_path):
    root, _, html = made
    # the page's own policy would refuse a second script
    tried = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    path = root / "tried.html"
    path.write_text(tried.replace("</body>", f"<script>{ACTIONS}</script></body>"), encoding="utf-8")
    document, console = browse(path, tmp_path)
    assert console == ""
    said = json.loads(re.search("RESULT(.*)END", document)[1].replace("&lt;", "<").replace("&gt;", ">"))
    assert said["up"] == ["4", "70", "–"]
    assert said["down"] == ["70", "4", "–"]
    assert said["filtered"] == ["p-ase_elements-volume"]
    assert said["count"] == "1 of 2 shown"
    assert said["printed"] == 0
    assert said["shown"]
    assert re.fullmatch(r".+: actual [\d.]+, predicted [\d.]+ GPa", said["tip"])


def test_a_torn_parity_file_is_told_with_what_to_do(made, small):
    root, _, html = made
    parity, out = root / "plots/parity.csv", root / "report/index.html"
    parity.write_text(parity.read_text()[:-3].rpartition(",")[0])
    with pytest.raises(StrataError, match=r"parity.csv is damaged.*strata evaluate"):
        report(small.params, small.store, out, parity, root / "params.yaml")
    assert out.read_text(encoding="utf-8") == html


def test_what_is_shown_is_checked_first(made, small):
    root, _, _ = made
    flip(snapshot(small.layout.scores).paths[0], 100)
    with pytest.raises(StrataError, match=r"scores.*damaged since it was committed"):
        report(small.params, small.store, root / "x.html", root / "plots/parity.csv", root / "params.yaml")
