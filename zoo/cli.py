"""Commands that train networks and predict."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from core.errors import StrataError

if TYPE_CHECKING:
    from zoo.training.finetune import Done

app = typer.Typer(no_args_is_help=True)

STORE = typer.Option(Path("store"), "--store", help="The store's folder.")
PARAMS = typer.Option(Path("params.yaml"), "--params", help="The settings.")


@app.command()
def finetune(
    dataset: str = typer.Argument(help="A dataset that has splits."),
    store: Path = STORE,
    plots: Path = typer.Option(Path("plots/training"), help="The folder for the curves."),
    runs_of: list[Path] = typer.Option([], help="Stores whose runs are copied where they are the same."),
    params: Path = PARAMS,
) -> None:
    """Train the ALIGNNs that params.yaml asks for, from scratch and from the source model.

    Runs that exist are skipped; a training that was stopped goes on. The test part's targets are not read.
    """
    from core.params import load
    from featurestore.listed import leave_empty, without
    from featurestore.tables.layout import StoreLayout
    from zoo.training.finetune import finetune as run
    from zoo.training.finetune import write_plots

    settings = load(params)
    lacks = without(store, dataset) if dataset in settings.datasets else None
    if lacks is not None:
        tables = [StoreLayout(store).trained(kind, dataset) for kind in ("runs", "predictions")]
        leave_empty(tables, "finetune")
        write_plots(StoreLayout(store), dataset, [], plots / dataset)
        typer.echo(lacks, err=True)
        return
    _show_runs(dataset, run(dataset, settings, store, plots, runs_of))


@app.command()
def embed(
    files: list[Path] = typer.Argument(help="CIF, POSCAR and XYZ files, with one or more structures."),
    output: Path = typer.Option(..., "--output", "-o", help="Parquet file to write."),
    checkpoints: str | None = typer.Option(
        None, help="Names with commas between (strata zoo show NAME); by default the deepest of each kind."
    ),
    source_model: str | None = typer.Option(
        None, "--source-model", help="strata zoo list; by default the first in params.yaml."
    ),
    params: Path = PARAMS,
) -> None:
    """Write the vectors of your own structures to a file; needs no store."""
    from rich.console import Console

    from core.params import load_if_there
    from zoo.embed import embed_files, write

    asked = load_if_there(params)
    found = embed_files(
        files,
        checkpoints=None if checkpoints is None else [name.strip() for name in checkpoints.split(",")],
        source_model=source_model,
        settings=asked.extract,
        limits=asked.ingest,
    )
    write(found, output)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    names = ", ".join(checkpoint.name for checkpoint in found.checkpoints)
    console.print(f"{output}: {len(found.ids):,} structures, {names} of {found.provenance['source_model']}")
    for reject in found.rejects:
        console.print(f"left out, {reject.code}: {reject.entry_id}: {reject.message}")


@app.command()
def near(
    what: str = typer.Argument(
        metavar="FILE|ID", help="A CIF, POSCAR or XYZ, an entry_id or a structure_id."
    ),
    k: int = typer.Option(10, "--k", help="How many."),
    checkpoint: str | None = typer.Option(
        None, "--checkpoint", help="Whose vectors: CHECKPOINT or SOURCE/CHECKPOINT; see `strata features`."
    ),
    dataset: str | None = typer.Option(None, "--dataset", help="Search in this one only."),
    metric: str = typer.Option("euclidean", "--metric", help="euclidean or cosine."),
    source_model: str | None = typer.Option(None, "--source-model", help="By default the store's default."),
    store: Path = STORE,
    params: Path = PARAMS,
) -> None:
    """Find the kept structures that look most like one, by the vectors of a checkpoint; exact."""
    from core.params import load_if_there
    from featurestore.query.output import show
    from zoo.near import near as find

    asked = load_if_there(params)
    found = find(
        what,
        k,
        store,
        checkpoint=checkpoint,
        dataset=dataset,
        metric=metric,
        source_model=source_model,
        settings=asked.extract,
        limits=asked.ingest,
    )
    columns = ["distance", "formula", "n_atoms", "entries", "structure_id"]
    rows = found[columns].itertuples(index=False)
    titles = ("distance", "formula", "atoms", "entries", "structure_id")
    show(f"Nearest to {what} by {found.attrs['checkpoint']}", titles, rows)


@app.command()
def train(
    dataset: str = typer.Option(..., help="A dataset that has splits."),
    prop: list[str] = typer.Option(..., "--property", help="What to learn; several: one network for all."),
    init: str = typer.Option("scratch", help="scratch, or a source model: strata zoo list."),
    freeze: str | None = typer.Option(None, help="none, embeddings, all_but_last or head."),
    split: str = typer.Option("random:0", help="scheme:seed or scheme:seed:fold."),
    epochs: int | None = typer.Option(None, help="Instead of finetune.epochs."),
    batch_size: int | None = typer.Option(None, help="Instead of finetune.batch_size."),
    learning_rate: float | None = typer.Option(None, help="Instead of finetune.learning_rate."),
    device: str | None = typer.Option(None, help="Instead of finetune.device."),
    minutes: float | None = typer.Option(None, help="Pause after so long; the same command goes on."),
    publish: str | None = typer.Option(None, help="Make the network a source model of this name in models/."),
    force: bool = typer.Option(False, "--force", help="Replace a model of one's own of that name."),
    store: Path = STORE,
    params: Path = PARAMS,
) -> None:
    """Train one ALIGNN on one or more properties of a dataset; other settings: section finetune."""
    from core.params import Finetune, load, section
    from featurestore import SplitKey
    from zoo.publish import check_free, publish_run
    from zoo.training.finetune import train_one
    from zoo.training.loop import Paused
    from zoo.training.run import Ask

    stored = load(params)
    asked = {"freeze": freeze, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    changes = {k: v for k, v in {**asked, "device": device}.items() if v is not None}
    settings = section(Finetune, stored.finetune.model_dump() | changes | {"label": None}, "strata train")
    source = None if init == "scratch" else init
    graph_of = source or stored.extract.default
    if publish is not None:
        check_free(publish, force)  # before the hours that a training may take
    ask = Ask(dataset, tuple(prop), SplitKey.of(split), source, graph_of, settings)
    try:
        done = train_one(ask, store, None if minutes is None else minutes * 60)
    except Paused:
        typer.echo("paused, and saved; the same command goes on from here")
        return
    _show_runs(dataset, done)
    if publish is not None:
        typer.echo(f"published: {publish_run(store, done[0].run_id, publish, force)}")


def _show_runs(dataset: str, done: "list[Done]") -> None:
    from core.text import number
    from featurestore.query.output import show

    rows = [
        (
            *(run.method, run.property, "-".join(map(str, run.split)), f"{run.best_epoch + 1}/{run.epochs}"),
            *(number(run.train_mae), number(run.val_mae), run.unit, f"{run.seconds:.0f}"),
        )
        for run in done
    ]
    new = sum(run.is_new for run in done)
    headers = ("method", "property", "split", "best epoch", "train MAE", "val MAE", "unit", "s")
    show(f"ALIGNNs trained on {dataset}: {len(done)} asked for, {new} new", headers, rows)


@app.command()
def explain(
    file: Path = typer.Argument(help="A CIF, POSCAR or XYZ with one structure."),
    model: str | None = typer.Option(
        None, "--model", help="DATASET/PROPERTY of this project, or FOLDER, FILE.zip or hf://… of a bundle."
    ),
    dataset: str | None = typer.Option(None, help="The dataset whose model is used: strata info."),
    prop: str | None = typer.Option(None, "--property", help="The property that is predicted."),
    output: Path | None = typer.Option(None, "-o", "--output", help="One row per atom: .csv, .json, …"),
    columns: Path | None = typer.Option(None, help="A table of the structure's own columns."),
    store: Path = STORE,
    params: Path = PARAMS,
) -> None:
    """Say which atoms of a structure its prediction comes from: exact for linear heads, else approximate."""
    from core.params import load_if_there
    from core.table_file import TableFile
    from zoo.load import load, named

    table = TableFile(output) if output is not None else None
    used = load(named(model, dataset, prop), store=store, params=load_if_there(params))
    found = used.explain(file, columns=columns)
    typer.echo(str(found))
    if table is not None:
        with table:
            table.append(found.frame())
        typer.echo(f"{output}: {len(found.atoms)} atoms")


@app.command("publish")
def publish_(
    dataset: str = typer.Argument(help="A dataset of this project."),
    prop: str = typer.Argument(metavar="PROPERTY", help="A property for which evaluate chose a model."),
    to: str = typer.Option(..., help="FOLDER, FILE.zip, or hf://ORG/NAME of the Hugging Face hub."),
    without_data: bool = typer.Option(
        False, "--without-data", help="No ids, formulas, values or vectors of training rows."
    ),
    force: bool = typer.Option(False, "--force", help="Replace a bundle that is there."),
    store: Path = STORE,
    params: Path = PARAMS,
) -> None:
    """Write the model of a property as a bundle that can be used elsewhere: docs/bundles.md."""
    from core.model_hub import is_address, parse_address
    from core.params import load_if_there
    from zoo.bundle import bundle_sha256, check_target, save_bundle
    from zoo.bundle_hub import upload
    from zoo.load import load

    if is_address(to):
        parse_address(to)
    else:
        check_target(Path(to).absolute(), force)  # before the model is loaded
    model = load(f"{dataset}/{prop}", store=store, params=load_if_there(params))
    if is_address(to):
        address = upload(model, to, without_data=without_data, force=force)
        typer.echo(f"published as {address}. A new repository is private: open it on the hub's page.")
        return
    path = save_bundle(model, to, without_data=without_data, force=force)
    typer.echo(f"{path}: {model!r}, SHA-256 {bundle_sha256(path)}")
    typer.echo(f"Use it anywhere: strata predict FILES --model {to}")


bundle = typer.Typer(no_args_is_help=True, help="Model bundles: show, verify.")
app.add_typer(bundle, name="bundle")


@bundle.command("show")
def show_bundle(path: str = typer.Argument(help="FOLDER, FILE.zip or hf://ORG/NAME.")) -> None:
    """Print a bundle's model card; its files are checked, its model is not loaded."""
    from core.model_hub import is_address
    from zoo.bundle_files import README, opened
    from zoo.bundle_hub import download

    folder = opened(download(path) if is_address(path) else Path(path))
    typer.echo((folder / README).read_text(encoding="utf-8", errors="replace"))


