"""Commands that ask the store, and the stage `split`."""

from enum import StrEnum
from pathlib import Path

import typer

from core.errors import StrataError, unknown
from featurestore import upkeep as care

app = typer.Typer(no_args_is_help=True)
app.add_typer(care.app, name="store")

STORE = typer.Option(Path("store"), "--store", help="The store's folder.")
AT = typer.Option(None, "--at", help="The store as it was at this version (column n of the view log).")


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
    store: Path = STORE,
    at: int | None = AT,
) -> None:
    """Ask the store in SQL. Views: structures, entries, targets, features, vectors, splits, runs,
    predictions, scores, datasets, extractions, coverage, source_models, rejects, shards, log.
    """
    import sys

    from featurestore.query import output as results
    from featurestore.query.store import answering, open_store

    if out is None and form is Form.parquet:
        raise StrataError("parquet is not for the screen: name a file with -o FILE")
    if out is not None and form is Form.table:
        raise StrataError(f"say how {out} is to be written: --format csv, json or parquet")
    if out is not None and store.resolve() in out.resolve().parents:
        raise StrataError(f"{out} lies inside the store {store}; answers are written elsewhere")
    with answering():
        relation = open_store(store, at).sql(query)
        if out is not None:
            results.write_file(relation, form.value, out)
        elif form is Form.table:
            results.print_answer(relation)
        else:
            results.write_text(relation, form.value, sys.stdout)


@app.command()
def info(store: Path = STORE, at: int | None = AT) -> None:
    """Say what is in the store: datasets, extractions and how far they reach, tables and their size."""
    from featurestore.query.output import show, size_text
    from featurestore.query.store import open_store

    opened = open_store(store, at)
    ask = opened.connection.sql
    show(
        f"Datasets in {store}, version {opened.version}",
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
def near(
    what: str = typer.Argument(
        metavar="FILE|ID", help="A CIF, POSCAR or XYZ, an entry_id or a structure_id."
    ),
    k: int = typer.Option(10, "--k", help="How many."),
    checkpoint: str = typer.Option("atom_8", "--checkpoint", help="Whose vectors; see `strata features`."),
    dataset: str | None = typer.Option(None, "--dataset", help="Search in this one only."),
    metric: str = typer.Option("euclidean", "--metric", help="euclidean or cosine."),
    extraction: str | None = typer.Option(
        None, "--extraction", help="Which vectors, where there are several."
    ),
    store: Path = STORE,
) -> None:
    """Find the kept structures that look most like one, by the vectors of a checkpoint; exact."""
    from featurestore.query.near import METRICS, one_checkpoint, vectors_of_file
    from featurestore.query.output import show
    from featurestore.query.store import open_store

    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    opened = open_store(store)
    extraction = opened.need_extraction(extraction)
    checkpoint = one_checkpoint(checkpoint)
    asked = vectors_of_file(opened, what, checkpoint, extraction) if Path(what).is_file() else what
    found = opened.near(asked, k, checkpoint, dataset=dataset, extraction=extraction, metric=metric)
    rows = [
        (row["distance"], row["formula"], row["n_atoms"], row["entries"], row["structure_id"])
        for row in found.to_pylist()
    ]
    show(
        f"Nearest to {what} by {checkpoint}",
        ("distance", "formula", "atoms", "entries", "structure_id"),
        rows,
    )


@app.command()
def features() -> None:
    """List the 38 feature sets and the checkpoints that each puts side by side."""
    from featurestore.query.feature_sets import FEATURE_SETS, width_of
    from featurestore.query.output import show

    rows = [(name, " + ".join(columns), width_of(name)) for name, columns in FEATURE_SETS.items()]
    show("Feature sets", ("name", "checkpoints", "numbers"), rows)


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
    from featurestore.splits.schemes import split_dataset

    asked = load(params).split
    new = split_dataset(store, dataset, asked.schemes, asked.seeds)
    typer.echo(f"{dataset}: splits of {new} properties drawn, the others were there already")
