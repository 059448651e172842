"""The page: one HTML file that opens from disk and asks the network for nothing."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.atomic import write_whole
from core.errors import StrataError, check_name
from core.params import PARAMS_FILE, Params
from core.progress import progress
from core.text import number
from evaluation.report import plots
from evaluation.report.experiment_blocks import Drill, drills
from evaluation.report.class_targets import reliability_spec
from evaluation.report.searched import layers_spec, searched
from evaluation.report.contents import Page, Target, gather
from evaluation.report.vega_scores import parity_spec, ratio_spec, result_spec
from evaluation.report.vega_files import alone, inline, png, svg


@dataclass(frozen=True, slots=True)
class Summary:
    """What the page's first sentences say; a target is rated where Base has a score, too.

    `targets` and `seen` count properties, however often they were split; the others count a property once
    for each way of splitting.

    One whose labels a source model of the chosen run was trained on is not rated.
    """

    targets: int
    seen: int
    seen_by: str  # those source models
    rated: int
    better: int  # test MAE below Base's
    surely: int  # the whole 95 % interval below Base's
    median: float | None  # of test MAE / Base MAE
    best: Target | None
    worst: Target | None
    smallest: int  # entries of the smallest test part
    largest: int


def summarise(targets: Sequence[Target]) -> Summary:
    """Count how often, and by how much, the chosen head beats Base."""
    seen = [target for target in targets if target.chosen.seen]
    unseen = [target for target in targets if not target.chosen.seen]
    rated = [(target.ratio, target) for target in unseen if target.ratio is not None]
    rated.sort(key=lambda pair: pair[0])
    ratios = [ratio for ratio, _ in rated]
    bars = [target.bar("") for _, target in rated]
    return Summary(
        targets=len({(target.chosen.dataset, target.chosen.prop) for target in targets}),
        seen=len({(target.chosen.dataset, target.chosen.prop) for target in seen}),
        seen_by=", ".join(sorted({name for target in seen for name in target.chosen.seen})),
        rated=len(rated),
        better=sum(ratio < 1 for ratio in ratios),
        surely=sum(bar is not None and bar.high is not None and bar.high < 1 for bar in bars),
        median=float(np.median(ratios)) if ratios else None,
        best=rated[0][1] if rated else None,
        worst=rated[-1][1] if rated else None,
        smallest=min((target.chosen.parts[2] for target in targets), default=0),
        largest=max((target.chosen.parts[2] for target in targets), default=0),
    )


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


def render(page: Page) -> str:
    """Turn a page into HTML; every name and text from outside is escaped by the templates."""
    from markupsafe import Markup

    parity = []
    for target in page.targets:
        run, points = target.chosen, page.points_of(target)
        drawn = inline(parity_spec(f"{run.dataset}, {run.name}", run.unit, points), "parity")
        parity.append((target, Markup(drawn), len(points)))  # noqa: S704 - drawn as XML: names are escaped
    bars = [
        (dataset, [bar for target in dataset.targets if (bar := target.bar(_name(page, target)))])
        for dataset in page.datasets
    ]
    top = plots.ratio_limit([bar for _, own in bars for bar in own])  # one scale for all datasets
    ratios = [
        (dataset, Markup(inline(ratio_spec(dataset.card.title, own, top), "ratios")))  # noqa: S704
        for dataset, own in bars
        if own
    ]
    # the page's policy lets this one script run, by its hash, and no other: a second wall behind escaping
    script = (plots.TEMPLATES / "page.js").read_text(encoding="utf-8")
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    facts = summarise(page.targets)
    layers = searched(page.runs)
    return (
        plots.environment()
        .get_template("page.html.jinja")
        .render(
            page=page,
            facts=facts,
            n_properties=facts.targets + len({(target.dataset, target.prop) for target in page.classes}),
            counted=counted(page),
            classes=[
                (target, Markup(inline(reliability_spec(target))))  # noqa: S704
                for target in page.classes
            ],
            parity=parity,
            ratios=ratios,
            column=Markup(plots.checkpoint_svg(page.checkpoints)),  # noqa: S704
            n_used=sum(checkpoint.is_used for checkpoint in page.checkpoints),
            shown=plots.SHOWN_POINTS,
            worst=plots.WORST_POINTS,
            layers=Markup(inline(layers_spec(layers), "layers")) if layers else "",  # noqa: S704
            drills=drills(page.blocks),
            anchor=Drill.anchor,
            draw=lambda figure: Markup(inline(figure.spec)),  # noqa: S704
            script=Markup(script),  # noqa: S704
            script_hash=script_hash,
        )
    )


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
    by_name = {(target.chosen.dataset, target.chosen.prop): target for target in reversed(page.targets)}
    missing = [f"{dataset}/{prop}" for dataset, prop in names if (dataset, prop) not in by_name]
    if missing:
        raise StrataError(f"cannot draw {', '.join(missing)}: not scored; run strata evaluate")
    parities = [
        (f"{target.chosen.dataset}: {target.chosen.name}", target.chosen.unit, page.points_of(target))
        for target in (by_name[name] for name in names)
    ]
    bars = [
        bar
        for target in page.targets
        if (bar := target.bar(f"{target.chosen.dataset}: {_name(page, target)}"))
    ]
    facts = summarise(page.targets)
    headline = (
        f"Test error below Base for {facts.better} of {facts.rated} {counted(page)}; "
        f"in the median {number(facts.median, 2)} × Base"
        + (f" ({facts.seen} left out: label seen by {facts.seen_by})" if facts.seen else "")
    )
    footnotes = [
        f"{dataset.card.name}: {dataset.card.caution or dataset.card.title}" for dataset in page.datasets
    ]
    return alone(result_spec(headline, parities, bars, footnotes))


def counted(page: Page) -> str:
    """Say what is counted where targets are."""
    return "properties" if len(page.schemes) < 2 else "pairs of a property and a split"


def _name(page: Page, target: Target) -> str:
    return f"{target.chosen.name}, {target.chosen.scheme}" if len(page.schemes) > 1 else target.chosen.name