@bundle.command("verify")
def verify_bundle(
    path: str = typer.Argument(help="FOLDER, FILE.zip or hf://ORG/NAME."),
    trust: list[str] = typer.Option([], help="Class of a head of your own that it may use."),
) -> None:
    """Check every file of a bundle, load it, and compare its golden predictions."""
    from core.model_hub import is_address
    from zoo.bundle import bundle_sha256
    from zoo.bundle_hub import download
    from zoo.load import load

    place = download(path) if is_address(path) else Path(path)
    model = load(place, trust=trust)
    typer.echo(f"{path} is sound: {model!r}, SHA-256 {bundle_sha256(place)}")


zoo = typer.Typer(no_args_is_help=True, help="Source models: list, show, fetch, verify.")
app.add_typer(zoo, name="zoo")


@zoo.command("list")
def list_() -> None:
    """List the source models: what each was trained to predict, its own error, its licence."""
    from featurestore.query.output import show
    from zoo.hub import list_models, load_card

    rows = []
    for card in map(load_card, list_models()):
        targets = ", ".join(f"{t.property} ({t.unit})" for t in card.targets)
        predicts = f"{targets} of {card.targets[0].dataset}" if card.targets else "nothing"
        errors = ", ".join(f"{name} {value:g}" for name, value in card.metrics.items() if "atoms" not in name)
        here = (card.weights_sha256[:12] or "none") if card.is_here else "to be fetched"
        rows.append((card.name, predicts, errors, card.licence, here))
    show("Source models", ("name", "predicts", "its own errors", "licence", "weights"), rows)


