"""What `strata report` writes: the page, the figures as files, and the README's picture."""

import json
from collections.abc import Sequence
from pathlib import Path

from core.atomic import write_whole
from core.errors import StrataError, check_name
from core.params import PARAMS_FILE, Params
from core.progress import progress
from core.text import number
from evaluation.report.answers import summarise
from evaluation.report.contents import Page, gather
from evaluation.report.html import render
from evaluation.report.searched import searched
from evaluation.report.vega_files import alone, png, svg
from evaluation.report.vega_layers import layers_spec
from evaluation.report.vega_scores import parity_spec, result_spec


def report(
    params: Params,
    store_root: str | Path = "store",
    out: str | Path = "report/index.html",
    parity_file: str | Path = "plots/parity.csv",
    params_file: str | Path = PARAMS_FILE,
    results: str | Path = "results",
) -> Page:
    """Write the page of `params.datasets`, and of the experiments under `results`, to `out`.

    Raises `StrataError` where runs or scores are missing, naming the command that makes them.
    """
    page = gather(params, store_root, Path(parity_file), Path(params_file), Path(results))
    write_whole(Path(out), render(page))
    return page


def write_figures(page: Page, folder: Path) -> list[Path]:
    """Write every figure of the experiments, and the parity plots, as SVG, PNG and Vega-Lite files."""
    specs = {figure.name: figure.spec for block in page.blocks for figure in block.figures}
    if layers := searched(page.runs):
        specs["layers"] = layers_spec(layers)
    for (dataset, prop, split), points in page.parity.items():
        unit = next(run.unit for run in page.runs if (run.dataset, run.prop) == (dataset, prop))
        specs[f"parity-{dataset}-{prop}-{split}"] = parity_spec(f"{dataset}, {prop}", unit, points)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, spec in progress(list(specs.items()), "draw figures"):
        path = folder / check_name(name, "figure")
        files = {
            ".svg": svg(spec).encode(),
            ".png": png(spec),
            ".vl.json": json.dumps(spec, ensure_ascii=False, indent=1).encode(),
        }
        for ending, content in files.items():
            file = path.with_name(path.name + ending)
            file.write_bytes(content)
            written.append(file)
    return written


def picture(page: Page, names: Sequence[tuple[str, str]]) -> str:
    """Draw the README's picture as SVG: parity plots of `names` (dataset, property), and all bars.

    Raises `StrataError` for a target that was not scored.
    """
    by_name = {one.key: one.target for one in page.answers}
    missing = [f"{dataset}/{prop}" for dataset, prop in names if (dataset, prop) not in by_name]
    if missing:
        raise StrataError(f"cannot draw {', '.join(missing)}: not scored; run strata evaluate")
    parities = [
        (f"{target.chosen.dataset}: {target.chosen.name}", target.chosen.unit, page.points_of(target))
        for target in (by_name[name] for name in names)
    ]
    bars = [bar for one in page.answers if (bar := one.target.bar(f"{one.run.dataset}: {one.run.name}"))]
    facts = summarise(page.answers)
    headline = (
        f"Test error below Base for {facts.better} of {facts.rated} properties; "
        f"in the median {number(facts.median, 2)} × Base"
        + (f" ({facts.seen} left out: label seen by {facts.seen_by})" if facts.seen else "")
    )
    footnotes = [
        f"{dataset.card.name}: {dataset.card.caution or dataset.card.title}" for dataset in page.datasets
    ]
    return alone(result_spec(headline, parities, bars, footnotes))
