"""How the map of structures behaves in a browser: time to ready, script per frame, click to crystal, layout.

    python bench/explorer.py MAP.html [--axe axe.min.js] [--chemiscope MAP.json.gz] [--pictures FOLDER]

MAP.html comes from `strata explore`, and is opened from disk in headless Chromium, whose WebGL runs on the
processor here. --axe: the script of npm's axe-core, which looks for what hinders people. --chemiscope: the
same map in chemiscope's format, measured in chemiscope's own page for comparison. --pictures: where
screenshots at four widths, light and dark, are saved. Writes bench/results/explorer.md.
"""

import argparse
import asyncio
import base64
import gzip
import hashlib
import statistics
import tempfile
import time
from itertools import product
from pathlib import Path

from browser import SCHEMES, SIZES, Tab, load_of_the_machine, tab

from evaluation.explorer.page import viewer_script

RESULTS = Path(__file__).parent / "results" / "explorer.md"
OPENINGS, CLICKS, FRAMES = 5, 25, 60
SCRIPT = Path(__file__).with_suffix(".js")
READY = "document.documentElement?.dataset.ready === '1'"
# chemiscope's page with a data set; NaN is written as such in its format.
THEIRS = """
const nan = (_, value) => value === '***NaN***' ? NaN : value;
const text = document.getElementById('data').textContent.replace(/\\bNaN\\b/g, '"***NaN***"');
const places = {meta: 'meta', map: 'map', info: 'info', structure: 'structure', maxStructureViewers: 1};
Chemiscope.DefaultVisualizer.load(places, JSON.parse(text, nan))
  .then(() => document.documentElement.dataset.ready = '1');"""
