"""Commands that score, report and predict."""

from pathlib import Path

import typer

from etl.errors import StrataError

app = typer.Typer(no_args_is_help=True)

STORE = typer.Option(Path("store"), "--store", help="The store's folder.")


@app.command()
def evaluate(store: Path = STORE) -> None:
    """Score the chosen head and Base of every property on the test part; writes metrics.json and plots/."""
    from etl.params import load
    from featurestore.results import show
    from zoo.evaluate import CHOSEN
    from zoo.evaluate import evaluate as run
    from zoo.plots import number

    scored = run(load(), store)
    base = {(s.dataset, s.property, s.split): s.score.mae for s in scored if s.role != CHOSEN}
    rows = []
    for s in scored:
        if s.role == CHOSEN:
            reference = base.get((s.dataset, s.property, s.split))
            ratio = s.score.mae / reference if reference else None
            head = f"{s.head} ({s.label})" if s.label else s.head
            figures = (number(s.score.mae), number(reference), number(ratio, 3))
            rows.append((s.dataset, s.property, s.split, head, *figures, s.unit))
    headers = ("dataset", "property", "split", "chosen head", "test MAE", "Base MAE", "× Base", "unit")
    show("Scores on the test part", headers, rows)


@app.command()
def report(
    store: Path = STORE,
    out: Path = typer.Option(Path("report/index.html"), "-o", "--out", help="The page to write."),
    picture: Path | None = typer.Option(None, help="Also draw parity plots and bars into this SVG file."),
    plot: list[str] = typer.Option([], help="DATASET/PROPERTY whose parity plot stands in the picture."),
) -> None:
    """Write one HTML page with scores, plots, rejects and provenance; it opens from disk."""
    from etl.params import load
    from zoo.report import picture as draw
    from zoo.report import report as run

    page = run(load(), store, out)
    typer.echo(f"{out}: {len(page.targets)} scored targets, {out.stat().st_size / 1e3:.0f} kB")
    if picture is not None:
        names = []
        for name in plot:
            dataset, slash, prop = name.partition("/")
            if not slash:
                raise StrataError(f"--plot {name!r} is not DATASET/PROPERTY, such as emt_alloys/volume")
            names.append((dataset, prop))
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(draw(page, names), encoding="utf-8", newline="\n")
        typer.echo(f"{picture}: drawn")


@app.command()
def predict(
    files: list[Path] = typer.Argument(help="Structures: CIF, POSCAR or (extended) XYZ."),
    dataset: str = typer.Option(..., help="The dataset whose model is used: strata info."),
    prop: str = typer.Option(..., "--property", help="The property to predict."),
    store: Path = STORE,
) -> None:
    """Predict a property of your own structures with the head that was chosen for it."""
    from etl.cards import list_cards
    from etl.params import load
    from featurestore.results import show
    from zoo.plots import number
    from zoo.predict import predict as run

    model, found = run(files, dataset, prop, load(), store)
    rows = [(p.file, p.name, p.formula, number(p.value)) for p in found if p.error is None]
    if rows:
        unit = model.unit
        show(f"{prop} after {dataset}", ("file", "structure", "formula", f"prediction ({unit})"), rows)
        label = f" ({model.label})" if model.label else ""
        base = f"; Base {number(model.base_test_mae)}" if model.base_test_mae is not None else ""
        typer.echo(
            f"head {model.head}{label} on {model.feature_set} of {model.source_model}; "
            f"MAE on its test part {number(model.test_mae)} {unit}{base}"
        )
        for card in list_cards():
            if card.name == dataset and card.caution:
                typer.echo(f"{dataset}: {card.caution}")
    failed = [p for p in found if p.error is not None]
    for p in failed:
        typer.echo(f"{p.file}: {p.error}" if p.file not in str(p.error) else str(p.error), err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def models() -> None:
    """List the source models: what each was trained to predict, its own error, its licence."""
    from featurestore.results import show
    from zoo.hub import list_models, load_card

    cards = [load_card(name) for name in list_models()]
    rows = [
        (
            card.name,
            f"{card.target.property} ({card.target.unit}) of {card.target.dataset}",
            ", ".join(f"{name} {value:g}" for name, value in card.metrics.items()),
            card.licence,
            card.weights_sha256[:12],
        )
        for card in cards
    ]
    show("Source models", ("name", "predicts", "its own errors", "licence", "weights"), rows)
