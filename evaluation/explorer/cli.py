"""Commands whose answer may be a page with a map: explore, predict and screen."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from core.table_file import TableFile
    from evaluation.explorer.structure_map import StructureMap

app = typer.Typer()

STORE = typer.Option(Path("store"), "--store", help="The store's folder.")
PARAMS = typer.Option(Path("params.yaml"), "--params", help="The settings.")
PREDICTIONS = "Networks and predictions"  # heading of `strata --help`
OUTPUT = typer.Option(
    [], "-o", "--output", help=".csv, .parquet, .json or .xlsx to write, or a page: .html; repeatable."
)


@app.command()
def explore(
    dataset: list[str] = typer.Option([], help="Whose structures; repeatable, by default all."),
    prop: list[str] = typer.Option(
        [],
        "--property",
        help="PROPERTY or DATASET/PROPERTY, also predicted for every structure; repeatable. By default all "
        "values are shown, and no model is run.",
    ),
    checkpoint: list[str] = typer.Option(
        [], help="Whose vectors: CHECKPOINT or SOURCE/CHECKPOINT (strata features); repeatable."
    ),
    output: Path | None = typer.Option(None, "-o", "--output", help="The page, by default map.html."),
    umap: bool = typer.Option(False, "--umap", help="Also a UMAP: a minute for 40,000 structures."),
    shares: int = typer.Option(50, help="Structures whose atoms get shares of the prediction."),
    serve: bool = typer.Option(False, "--serve", help="Show it from here, for more than a file holds."),
    port: int = typer.Option(0, help="Of --serve; 0: any that is free."),
    json_: Path | None = typer.Option(None, "--json", help="Also in chemiscope's format: .json or .json.gz."),
    folder: Path = STORE,
    params: Path = PARAMS,
) -> None:
    """Map the structures of a store on one page: every one a point, with its crystal, values, neighbours."""
    from core.params import load_if_there
    from evaluation.explorer.build import Request, explaining_model, store_map
    from evaluation.explorer.chemiscope_file import check_path as check_json
    from evaluation.explorer.chemiscope_file import write_chemiscope
    from evaluation.explorer.page import check_path, viewer_script
    from evaluation.explorer.serve import server
    from evaluation.explorer.shares import on_request
    from featurestore.query.output import size_text
    from featurestore.query.store import open_store

    page = None if output is None and (serve or json_ is not None) else check_path(output or Path("map.html"))
    if page is not None or serve:
        viewer_script()  # before the work, where it is not installed
    if json_ is not None:
        check_json(json_)
    asked = Request(dataset, prop, checkpoint, umap, 0 if serve else shares)
    with open_store(folder, files=False) as store:
        settings = load_if_there(params)
        shown = store_map(store, asked, settings, tell=lambda text: typer.echo(text, err=True))
        model = explaining_model(store, asked, settings) if serve else None
    if page is not None:
        _write(shown, page)
    if json_ is not None:
        write_chemiscope(shown, json_)
        typer.echo(f"{json_}: chemiscope's format, {size_text(json_.stat().st_size)}")
    if serve:
        explain = None
        if model is not None:
            shown, explain = on_request(shown, model)
        with server(shown, port, explain) as served:
            host, found = served.server_address[:2]
            typer.echo(f"http://{host!s}:{found} shows the map, on this machine alone, until Ctrl-C")
            served.serve_forever()


@app.command(rich_help_panel=PREDICTIONS)
def predict(
    files: Annotated[
        list[str], typer.Argument(help="Structures: CIF, POSCAR or XYZ files, folders, or patterns.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="DATASET/PROPERTY of this project, or FOLDER, FILE.zip or hf://… of a bundle."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="The dataset whose model is used: strata info.")] = None,
    prop: Annotated[str | None, typer.Option("--property", help="The property to predict.")] = None,
    output: list[Path] = OUTPUT,
    level: Annotated[float, typer.Option(help="Of the intervals: the share of values that they hold.")] = 0.9,
    columns: Annotated[
        Path | None,
        typer.Option(help="A table of the structures' own columns, for a model that reads some."),
    ] = None,
    trust: list[str] = typer.Option([], help="Class of a head of your own that a bundle may use."),
    no_check: Annotated[
        bool,
        typer.Option("--no-check", help="Do not compare what a bundle predicts here and where it was saved."),
    ] = False,
    store: Path = STORE,
    params: Path = PARAMS,
) -> None:
    """Predict a property of your own structures, with intervals, domain and the nearest training entries."""
    from core.params import load_if_there
    from core.progress import Meter
    from evaluation.explorer.predicted import PredictedMap, known_structures
    from zoo.load import load, named
    from zoo.predict import expand, predict_batches
    from zoo.show import Shown

    paths = expand(files)
    table, page = _outputs(output)  # before the model, which takes longer
    settings = load_if_there(params)
    used = load(named(model, dataset, prop), store=store, params=settings, trust=trust, check=not no_check)
    shown, mapped = Shown(used, level), PredictedMap(used, level)
    total = len(paths) if len(paths) > 100 else 0
    with table or nullcontext(), Meter(f"predict {used.card.property}", total, "structures") as meter:
        for batch, frame in predict_batches(used, paths, level, columns):
            if table is not None:
                table.append(frame)
            if page is not None:
                mapped.add(batch, frame)
            shown.add(frame)
            meter.advance(frame["file"].nunique(), rejects=int((frame["error"] != "").sum()))
    shown.print(None if table is None else table.path)
    if page is not None:
        found = mapped.map(known_structures(store), told=True)
        if found is not None:
            _write(found, page)
        else:
            typer.echo(f"{page} is not written: nothing was predicted", err=True)
    if shown.rejects:
        raise typer.Exit(1)


@app.command(rich_help_panel=PREDICTIONS)
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
    top: Annotated[int, typer.Option(help="How many are shown, and written; a page has all.")] = 50,
    where: Annotated[
        str | None, typer.Option(help="A condition in SQL, such as 'n_atoms < 20' (docs/screening.md).")
    ] = None,
    inside_only: Annotated[
        bool, typer.Option("--inside-only", help="Leave out what lies at the edge of the domain, or outside.")
    ] = False,
    output: list[Path] = OUTPUT,
    level: Annotated[float, typer.Option(help="Of the intervals: the share of values that they hold.")] = 0.9,
    save: Annotated[
        str | None, typer.Option(help="Keep the whole ranking in the view screens, by name.")
    ] = None,
    folder: Path = STORE,
    params: Path = PARAMS,
) -> None:
    """Rank all structures of datasets by the chance that a property lies in a window, or by its value."""
    from core.params import load_if_there
    from etl.plan import seconds_to_extract
    from etl.show_screen import lacking
    from etl.show_screen import table as show_table
    from evaluation.explorer.screened import screened_map
    from featurestore.query.store import open_store
    from zoo.candidates import Candidates
    from zoo.load import load as load_model
    from zoo.screen import Wanted, check_request, rank

    wanted = Wanted(minimum, maximum, lowest, where, inside_only, level)
    table, page = _outputs(output)  # what cannot be written stops it before any work
    settings = load_if_there(params)
    used = load_model(model, store=folder, params=settings)
    check_request(used, top, save)
    with open_store(folder, files=False) as opened:
        candidates = Candidates.of(used, opened, over)
        for line in lacking(candidates, seconds_to_extract(settings, folder, candidates.to_extract, over)):
            typer.echo(line, err=True)
        found = rank(candidates, wanted, told=True)
        if save is not None:
            found.keep(save)
        frame = found.frame(top)
        shown = screened_map(found, used, told=True) if page is not None else None
    show_table(found, frame)
    if table is not None:
        with table:
            table.append(frame)
        typer.echo(f"{table.path}: {len(frame):,} rows")
    if shown is not None and page is not None:
        _write(shown, page)
    if save is not None:
        typer.echo(f"{save}: {len(found):,} rows of the view screens")


def _outputs(paths: list[Path]) -> "tuple[TableFile | None, Path | None]":
    """Return the table and the page that are to be written, at most one of each."""
    from core.errors import StrataError
    from core.table_file import TableFile
    from evaluation.explorer.page import ENDINGS, check_path, viewer_script

    pages = [path for path in paths if path.suffix.lower() in ENDINGS]
    tables = [path for path in paths if path not in pages]
    if len(pages) > 1 or len(tables) > 1:
        raise StrataError("one table and one page are written at most: name -o once for each")
    if pages:
        viewer_script()
    return TableFile(tables[0]) if tables else None, check_path(pages[0]) if pages else None


def _write(shown: "StructureMap", path: Path) -> None:
    from evaluation.explorer.page import write_page
    from featurestore.query.output import size_text

    size = write_page(shown, path)
    typer.echo(f"{path}: a page of {len(shown):,} structures, {size_text(size)}; open it in a browser")
