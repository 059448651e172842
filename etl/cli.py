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


@app.command()
def ingest(
    dataset: Annotated[str, typer.Argument(help="Name of a card, or a folder or file of your own.")],
    name: Annotated[str | None, typer.Option(help="Of your own data: what to call it.")] = None,
    property_: Annotated[
        list[str] | None,
        typer.Option("--property", help="Of your own data: NAME or NAME=COLUMN; repeatable."),
    ] = None,
    unit: Annotated[list[str] | None, typer.Option(help="Of your own data: one for each property.")] = None,
    origin: Annotated[
        str, typer.Option(help="Of your own data: measured, computed, estimated.")
    ] = "measured",
    material_class: Annotated[str, typer.Option(help="Of your own data: 3D, 2D or molecule.")] = "3D",
    id_column: Annotated[str | None, typer.Option(help="Of your own data: where the ids stand.")] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(help="Of your own data: a property that is positive and learned as its logarithm."),
    ] = None,
    version: Annotated[str | None, typer.Option(help="Of a dataset that has several.")] = None,
) -> None:
    """Read a dataset's records into the store: entries, targets, structures.

    With --name the first argument is a path: a folder with id_prop.csv and structure files, an extended
    XYZ, an ASE database, a data frame, or a CSV with a column of formulas where there are no structures. Its
    card is written, and its name added to params.yaml.
    """
    from rich.console import Console

    from core.params import load
    from etl.ingest import ingest as run

    console = Console(soft_wrap=True)
    load()  # before anything is written: a params.yaml that cannot be read stops the command
    if name is not None:
        from etl.own_cards import add_to_params, write_card

        card = write_card(
            Path(dataset),
            name,
            property_ or [],
            unit or [],
            origin=_one_of(origin, ("measured", "computed", "estimated"), "origin"),  # type: ignore[arg-type]
            material_class=_one_of(material_class, ("3D", "2D", "molecule"), "material class"),  # type: ignore[arg-type]
            id_column=id_column,
            logs=log or [],
        )
        console.print(f"wrote {card}", highlight=False, markup=False)
    with _progress() as progress:
        report = run(name or dataset, load(), Path("store"), version=version, progress=progress)
    console.print(report)
    if name is not None and add_to_params(name):
        console.print(f"added {name} to datasets in params.yaml", highlight=False, markup=False)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names of cards; see `strata datasets list`.")],
    version: Annotated[str | None, typer.Option(help="Of a dataset that has several.")] = None,
) -> None:
    """Download the published files of datasets ahead, into the cache."""
    from rich.console import Console

    from etl.cards import load_card
    from etl.raw import obtain

    console = Console(soft_wrap=True, highlight=False)
    for card in [load_card(name, version) for name in names]:
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
) -> None:
    """Run source models over every structure that has no vectors of theirs yet."""
    from rich.console import Console

    from core.errors import StrataError
    from core.params import load
    from etl.extract import extract as run
    from etl.parts import Part
    from zoo.extraction import notice

    console = Console(soft_wrap=True)
    if plan and shard is not None:
        raise StrataError(f"--plan with --shard {shard}: say how many parts there are with --shards N")
    if shards > 1 and not plan:
        raise StrataError(f"--shards {shards} goes with --plan; to run one of the parts: --shard i/{shards}")
    part = None if shard is None else Part.parse(shard)
    params = load()
    if plan:
        _show_plan(console, params, source_models, shards)
        return
    for name in source_models or params.extract.source_models:
        if (said := notice(name, params.extract)) is not None:
            typer.echo(f"Note: {said}", err=True)
        console.print(str(run(params, Path("store"), [name], part)[0]), highlight=False, markup=False)


def _show_plan(console: "Console", params: "Params", source_models: list[str] | None, shards: int) -> None:
    from rich.table import Table

    from core.progress import duration
    from etl.plan import plan

    found = plan(params, Path("store"), source_models or None, shards)
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
) -> None:
    """Read tables of your own columns into the store, as vectors beside those of the networks."""
    from rich.console import Console

    from core.params import load
    from etl.columns import keep_columns as run

    console = Console(soft_wrap=True)
    params = load()
    for name in names or params.columns:
        console.print(str(run(name, params, Path("store"))), highlight=False, markup=False)


