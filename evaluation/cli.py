"""Commands that score, report and compare, and the one that trains a source model and measures it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from core.atomic import write_whole
from core.errors import StrataError
from evaluation.explorer.cli import app as explorer

app = typer.Typer(no_args_is_help=True)
datasets = typer.Typer(help="What the datasets of a store hold.")
app.add_typer(datasets, name="datasets")
app.registered_commands += explorer.registered_commands  # explore, predict, screen

STORE = typer.Option(Path("store"), "--store", help="The store's folder.")
PARAMS = typer.Option(Path("params.yaml"), "--params", help="The settings.")


@app.command()
def evaluate(store: Path = STORE, params: Path = PARAMS) -> None:
    """Score the chosen head and Base of every property on the test part; writes metrics.json and plots/."""
    from core.params import load
    from core.text import number
    from evaluation.evaluate import evaluate as run
    from evaluation.evaluate import notes
    from evaluation.metrics import class_lines_of, lines_of
    from featurestore.listed import with_rows
    from featurestore.query.output import show

    def figure(facts: Mapping[str, Any], name: str, digits: int = 4) -> str:
        """Write a number, of several repetitions with its standard deviation."""
        sd = facts.get(f"{name}_sd")
        return number(facts.get(name), digits) + (f" ± {number(sd, 2)}" if sd is not None else "")

    settings, left_out = with_rows(load(params), store)
    scored = run(settings, store)
    lines = lines_of(scored)
    optional = {  # columns that are there where they have something to say
        "repetitions": [str(line.facts.get("repetitions", "")) for line in lines],
        "MAE of log10": [figure(line.facts, "log_mae", 3) for line in lines],
        "composition MAE": [number(line.facts.get("composition_mae")) for line in lines],
        "rows left out": [str(line.facts["rows_left_out"] or "") for line in lines],
        "label seen by": [", ".join(sorted({n for s in line.scored for n in s.seen})) for line in lines],
    }
    optional = {name: cells for name, cells in optional.items() if set(cells) - {"", number(None)}}
    rows = []
    for i, line in enumerate(lines):
        facts = line.facts
        head = f"{facts['head']} ({facts['label']})" if facts["label"] else facts["head"]
        figures = (figure(facts, "mae"), figure(facts, "base_mae"), figure(facts, "ratio", 3))
        more = (cells[i] for cells in optional.values())
        place = (line.dataset, line.property, line.split)
        rows.append((*place, head, facts["reads"], *figures, facts["unit"], *more))
    headers = ("dataset", "property", "split", "chosen head", "feature set", "test MAE", "Base MAE", "× Base")
    if rows:
        show("Scores on the test part", (*headers, "unit", *optional), rows)
    of_classes = [
        (
            *(line.dataset, line.property, line.split, line.facts["head"], line.facts["reads"]),
            *(figure(line.facts, name, 3) for name in ("balanced_accuracy", "base_balanced_accuracy")),
            *(figure(line.facts, name, 3) for name in ("roc_auc", "log_loss", "base_log_loss")),
        )
        for line in class_lines_of(scored)
    ]
    if of_classes:
        names = ("balanced accuracy", "of Base", "ROC AUC", "log loss", "of Base")
        show("Classes on the test part", (*headers[:5], *names), of_classes)
    for note in [*notes(settings, store), *left_out]:
        typer.echo(note)


@app.command()
def report(
    store: Path = STORE,
    out: Path = typer.Option(Path("report/index.html"), "-o", "--out", help="The page to write."),
    picture: Path | None = typer.Option(None, help="Also draw parity plots and bars into this SVG file."),
    plot: list[str] = typer.Option([], help="DATASET/PROPERTY whose parity plot stands in the picture."),
    results: Path = typer.Option(Path("results"), help="Results of experiments, shown where there are some."),
    figures: Path | None = typer.Option(
        None, help="Also write every figure as SVG, PNG and Vega-Lite into this folder."
    ),
    params: Path = PARAMS,
) -> None:
    """Write one HTML page with scores, plots, experiments, rejects and provenance; it opens from disk."""
    from core.params import load
    from evaluation.report.report import picture as draw
    from evaluation.report.report import report as run
    from evaluation.report.report import write_figures
    from featurestore.listed import with_rows

    settings, left_out = with_rows(load(params), store)
    for line in left_out:
        typer.echo(line, err=True)
    page = run(settings, store, out, params_file=params, results=results)
    if figures is not None:
        typer.echo(
            f"{figures}: {len(write_figures(page, figures)) // 3} figures, each as SVG, PNG and Vega-Lite"
        )
    count = len(page.answers) + len(page.classes)
    typer.echo(f"{out}: {count} scored properties, {out.stat().st_size / 1e3:.0f} kB")
    if picture is not None:
        names = []
        for name in plot:
            dataset, slash, prop = name.partition("/")
            if not slash:
                raise StrataError(f"--plot {name!r} is not DATASET/PROPERTY, such as emt_alloys/volume")
            names.append((dataset, prop))
        write_whole(picture, draw(page, names))
        typer.echo(f"{picture}: drawn")


@app.command()
def audit(
    dataset: str = typer.Argument(help="A dataset of the store that has splits."),
    prop: str | None = typer.Option(
        None, "--property", help="One property; by default all that have splits."
    ),
    store: Path = STORE,
    out: Path | None = typer.Option(
        None, "-o", "--out", help="Also write a CSV with one line per test entry, its errors beside it."
    ),
) -> None:
    """Find test entries whose crystal was seen before, and say what the scores are without them.

    A crystal counts in any cell. Errors are shown of runs that `evaluate` scored, and nothing is chosen here.
    """
    from evaluation.leakage import audit as run
    from evaluation.leakage_tables import csv, notes, tables
    from featurestore.query.output import show

    if out is not None and store.resolve() in out.resolve().parents:
        raise StrataError(f"{out} lies inside the store {store}; answers are written elsewhere")
    found = run(store, dataset, prop)
    for shown in tables(found):
        show(*shown)
    for note in notes(found):
        typer.echo(note)
    if out is not None:
        try:
            write_whole(out, csv(found))
        except OSError as error:
            raise StrataError(f"cannot write {out}: {error.strerror or error}") from None
        typer.echo(f"{out}: {len(found.entries):,} test entries")


@app.command()
def experiment(
    names: list[str] = typer.Argument(None, metavar="[NAME]...", help="Which; all of them: all."),
    list_: bool = typer.Option(False, "--list", help="List the experiments and what each asks."),
    store: Path = STORE,
    out: Path = typer.Option(Path("results"), "-o", "--out", help="The folder of the results."),
    params: Path = PARAMS,
) -> None:
    """Run experiments: the paper's tables, figures and statistics on your datasets.

    Settings are under experiments in params.yaml. What was run is not run again; a stopped one goes on.
    """
    from core.params import load
    from evaluation.experiments import experiments, find, run
    from evaluation.report.experiment_blocks import grid
    from featurestore.query.output import show

    if list_ or not names:
        rows = [(e.name, e.question, e.paper) for e in experiments().values()]
        show("Experiments", ("name", "question", "in the paper"), rows)
        return
    settings = load(params)
    wanted = [find(name).name for name in (experiments() if names == ["all"] else names)]
    for name in wanted:
        result = run(name, settings, store, out, str(params))
        found = grid(name, result.tables["table"], find(name).tables["table"])
        cells = [[cell.text for cell in row] for row in found.rows]
        show(find(name).question, [title for title, _ in found.columns], cells)
        for note in result.notes:
            typer.echo(note)
        typer.echo(f"{out / name}: {', '.join(result.tables)}")


@app.command("train-source")
def train_source(
    minutes: float | None = typer.Option(None, help="Pause after so long; the same command goes on."),
    publish: str | None = typer.Option(None, help="Its name in models/; reads the test part for the card."),
    half: bool = typer.Option(False, "--half", help="Publish in float16."),
    force: bool = typer.Option(False, "--force", help="Replace a model of one's own of that name."),
    store: Path = STORE,
    params: Path = PARAMS,
) -> None:
    """Train a source model as the section source of params.yaml says; docs/training.md has the steps."""
    from core.params import load
    from core.text import number
    from evaluation.source_model import publish_source
    from featurestore.query.output import show
    from zoo.publish import check_free
    from zoo.training.loop import Paused
    from zoo.training.source import prepare

    def watch(done: int, of: int) -> None:
        typer.echo(f"graphs: {done:,} of {of:,}", err=True)

    if publish is not None:
        check_free(publish, force)
    training = prepare(load(params), store, watch)
    try:
        trained = training.run(None if minutes is None else minutes * 60)
    except Paused:
        typer.echo("paused, and saved; the same command goes on from here")
        return
    rows = [
        (name, number(value), unit)
        for name, value, unit in zip(training.rows.names, trained.val_mae, training.rows.units, strict=True)
    ]
    title = f"Best of {len(trained.history)} epochs: {trained.best_epoch + 1}"
    show(title, ("property", "val MAE", "unit"), rows)
    if publish is not None:
        card = publish_source(training, trained, publish, store, half, force)
        show(f"Published {publish}", ("figure", training.rows.units[0]), list(card.metrics.items()))


@datasets.command("report")
def report_datasets(
    names: Annotated[list[str] | None, typer.Argument(help="Datasets of the store; all by default.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    store: Path = STORE,
    params: Path = PARAMS,
) -> None:
    """Show what the store's datasets hold: values, what was dropped and why, elements, what is shared."""
    from rich.console import Console

    from core.params import load
    from evaluation.report.dataset_facts import as_json, data_report

    facts = data_report(store, names or (), load(params).extract.default)
    if json_:
        typer.echo(as_json(facts))
        return
    console = Console(soft_wrap=True, highlight=False)
    for item in facts:
        console.print(item)