@zoo.command("show")
def show_(name: str = typer.Argument(help="A source model: strata zoo list.")) -> None:
    """Print a source model's card."""
    import yaml

    from zoo.hub import load_card, summary

    typer.echo(
        yaml.safe_dump(summary(load_card(name)), sort_keys=False, allow_unicode=True, width=100).rstrip()
    )


@zoo.command("fetch")
def fetch(
    names: list[str] = typer.Argument(help="Published source models: strata zoo list."),
    file: Path | None = typer.Option(None, help="A zip or wheel that is here already, of one model."),
) -> None:
    """Download published source models into the cache, checked and kept without pickles."""
    from zoo.fetch import fetch as run

    if file is not None and len(names) != 1:
        raise StrataError("--file is the zip or wheel of one model: name one")
    for name in names:
        card = run(name, file)
        typer.echo(f"{name}: fetched; weights {card.weights_sha256}; {card.licence}")


@zoo.command("verify")
def verify(
    names: list[str] = typer.Argument(None, help="Source models; by default all that are here."),
) -> None:
    """Read source models whole and compare them with their cards."""
    from zoo.fetch import verify as run
    from zoo.hub import list_models, load_card

    for name in names or [name for name in list_models() if load_card(name).is_here]:
        typer.echo(f"{name}: {run(name) or 'has no weights'}")
