"""Experiments on the page: tables, figures, drill-down, and the size of it for 115 targets."""

import json
import re
from dataclasses import replace

import altair
import numpy as np
import pandas as pd
import pytest

from evaluation.evaluate import evaluate
from evaluation.experiments.base import Shown
from evaluation.experiments.results import Result, write
from evaluation.experiments.significance import pair_tests, rank_table
from evaluation.experiments.size_effect import changes, histogram, summaries
from evaluation.experiments.transfer import headline
from evaluation.report.experiment_blocks import blocks, drills, grid
from evaluation.report.report import render, report, write_figures
from tests.evaluation.report.test_report import Seen, browse, needs_browser

SETTINGS = {"splits": ["random"], "seeds": [0], "heads": ["ridge"], "trained": {}, "training": {}}


def sides(rows: list[dict]) -> pd.DataFrame:
    """Fill in base, scratch and transfer with intervals, as `compare` leaves them."""
    frame = pd.DataFrame(rows).assign(unit="eV", scheme="random", splits=3, method="ridge", label="demo")
    for name in ("base", "scratch", "transfer"):
        frame[f"{name}_low"], frame[f"{name}_high"] = frame[name] * 0.9, frame[name] * 1.1
    for prefix, other in (("", "scratch"), ("base_", "base")):
        frame[f"{prefix}change"] = 100 * (frame["transfer"] / frame[other] - 1)
        frame[f"{prefix}change_low"] = frame[f"{prefix}change"] - 5
        frame[f"{prefix}change_high"] = frame[f"{prefix}change"] + 5
    return frame.assign(mad_mae=3.0, r2=0.5, spearman=0.5, interval="splits", winner="features")


