"""The stage `fit`, and the list of heads."""

from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True)

PARAMS = typer.Option(Path("params.yaml"), "--params", help="The settings.")


@app.command()
def fit(
    dataset: str = typer.Argument(help="A dataset that has vectors and splits."),
    store: Path = typer.Option(Path("store"), "--store", help="The store's folder."),
    params: Path = PARAMS,
    runs_of: list[Path] = typer.Option([], help="Stores whose runs are copied where they are the same."),
) -> None:
    """Fit every head of params.yaml on every property, feature set and split of a dataset.

    Runs that exist are skipped. The test part's targets are not read.
    """
    from core.params import load
    from featurestore.listed import leave_empty, without
    from featurestore.tables.layout import StoreLayout
    from heads.fit import fit as fit_dataset

    settings = load(params)
    lacks = without(store, dataset) if dataset in settings.datasets else None
    if lacks is not None:
        layout = StoreLayout(store)
        leave_empty([layout.runs(dataset), layout.predictions(dataset)], "fit")
        typer.echo(lacks, err=True)
        return
    fit_dataset(dataset, settings, store, runs_of).show()


@app.command()
def heads(params: Path = PARAMS) -> None:
    """List the heads, their settings in params.yaml, and what each is."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from core.params import Params, load
    from heads.registry import built_in, resolve

    asked = load(params) if params.exists() else Params()
    table = Table("head", "fitted", "what it is", "settings", show_lines=True)
    for name in dict.fromkeys([*built_in(), *asked.fit.heads, *asked.heads]):
        spec = resolve(name, asked.heads, str(params))
        settings = "\n".join(f"{key}: {value}" for key, value in spec.settings.items())
        label = f"{name} ({spec.label})" if spec.label else name
        what = (spec.cls.__doc__ or "").strip().splitlines()
        cells = [label, "yes" if name in asked.fit.heads else "", what[0] if what else "", settings]
        table.add_row(*map(escape, cells))
    Console().print(table)