BODY = """<!doctype html><meta charset=utf-8>
<meta http-equiv=Content-Security-Policy content="script-src {hashes} {policy}; worker-src blob:">
<div id=meta></div><div id=map style='width:700px;height:600px'></div><div id=info></div>
<div id=structure style='width:400px;height:400px'></div>
<script type=application/json id=data>{data}</script><script>{viewer}</script><script>{start}</script>"""


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--axe", type=Path)
    parser.add_argument("--chemiscope", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--chromium", default="chromium")
    asyncio.run(measure(parser.parse_args()))


async def measure(asked: argparse.Namespace) -> None:
    """Open the page and write what was measured."""
    address = asked.page.resolve().as_uri()
    rows: list[tuple[str, str, str]] = []
    busy = load_of_the_machine()
    async with tab(asked.chromium) as one:
        before = one.spent()
        ready = [await opened(one, address) for _ in range(OPENINGS)]
        opening = (one.spent() - before) / OPENINGS
        points = await one.run("strataMap.data.n")
        size = asked.page.stat().st_size / 1e6
        rows.append((f"file of {points:,} structures", f"{size:.1f} MB", "40 MB"))
        rows.append(("from opening to interactive, median (largest)", seconds(ready), "4 s"))
        script = await panned(one)
        rows.append(("  of the processor, all processes of the browser, mean", f"{opening:.2f} s", ""))
        rows.append(("script per frame while panning, mean (largest)", milliseconds(script), "16 ms"))
        before = one.spent()
        clicks = await clicked(one)
        clicking = 1000 * (one.spent() - before) / CLICKS
        rows.append(("click to crystal, median (largest)", milliseconds(clicks, middle=True), "300 ms"))
        rows.append(("  of the processor, all processes of the browser, mean", f"{clicking:.0f} ms", ""))
        faults = [f"console: {text}" for text in one.errors]
        for width, scheme in product(SIZES, SCHEMES):
            faults += await looked_at(one, address, width, scheme, asked)
    rows.append(("clipped, console errors, serious findings of axe", f"{len(faults)}", "0"))
    theirs = await chemiscope(asked) if asked.chemiscope else []
    write(rows, faults, theirs, busy)


async def opened(one: Tab, address: str) -> float:
    """Return the seconds from opening to interactive."""
    await one.open("about:blank")
    started = time.perf_counter()
    await one.open(address)
    await one.until(READY)
    await one.run(f"{SCRIPT.read_text(encoding='utf-8')}; bench.frame()")
    return time.perf_counter() - started


async def panned(one: Tab) -> list[float]:
    """Drag the map for some frames; returns the milliseconds of script that each took."""
    box = await one.run("bench.box('#axes')")
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    await one.mouse("mousePressed", x, y)
    found = []
    for k in range(FRAMES):
        before = (await one.metrics())["ScriptDuration"]
        await one.mouse("mouseMoved", x + 3 * k, y + 2 * k)
        await one.run("bench.frame()")
        found.append(1000 * ((await one.metrics())["ScriptDuration"] - before))
    await one.mouse("mouseReleased", x, y)
    return found


async def clicked(one: Tab) -> list[float]:
    """Click on points; returns the milliseconds until each crystal was drawn."""
    await one.run("strataMap.scatter.reset()")
    await one.run("bench.clock()")
    for k, (x, y) in enumerate(await one.run(f"bench.spots({CLICKS})")):
        await one.mouse("mousePressed", x, y)
        await one.mouse("mouseReleased", x, y)
        await one.until(f"took.length > {k}", 20)
        await asyncio.sleep(0.1)
    return await one.run("took")


async def looked_at(one: Tab, address: str, width: int, scheme: str, asked: argparse.Namespace) -> list[str]:
    """Return what is wrong with the page at a width, in a scheme: clipped, complained of, or found by axe."""
    await one.open(address, width, 900, scheme)
    await one.until(READY)
    await one.run(f"{SCRIPT.read_text(encoding='utf-8')}; strataMap.choose(strataMap.sorted()[0])")
    await one.until("document.documentElement?.dataset.drawn !== undefined")
    await one.run("bench.frame()")
    where = f"{width} px, {scheme}"
    faults = [f"{where}: {text}" for text in (*await one.run("bench.clipped()"), *one.errors)]
    if asked.axe:
        await one.run(asked.axe.read_text(encoding="utf-8") + "; 0")
        faults += [f"{where}: axe {text}" for text in await one.run("bench.serious()")]
    if asked.pictures:
        asked.pictures.mkdir(parents=True, exist_ok=True)
        await one.picture(asked.pictures / f"{width}-{scheme}.png", whole=False)
    return faults


async def chemiscope(asked: argparse.Namespace) -> list[tuple[str, str]]:
    """Measure chemiscope's own page with the same structures, also under a policy without `unsafe-eval`."""
    data = gzip.decompress(asked.chemiscope.read_bytes()).decode().replace("<", "\\u003c")
    viewer, rows = viewer_script(), []
    digests = (hashlib.sha256(text.encode()).digest() for text in (viewer, THEIRS))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    for policy in ("'unsafe-eval'", ""):
        what = "as it is" if policy else "by a policy without unsafe-eval"
        text = BODY.format(hashes=hashes, policy=policy, data=data, viewer=viewer, start=THEIRS)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "chemiscope.html"
            path.write_text(text, encoding="utf-8")
            async with tab(asked.chromium) as one:
                try:
                    ready = [await opened(one, path.as_uri()) for _ in range(3)]
                    await asyncio.sleep(3)
                    rows.append((f"{what}: file", f"{path.stat().st_size / 1e6:.1f} MB"))
                    rows.append((f"{what}: from opening to interactive", seconds(ready)))
                except RuntimeError as error:
                    rows.append((what, str(error)))
                rows.append((f"{what}: errors", "; ".join(sorted(set(one.errors)))[:200] or "none"))
    return rows


def seconds(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s ({max(values):.2f})"


def milliseconds(values: list[float], *, middle: bool = False) -> str:
    usual = statistics.median(values) if middle else statistics.mean(values)
    return f"{usual:.1f} ms ({max(values):.1f})"


def write(
    rows: list[tuple[str, str, str]], faults: list[str], theirs: list[tuple[str, str]], busy: float
) -> None:
    """Write the page of results, and print it."""
    about = (
        "`python bench/explorer.py MAP.html`: the page of `strata explore`, opened from disk in headless "
        f"Chromium on 2 cores, where WebGL is run by the processor. {OPENINGS} openings, {FRAMES} frames, "
        f"{CLICKS} clicks. Load of the machine when it began: {busy:.1f} (0 is idle)."
    )
    lines = ["# The map of structures in a browser", "", about, ""]
    lines += ["| | measured | at most |", "| --- | ---: | ---: |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", *(f"- {text}" for text in faults)] if faults else []
    if theirs:
        lines += [
            "",
            "The same structures and columns in chemiscope's own page, whose map is Plotly's `scattergl`:",
        ]
        lines += ["", "| | measured |", "| --- | ---: |", *(f"| {' | '.join(row)} |" for row in theirs)]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