def results(folder, n: int) -> None:
    """Write results of five experiments on `n` targets."""
    rng = np.random.default_rng(0)
    names = [("ase_elements", f"property_{i}") for i in range(n)]
    rows = [
        {"dataset": d, "property": p, "rows": 100 + 10 * i, "group": "3D", "n_train": 80, "n_test": 10,
         "base": 4.0, "scratch": 2.0, "transfer": 1.0 + rng.random() * 1.5}
        for i, (d, p) in enumerate(names)
    ]  # fmt: skip
    table = sides(rows)
    provenance = {"source_models": ["alignn_mp_eform"]}
    validation = table[["dataset", "property", "unit", "scheme", "transfer"]].rename(
        columns={"transfer": "val_mae"}
    )
    validation = pd.concat([validation.assign(method=m) for m in ("base", "ridge", "finetune")])
    validation["val_mae"] *= rng.random(len(validation))

    def put(name, **tables):
        metrics = headline(table) if name == "transfer" else {}
        write(Result(name, tables, metrics, SETTINGS, provenance, ("A note.",)), folder)

    put("transfer", table=table, validation=validation)
    points = changes(table)
    put("size_effect", table=summaries(points), points=points, histogram=histogram(points, 8))
    put(
        "significance",
        table=pair_tests(table),
        ranks=rank_table(validation.rename(columns={"val_mae": "mae"}), "validation", 0.05),
    )
    curve = [
        {**row, "n_train": 80 // 2**k, "scratch": 2.0 * 1.4**k, "rung": k} for row in rows for k in range(4)
    ]
    put("learning_curve", table=sides(curve))
    dots = [
        (d, p, scheme, role, f"e{k}", float(k), k + 0.1)
        for d, p in names
        for scheme in ("extrapolation", "random")
        for role in ("chosen", "scratch")
        for k in range(12)
    ]
    columns = ["dataset", "property", "scheme", "role", "entry_id", "actual", "predicted"]
    dots = pd.DataFrame(dots, columns=columns).assign(seed=0, fold=0, unit="eV", method="ridge", head="ridge")
    put("extrapolation", table=sides(rows), points=dots)


@pytest.fixture
def made(small):
    """Return the folder, the page's rows and its HTML, with three targets' experiments."""
    evaluate(small.params, small.store, small.root)
    results(small.root / "results", 3)
    out = small.root / "report/index.html"
    files = small.root / "plots/parity.csv", small.root / "params.yaml"
    page = report(small.params, small.store, out, *files, small.root / "results")
    return small.root, page, out.read_text(encoding="utf-8")


def test_blocks_stand_in_the_order_of_the_registry(made):
    root, page, html = made
    names = [block.experiment.name for block in page.blocks]
    assert names == ["transfer", "learning_curve", "extrapolation", "significance", "size_effect"]
    places = [html.index(f'<section id="x-{name}"') for name in names]
    assert places == sorted(places)
    assert "A note." in html
    assert re.search(
        r"random: transfer is below Base for 3 of 3 targets, in the median by [\d.]+ %; below scr", html
    )
    assert blocks(root / "nothing") == ()


def test_numbers_carry_their_intervals():
    table = sides([{"dataset": "d", "property": "p_q", "base": 4.0, "scratch": 2.0, "transfer": 3.0}])
    found = grid("t", table, Shown(("property", "transfer", "change", "label", "missing")))
    change = "% change (negative is better)"
    assert [title for title, _ in found.columns] == [
        "Property",
        "Transfer MAE",
        "% change (negative is better)",
        "Label",
    ]
    ((name, mae, change, label),) = found.rows
    assert (name.text, mae.text, change.text, label.text) == ("p q", "3 (2.7 – 3.3)", "50 (45 – 55)", "demo")
    assert (mae.value, mae.is_worse, change.is_worse) == (3.0, False, True)


def test_every_target_can_be_drilled_into(made):
    _, page, html = made
    found = drills(page.blocks)
    assert [drill.property for drill in found] == ["property_0", "property_1", "property_2"]
    assert [g.caption for g in found[0].grids] == ["Transfer", "Learning curve", "Extrapolation"]
    assert found[0].figures == (
        "learning-curve-ase_elements-property_0-random",
        "extrapolation-ase_elements-property_0",
    )
    tags = Seen(html).tags
    ids = {attributes.get("id") for _, attributes in tags}
    links = {
        attributes["href"][1:]
        for tag, attributes in tags
        if tag == "a" and attributes.get("href", "")[:1] == "#"
    }
    assert links <= ids


def test_ids_are_unique(made):
    ids = [attributes["id"] for _, attributes in Seen(made[2]).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_figures_are_written_as_files(made):
    root, page, _ = made
    written = write_figures(page, root / "figures")
    names = {path.name for path in written}
    assert "learning-curve-ase_elements-property_0-random.svg" in names
    assert "parity-ase_elements-volume-random-0.svg" in names
    assert all(path.read_text().startswith("<svg xmlns=") for path in written if path.suffix == ".svg")
    drawn = [path for path in written if path.suffix == ".png"]
    assert {path.stem for path in drawn} == {path.name.partition(".")[0] for path in written}
    specs = [json.loads(path.read_text()) for path in written if path.suffix == ".json"]
    assert len(specs) == len(drawn)
    assert all("vega-lite" in spec["$schema"] for spec in specs)
    assert all(
        altair.Chart.from_dict(spec).to_dict() for spec in specs
    )  # altair takes them back, to change them
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


@pytest.mark.slow
def test_page_of_115_targets_is_below_five_megabytes(made):
    root, page, _ = made
    sizes = {}
    for n in (4, 12):
        results(root / f"many-{n}", n)
        sizes[n] = len(render(replace(page, blocks=blocks(root / f"many-{n}"))).encode())
    more = (sizes[12] - sizes[4]) / 8  # a target
    assert sizes[4] + 111 * more < 5_000_000


@pytest.mark.slow
def test_page_of_115_targets_holds_them_all(made):
    root, page, _ = made
    results(root / "many", 115)
    html = render(replace(page, blocks=blocks(root / "many")))
    assert html.count('<details id="target-') == 115
    assert len(html.encode()) < 5_000_000


ACTIONS = """
const said = {};
const table = document.getElementById("t-transfer-table");
const column = [...table.tHead.rows[0].cells].findIndex(h => h.textContent === "Transfer MAE");
const shown = () => [...table.tBodies[0].rows].filter(r => !r.hidden);
const values = () => shown().map(r => parseFloat(r.cells[column].textContent));
table.tHead.rows[0].cells[column].querySelector("button").click(); said.up = values();
table.tHead.rows[0].cells[column].querySelector("button").click(); said.down = values();
const input = document.querySelector("[data-filter=t-transfer-table]");
input.value = "ase_elements 120"; input.dispatchEvent(new Event("input"));
said.filtered = values().length;
said.count = document.querySelector("[data-count=t-transfer-table]").textContent;
const dot = document.querySelector("#x-learning_curve svg [data-tip]"); dot.scrollIntoView();
const box = dot.getBoundingClientRect();
const at = {bubbles: true, clientX: box.x + 4, clientY: box.y + 4};
dot.closest("svg").dispatchEvent(new PointerEvent("pointermove", at));
said.tip = document.getElementById("tip").textContent; said.shown = !document.getElementById("tip").hidden;
said.open = document.getElementById("target-ase_elements-property_1").open;
location.hash = "#target-ase_elements-property_1";
dispatchEvent(new Event("hashchange"));
said.opened = document.getElementById("target-ase_elements-property_1").open;
document.body.textContent = "RESULT" + JSON.stringify(said) + "END";
"""


@needs_browser
def test_experiments_sort_filter_and_answer_in_the_browser(made, tmp_path):
    root, _, html = made
    document, console = browse(root / "report/index.html", tmp_path)
    assert console == ""
    tried = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    path = root / "tried.html"
    path.write_text(tried.replace("</body>", f"<script>{ACTIONS}</script></body>"), encoding="utf-8")
    document, console = browse(path, tmp_path)
    assert console == ""
    said = json.loads(re.search("RESULT(.*)END", document)[1].replace("&lt;", "<").replace("&gt;", ">"))
    assert said["up"] == sorted(said["up"])
    assert said["down"] == said["up"][::-1]
    assert said["filtered"] == 1
    assert said["count"] == "1 of 3 shown"
    assert said["shown"]
    assert re.fullmatch(r"transfer, \d+ rows: [\d.]+ eV \(95 % [\d.]+ to [\d.]+\), by ridge", said["tip"])
    assert (said["open"], said["opened"]) == (False, True)
