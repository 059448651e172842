"""Commands of the `etl` room: datasets and their way into the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from core.download import Progress
    from core.params import Params

app = typer.Typer()
datasets = typer.Typer(help="The datasets that Strata knows; without a word more: their list.")
app.add_typer(datasets, name="datasets")

STORE = typer.Option("--store", help="The store's folder.")
PARAMS = typer.Option("--params", help="The settings.")


@app.command()
def ingest(
    dataset: Annotated[str, typer.Argument(help="Name of a card, or a folder or file of your own.")],
    name: Annotated[str | None, typer.Option(help="Of your own data: what to call it.")] = None,
    property_: Annotated[
        list[str] | None,
        typer.Option("--property", help="Of your own data: NAME or NAME=COLUMN; repeatable."),
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(help="Of your own data: one for all properties, or one for each.")
    ] = None,
    origin: Annotated[
        str | None, typer.Option(help="Of your own data, needed: measured, computed or estimated.")
    ] = None,
    material_class: Annotated[str, typer.Option(help="Of your own data: 3D, 2D or molecule.")] = "3D",
    id_column: Annotated[str | None, typer.Option(help="Of your own data: where the ids stand.")] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(help="Of your own data: a property that is positive and learned as its logarithm."),
    ] = None,
    version: Annotated[str | None, typer.Option(help="Of a dataset that has several.")] = None,
    folder: Annotated[Path, STORE] = Path("store"),
    params: Annotated[Path, PARAMS] = Path("params.yaml"),
) -> None:
    """Read a dataset's records into the store: entries, targets, structures.

    With --name the first argument is a path: a folder with id_prop.csv and structure files, an extended
    XYZ, an ASE database, a data frame, or a CSV or Excel file with a column of formulas where there are no
    structures. Its card is written, and its name added to params.yaml.
    """
    from rich.console import Console

    from core.params import load
    from etl.ingest import ingest as run
    from etl.own_data import add, check_request

    console = Console(soft_wrap=True, highlight=False, markup=False)
    check_request(dataset, name, origin, property_ or [], unit or [])
    with _progress() as progress:
        if name is None:
            console.print(run(dataset, load(params), folder, version=version, progress=progress))
            return
        data = Path(dataset).expanduser()
        added = add(
            *(data, name, property_ or [], unit or [], origin, material_class, id_column, log or []),
            *(folder, params, progress),
        )
    console.print(f"wrote {added.card}")
    console.print(added.report)
    if added.is_listed_now:
        console.print(f"added {name} to datasets in {params}")


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names of cards; see `strata datasets list`.")],
    version: Annotated[str | None, typer.Option(help="Of a dataset that has several.")] = None,
    params: Annotated[Path, PARAMS] = Path("params.yaml"),
) -> None:
    """Download the published files of datasets ahead, into the cache."""
    from rich.console import Console

    from core.params import load_if_there
    from etl.cards import load_card
    from etl.raw import obtain

    console = Console(soft_wrap=True, highlight=False)
    versions = load_if_there(params).ingest.versions
    for card in [load_card(name, version or versions.get(name)) for name in names]:
        if card.source is None:
            console.print(f"{card.name}: needs no file")
            continue
        console.print(f"{card.name}: licence {card.licence}; please cite {card.citation}", markup=False)
        for source in (card.source, *card.library):
            with _progress() as progress:
                found = obtain(card, source, progress)
            console.print(f"  {found.path}, SHA-256 {found.sha256}", markup=False)


@app.command()
def extract(
    source_models: Annotated[
        list[str] | None, typer.Argument(help="Source models; by default all of extract.source_models.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="i/N: only part i of N of the structures; any number of them may run at once."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what is missing and how long it would take; nothing is kept.")
    ] = False,
    shards: Annotated[int, typer.Option(min=1, help="With --plan: how many parts the work is cut into.")] = 1,
    folder: Annotated[Path, STORE] = Path("store"),
    params: Annotated[Path, PARAMS] = Path("params.yaml"),
) -> None:
    """Run source models over every structure that has no vectors of theirs yet."""
    from rich.console import Console

    from core.errors import StrataError
    from core.params import load
    from etl.extract import extract as run
    from etl.parts import Part
    from featurestore.listed import with_rows
    from zoo.extraction import notice

    console = Console(soft_wrap=True)
    if plan and shard is not None:
        raise StrataError(f"--plan with --shard {shard}: say how many parts there are with --shards N")
    if shards > 1 and not plan:
        raise StrataError(f"--shards {shards} goes with --plan; to run one of the parts: --shard i/{shards}")
    part = None if shard is None else Part.parse(shard)
    settings, left_out = with_rows(load(params), folder, "entries")
    for line in left_out:
        typer.echo(line, err=True)
    if plan:
        _show_plan(console, settings, folder, source_models, shards)
        return
    for name in source_models or settings.extract.source_models:
        if (said := notice(name, settings.extract)) is not None:
            typer.echo(f"Note: {said}", err=True)
        console.print(str(run(settings, folder, [name], part)[0]), highlight=False, markup=False)


def _show_plan(
    console: "Console", params: "Params", folder: Path, source_models: list[str] | None, shards: int
) -> None:
    from rich.table import Table

    from core.progress import duration
    from etl.plan import plan

    found = plan(params, folder, source_models or None, shards)
    table = Table(box=None, pad_edge=False)
    titles = [
        "source model",
        "missing",
        "cost",
        "time here",
        *(["largest shard", "its time"] if shards > 1 else []),
    ]
    for title in titles:
        table.add_column(title, justify="left" if title == "source model" else "right")
    for one in found:
        cells = [one.source_model, f"{one.missing:,}", f"{one.cost:,.0f} {one.unit}", duration(one.seconds)]
        if shards > 1:
            cells += [f"{one.largest:,}", duration(one.shard_seconds)]
        table.add_row(*cells)
    console.print(table)
    for one in found:
        if one.sample is not None:
            console.print(
                f"{one.source_model}: {one.sample.structures} of the missing structures, drawn at random, "
                f"took one process {one.sample.seconds:.2g} s; time here is by {one.workers}",
                highlight=False,
            )
    console.print(
        "cost and time: from this measurement, here and now, scaled by the number of atoms; without the time "
        f"to start{f'; of {shards} shards, each on a machine such as this one' if shards > 1 else ''}",
        highlight=False,
    )


@app.command()
def columns(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names in the section columns; by default all of them.")
    ] = None,
    folder: Annotated[Path, STORE] = Path("store"),
    params: Annotated[Path, PARAMS] = Path("params.yaml"),
) -> None:
    """Read tables of your own columns into the store, as vectors beside those of the networks."""
    from rich.console import Console

    from core.params import load
    from etl.columns import keep_columns as run

    console = Console(soft_wrap=True)
    settings = load(params)
    for name in names or settings.columns:
        console.print(str(run(name, settings, folder)), highlight=False, markup=False)


store = typer.Typer(no_args_is_help=True)
app.add_typer(store, name="store")


@store.command()
def drift(
    sample: Annotated[int, typer.Option(help="How many structures to compute again.")] = 50,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    source_model: Annotated[str | None, typer.Option(help="By default the store's default.")] = None,
    folder: Annotated[Path, STORE] = Path("store"),
    params: Annotated[Path, PARAMS] = Path("params.yaml"),
) -> None:
    """Compute the vectors of a few structures again, here and now, and compare them with those kept."""
    from core.errors import StrataError
    from core.params import load_if_there
    from etl.drift import drift as run

    settings = load_if_there(params)
    found = run(
        folder, sample=sample, seed=seed, source_model=source_model, backbones=settings.extract.backbones
    )
    typer.echo(str(found))
    if not found.agrees:
        raise StrataError(
            "the vectors computed here are not those that are kept: do not mix them. Extract in the "
            "environment that the view extractions names, or into a new store"
        )


@store.command()
def migrate(
    folder: Annotated[Path, STORE] = Path("store"), params: Annotated[Path, PARAMS] = Path("params.yaml")
) -> None:
    """Bring a store that an earlier version made up to date; nothing is computed again."""
    from core.params import load_if_there
    from etl.migrate import migrate as run

    settings = load_if_there(params)
    for line in run(folder, settings.extract.default):
        typer.echo(line)
    typer.echo("now tell DVC, so that nothing is computed again for it: dvc commit --force")


@contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar for each file that is downloaded; nothing is shown before the first byte."""
    from core.progress import Bars

    with Bars("bytes") as bars:

        def tell(file: str, done: int, total: int | None) -> None:
            bars.show(file, file, done, total)

        yield tell


