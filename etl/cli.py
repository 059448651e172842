"""Commands of the `etl` room: datasets and their way into the store."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
datasets = typer.Typer(no_args_is_help=True, help="The datasets that Strata knows.")
app.add_typer(datasets, name="datasets")


@app.command()
def ingest(
    dataset: Annotated[str, typer.Argument(help="Name of a card; see `strata datasets list`.")],
) -> None:
    """Read a dataset's records into the store: entries, targets, structures."""
    from rich.console import Console

    from etl.ingest import ingest as run
    from etl.params import load

    Console(soft_wrap=True).print(run(dataset, load(), Path("store")))


@app.command()
def extract() -> None:
    """Run the source model over every structure that has no vectors yet."""
    from rich.console import Console

    from etl.extract import extract as run
    from etl.params import load

    Console(soft_wrap=True).print(str(run(load(), Path("store"))), highlight=False, markup=False)


@app.command()
def embed(
    files: Annotated[
        list[Path], typer.Argument(help="CIF, POSCAR and XYZ files, with one or more structures.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write.")],
    checkpoints: Annotated[
        str, typer.Option(help="Any of atom_0…8, bond_0…8, angle_0…4, with commas between.")
    ] = "atom_8,bond_8,angle_4",
    source_model: Annotated[
        str | None, typer.Option(help="A card in zoo/models/; by default the one in params.yaml.")
    ] = None,
) -> None:
    """Write the vectors of your own structures to a file; needs no store."""
    from rich.console import Console

    from etl.embed import embed_files, write
    from etl.params import PARAMS_FILE, Params, load

    params = load() if PARAMS_FILE.exists() else Params()
    found = embed_files(
        files,
        checkpoints=[name.strip() for name in checkpoints.split(",")],
        source_model=source_model,
        settings=params.extract,
        limits=params.ingest,
    )
    write(found, output)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"{output}: {len(found.ids):,} structures, {', '.join(found.checkpoints)}")
    for reject in found.rejects:
        console.print(f"left out, {reject.code}: {reject.entry_id}: {reject.message}")


@datasets.command("list")
def list_datasets() -> None:
    """List the datasets: rows, properties, provider, title."""
    from rich.console import Console
    from rich.table import Table

    from etl.cards import list_cards

    table = Table(box=None, pad_edge=False)
    for title in ("dataset", "rows", "properties", "provider", "title"):
        table.add_column(
            title, justify="right" if title in ("rows", "properties") else "left", no_wrap=title != "title"
        )
    for card in list_cards():
        table.add_row(
            card.name, f"{card.expected_rows:,}", str(len(card.properties)), card.provider, card.title
        )
    Console().print(table)


@datasets.command("show")
def show_dataset(name: Annotated[str, typer.Argument(help="Name of a dataset.")]) -> None:
    """Explain one dataset: what it holds, in which units, where it comes from."""
    from rich.console import Console
    from rich.table import Table

    from etl.cards import load_card

    card = load_card(name)
    console = Console()
    console.print(f"[bold]{card.name}[/bold]: {card.title}", highlight=False)
    console.print(card.note, highlight=False)
    table = Table(box=None, pad_edge=False)
    for title in ("property", "unit", "origin", "description", "column", "in the paper"):
        table.add_column(title, no_wrap=title in ("property", "unit"))
    for key, item in card.properties.items():
        table.add_row(key, item.unit, item.origin, item.description, item.column, item.paper_name or "")
    console.print(table)
    file = f"{card.source.file} from {card.source.url}" if card.source else "none; ASE carries or makes it"
    for label, text in (
        ("records", f"{card.expected_rows:,} ({card.material_class})"),
        ("file", file),
        ("licence", card.licence),
        ("cite", f"{card.citation}{f', doi:{card.doi}' if card.doi else ''}"),
    ):
        console.print(f"{label}: {text}", highlight=False)
