"""Commands that ask the store, and the stage `split`."""

from enum import StrEnum
from pathlib import Path

import typer

from core.errors import StrataError

app = typer.Typer(no_args_is_help=True)
upkeep = typer.Typer(no_args_is_help=True, help="Look after the store: verify, compact, gc, drift, migrate.")
app.add_typer(upkeep, name="store")

STORE = typer.Option(Path("store"), "--store", help="The store's folder, or s3://bucket/prefix.")
_THEN = "now tell DVC, so that nothing is computed again for it: dvc commit --force"
_THEN_FAR = (
    "a pointer to this store that DVC keeps is of an earlier version: strata store pointer -o NAME.json"
)
AT = typer.Option(
    None,
    "--at",
    help="The store as it was: a version (column n of the view log), a moment, such as 2030-01-31T12:00, or "
    "a pointer, NAME.json.",
)


def _tell(text: str) -> None:
    """Print a line; paths that stand for objects in a bucket are named by their addresses."""
    from featurestore.tables.address import readable

    typer.echo(readable(text))


def _then(store: Path) -> str:
    """Say what DVC has to be told after a change that no stage made."""
    from featurestore.tables.address import located, parts_of

    return _THEN if parts_of(located(store)) is None else _THEN_FAR


class Form(StrEnum):
    """How an answer is written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.command()
def sql(
    query: str = typer.Argument(help='One SELECT, such as "SELECT * FROM entries LIMIT 5".'),
    form: Form = typer.Option(Form.table, "--format", help="How to write the answer."),
    out: Path | None = typer.Option(None, "-o", "--out", help="File to write it to; parquet needs one."),
    join: str | None = typer.Option(
        None, help="A feature set, such as last+other/all: the view `chosen` has its blocks side by side."
    ),
    files: bool = typer.Option(
        True, "--files/--no-files", help="Whether the query may read files outside of the store."
    ),
    store: Path = STORE,
    at: str | None = AT,
) -> None:
    """Ask the store in SQL. Views: structures, entries, targets, features, features_<source model>, vectors,
    joined, checkpoints, splits, runs, predictions, scores, intervals, screens, datasets, extractions,
    coverage, source_models, rejects, shards, log.
    """
    import sys

    from featurestore.query import output as results
    from featurestore.query.reader import answering
    from featurestore.query.store import open_store

    if out is None and form is Form.parquet:
        raise StrataError("parquet is not for the screen: name a file with -o FILE")
    if out is not None and form is Form.table:
        raise StrataError(f"say how {out} is to be written: --format csv, json or parquet")
    if out is not None and store.resolve() in out.resolve().parents:
        raise StrataError(f"{out} lies inside the store {store}; answers are written elsewhere")
    with answering():
        opened = open_store(store, at, files=files)
        if join is not None:
            opened.join(join)
        relation = opened.sql(query)
        if out is not None:
            results.write_file(relation, form.value, out)
        elif form is Form.table:
            results.print_answer(relation)
        else:
            results.write_text(relation, form.value, sys.stdout)


@app.command()
def info(store: Path = STORE, at: str | None = AT) -> None:
    """Say what is in the store: datasets, extractions and how far they reach, tables and their size."""
    from featurestore.query.output import show, size_text
    from featurestore.query.store import open_store
    from featurestore.tables.address import address

    opened = open_store(store, at)
    ask = opened.connection.sql
    show(
        f"Datasets in {address(opened.path)}, version {opened.version}",
        ("dataset", "title", "entries", "structures", "properties", "rejects"),
        ask(
            "SELECT d.dataset, d.title, d.entries, d.structures, d.properties, count(r.id) "
            "FROM datasets d LEFT JOIN rejects r ON r.dataset = d.dataset AND r.\"table\" = 'entries' "
            "GROUP BY ALL ORDER BY d.dataset"
        ).fetchall(),
    )
    unique = ask("SELECT count(*) FROM structures").fetchall()[0][0]
    reach = ask("SELECT * FROM coverage")
    show(f"Extractions, over {unique:,} unique structures", reach.columns, reach.fetchall())
    sizes = ask(
        'SELECT "table", sum(rows), count(*), sum(bytes) FROM shards GROUP BY "table" '
        "UNION ALL SELECT 'all', sum(rows), count(*), sum(bytes) FROM shards "
        'ORDER BY "table" = \'all\', "table"'
    )
    rows = [(name, n, shards, size_text(size or 0)) for name, n, shards, size in sizes.fetchall()]
    show("Tables", ("table", "rows", "shards", "size"), rows)


@app.command()
def features(
    source_model: str | None = typer.Option(None, "--source-model", help="By default the store's default."),
    store: Path = STORE,
) -> None:
    """List the feature sets of a source model and the checkpoints that each puts side by side."""
    from featurestore.query.feature_sets import ALL, LAST, named_sets
    from featurestore.query.output import show
    from featurestore.query.store import open_store

    opened = open_store(store)
    source = opened.need_source(source_model)
    rows = [
        (name, " + ".join(c.name for c in found), sum(c.width for c in found))
        for name, found in named_sets(source.checkpoints).items()
    ]
    for word in (LAST, ALL):
        found = opened.feature_set(f"{source.name}/{word}")
        rows.append((word, " + ".join(block.checkpoint for block in found.blocks), found.width))
    others = [name for name in opened.sources if name != source.name]
    title = f"Feature sets of {source.name}{', the default source model' if source.is_default else ''}"
    show(title, ("name", "checkpoints", "numbers"), rows)
    if others:
        typer.echo(
            f"of others: SOURCE/SET, where SOURCE is one of {', '.join(others)}; several are joined by +"
        )


@app.command()
def splits() -> None:
    """List the ways of drawing train, validation and test parts."""
    from featurestore.query.output import show
    from featurestore.splits.schemes import SCHEMES

    show("Split schemes", ("name", "how"), [(name, draw.__doc__) for name, draw in SCHEMES.items()])


@app.command()
def split(
    dataset: str = typer.Argument(help="A dataset that was ingested."),
    store: Path = STORE,
    params: Path = typer.Option(Path("params.yaml"), "--params", help="The settings; section split is read."),
) -> None:
    """Draw the parts of every property of a dataset, for each scheme and seed of params.yaml."""
    from core.params import load
    from featurestore.listed import leave_empty, rows_of, without
    from featurestore.splits.schemes import split_dataset
    from featurestore.tables.layout import StoreLayout

    settings = load(params)
    lacks = without(store, dataset) if dataset in settings.datasets else None
    if lacks is not None:
        leave_empty([StoreLayout(store).splits(dataset)], "split")
        typer.echo(lacks, err=True)
        return
    asked = settings.split
    new = split_dataset(store, dataset, asked.schemes, asked.seeds)
    typer.echo(f"{dataset}: splits of {new} properties drawn, the others were there already")
    if "published" in asked.schemes and not rows_of(store, "published", dataset):
        typer.echo(f"{dataset} came with no split of its own: published is left out for it", err=True)


@upkeep.command()
def verify(
    repair: bool = typer.Option(
        False, "--repair", help="Drop what is bad from the log, so that its stage computes it again."
    ),
    store: Path = STORE,
) -> None:
    """Read every byte that is kept and compare it with its hash; name what is bad. Ends with 2 if any is."""
    from featurestore.query.output import size_text
    from featurestore.tables import maintenance

    found = maintenance.verify(store)
    for damage in (*found.damages, *found.damaged_models):
        _tell(str(damage))
    for line in found.lost:
        _tell(line)
    for path in found.young:
        _tell(
            f"{path}: no log entry names it yet; it is less than an hour old, so that a writer may be about "
            "to commit it. If none is at work, one was killed, or the newest entry is lost: verify it later"
        )
    for path in found.strays:
        _tell(f"{path}: no log entry names it; a killed writer left it, or the entry is lost")
    sound = (
        f"{found.shards - len(found.damages)} of {found.shards} shards ({size_text(found.bytes)}) and "
        f"{found.models - len({d.what for d in found.damaged_models})} of {found.models} models are sound"
    )
    if not (found.damages or found.damaged_models):
        _tell(sound)
        if found.lost or found.strays:
            raise StrataError(
                "entries of a log may be lost: restore it (dvc checkout --force, or a copy). Where a writer "
                "was killed, nothing is lost: run its stage again, and `strata store gc` takes what it left"
            )
        return
    if not repair:
        raise StrataError(
            f"{sound}; restore the others (dvc checkout --force, dvc pull, or a copy), or --repair"
        )
    for folder, rows in maintenance.repair(store, found.damages).items():
        _tell(f"dropped {rows:,} rows from {folder}")
    for folder, runs in maintenance.drop_runs(found.damaged_models).items():
        _tell(f"dropped {runs:,} runs from {folder}, whose models are damaged")
    _tell(f"{sound}, the others were dropped; run the stages that wrote them again (dvc repro --force STAGE)")


@upkeep.command()
def pointer(
    out: Path = typer.Option(..., "-o", "--out", help="File to write, NAME.json."),
    store: Path = STORE,
    at: str | None = AT,
) -> None:
    """Write a pointer to the store as it stands, for git or DVC; `--at NAME.json` opens it as it was then."""
    from featurestore.query import pointer as pointers
    from featurestore.query.views import read_tables
    from featurestore.tables.address import address
    from featurestore.tables.layout import StoreLayout
    from featurestore.tables.maintenance import tables_of

    layout = StoreLayout(store)
    tables_of(layout.root)  # or there is no store
    tables, commits = read_tables(layout, at)
    pointers.write(layout.root, {table.snapshot.folder: table.snapshot for table in tables}, out)
    typer.echo(f"{out}: {address(layout.root)}, version {len(commits)}, {len(tables)} tables")


@upkeep.command()
def compact(
    rows: int = typer.Option(8192, "--rows", help="Rows of a joined shard at most."), store: Path = STORE
) -> None:
    """Join small shards into large ones; earlier versions can be opened until `gc`."""
    from featurestore.tables import maintenance

    changed = maintenance.compact(store, rows=rows)
    for folder, (before, after) in changed.items():
        _tell(f"{folder}: {before} shards, now {after}")
    typer.echo(_then(store) if changed else "nothing to join")


@upkeep.command()
def gc(
    older_than: float = typer.Option(
        3600, "--older-than", help="Seconds; what became garbage later may be in use and is spared."
    ),
    store: Path = STORE,
) -> None:
    """Remove the shards that only earlier versions need, what killed writers left, and derived caches."""
    from featurestore.query.output import size_text
    from featurestore.tables import maintenance

    files, size = maintenance.gc(store, older_than)
    typer.echo(f"removed {files} shards of the past; {size_text(size)} are free, derived caches included")
    if files:
        typer.echo(_then(store))