@app.command(rich_help_panel="Networks and predictions")
def screen(
    model: Annotated[
        str, typer.Option(help="DATASET/PROPERTY of this project, or a bundle's folder or zip.")
    ],
    over: Annotated[list[str], typer.Option(help="A dataset whose structures are ranked; repeatable.")],
    minimum: Annotated[float | None, typer.Option(help="Of the window for the value, in its unit.")] = None,
    maximum: Annotated[float | None, typer.Option(help="Of that window; either end may be open.")] = None,
    lowest: Annotated[
        bool, typer.Option("--lowest", help="Without a window: the lowest value first.")
    ] = False,
    top: Annotated[int, typer.Option(help="How many are shown, and written.")] = 50,
    where: Annotated[
        str | None, typer.Option(help="A condition in SQL, such as 'n_atoms < 20' (docs/screening.md).")
    ] = None,
    inside_only: Annotated[
        bool, typer.Option("--inside-only", help="Leave out what lies at the edge of the domain, or outside.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help=".csv, .parquet, .json or .xlsx to write.")
    ] = None,
    level: Annotated[float, typer.Option(help="Of the intervals: the share of values that they hold.")] = 0.9,
    save: Annotated[
        str | None, typer.Option(help="Keep the whole ranking in the view screens, by name.")
    ] = None,
    folder: Annotated[Path, typer.Option("--store", help="The store's folder.")] = Path("store"),
) -> None:
    """Rank all structures of datasets by the chance that a property lies in a window, or by its value."""
    from core.params import PARAMS_FILE, Params, load
    from core.table_file import TableFile
    from etl.plan import seconds_to_extract
    from etl.show_screen import lacking, table
    from featurestore.query.store import open_store
    from zoo.candidates import Candidates
    from zoo.load import load as load_model
    from zoo.screen import Wanted, check_request, rank

    wanted = Wanted(minimum, maximum, lowest, where, inside_only, level)
    file = None if output is None else TableFile(output)  # what cannot be written stops it before any work
    params = load() if PARAMS_FILE.exists() else Params()
    used = load_model(model, store=folder)
    check_request(used, top, save)
    with open_store(folder, files=False) as opened:
        candidates = Candidates.of(used, opened, over)
        for line in lacking(candidates, seconds_to_extract(params, folder, candidates.to_extract, over)):
            typer.echo(line, err=True)
        found = rank(candidates, wanted, told=True)
        if save is not None:
            found.keep(save)
        frame = found.frame(top)
    table(found, frame)
    if file is not None:
        with file:
            file.append(frame)
        typer.echo(f"{output}: {len(frame):,} rows")
    if save is not None:
        typer.echo(f"{save}: {len(found):,} rows of the view screens")


store = typer.Typer(no_args_is_help=True)
app.add_typer(store, name="store")
STORE = typer.Option("--store", help="The store's folder.")


@store.command()
def drift(
    sample: Annotated[int, typer.Option(help="How many structures to compute again.")] = 50,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    source_model: Annotated[str | None, typer.Option(help="By default the store's default.")] = None,
    folder: Annotated[Path, STORE] = Path("store"),
) -> None:
    """Compute the vectors of a few structures again, here and now, and compare them with those kept."""
    from core.errors import StrataError
    from core.params import PARAMS_FILE, Params, load
    from etl.drift import drift as run

    params = load() if PARAMS_FILE.exists() else Params()
    found = run(
        folder, sample=sample, seed=seed, source_model=source_model, backbones=params.extract.backbones
    )
    typer.echo(str(found))
    if not found.agrees:
        raise StrataError(
            "the vectors computed here are not those that are kept: do not mix them. Extract in the "
            "environment that the view extractions names, or into a new store"
        )


@store.command()
def migrate(folder: Annotated[Path, STORE] = Path("store")) -> None:
    """Bring a store that an earlier version made up to date; nothing is computed again."""
    from core.params import PARAMS_FILE, Params, load
    from etl.migrate import migrate as run

    params = load() if PARAMS_FILE.exists() else Params()
    for line in run(folder, params.extract.default):
        typer.echo(line)
    typer.echo("now tell DVC, so that nothing is computed again for it: dvc commit --force")


def _one_of(word: str, valid: tuple[str, ...], kind: str) -> str:
    from core.errors import unknown

    if word not in valid:
        raise unknown(kind, word, valid)
    return word


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
            card.name, _rows(card.expected_rows), str(len(card.properties)), card.provider, card.title
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
        column = f"{item.column}: {item.formula}" if item.formula else item.column
        column += ", learned as its logarithm" if item.transform else ""
        paper = (item.paper_name or "") + (" (inferred)" if item.inferred else "")
        table.add_row(key, item.unit, item.origin, item.description, column, paper)
    console.print(table)
    file = (
        f"{card.source.file} from {card.source.url}" if card.source else card.path or "none; ASE carries it"
    )
    for label, text in (
        ("records", f"{_rows(card.expected_rows)} ({card.material_class})"),
        ("file", file),
        ("structures by id from", ", ".join(item.file for item in card.library)),
        (
            "without a structure",
            f"composition by column {card.composition_column}" if card.composition_column else "",
        ),
        ("versions", ", ".join(f"{key} ({item.file})" for key, item in card.versions.items())),
        ("licence", card.licence),
        ("cite", f"{card.citation}{f', doi:{card.doi}' if card.doi else ''}"),
    ):
        if text:
            console.print(f"{label}: {text}", highlight=False)


def _rows(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


@datasets.command("duplicates")
def find_duplicates() -> None:
    """Find structures that are one crystal in another setting; kept in store/duplicates."""
    from rich.console import Console

    from featurestore.splits.duplicates import update

    Console(soft_wrap=True).print(str(update(Path("store"))), highlight=False, markup=False)