@datasets.callback(invoke_without_command=True)
def datasets_by_default(context: typer.Context) -> None:
    """The datasets that Strata knows; without a word more: their list."""
    if context.invoked_subcommand is None:
        list_datasets()


@datasets.command("list")
def list_datasets() -> None:
    """List the datasets: rows, properties, provider, title."""
    from etl.show_datasets import list_all

    list_all()


@datasets.command("show")
def show_dataset(name: Annotated[str, typer.Argument(help="Name of a dataset.")]) -> None:
    """Explain one dataset: what it holds, in which units, where it comes from."""
    from etl.show_datasets import explain

    explain(name)


@datasets.command("remove")
def remove_dataset(
    name: Annotated[str, typer.Argument(help="A dataset of your own.")],
    folder: Annotated[Path, STORE] = Path("store"),
    params: Annotated[Path, PARAMS] = Path("params.yaml"),
) -> None:
    """Take a dataset of your own out of the project: its card, its name in the params, its rows in the store.

    Your files are not touched, and vectors stay. Datasets that come with Strata are not removed.
    """
    from etl.removal import remove_dataset as run

    typer.echo(str(run(name, folder, params)))


@datasets.command("duplicates")
def find_duplicates(folder: Annotated[Path, STORE] = Path("store")) -> None:
    """Find structures that are one crystal in another setting; kept in store/duplicates."""
    from rich.console import Console

    from featurestore.splits.duplicates import update

    Console(soft_wrap=True).print(str(update(folder)), highlight=False, markup=False)
