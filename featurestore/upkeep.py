"""Commands under `strata store`: look after what is kept."""

from pathlib import Path

import typer

from core.errors import StrataError

app = typer.Typer(no_args_is_help=True, help="Look after the store: verify, compact, gc, drift, migrate.")

STORE = typer.Option(Path("store"), "--store", help="The store's folder.")
_THEN = "now tell DVC, so that nothing is computed again for it: dvc commit --force"


@app.command()
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
    for damage in found.damages:
        typer.echo(str(damage))
    sound = (
        f"{found.shards - len(found.damages)} of {found.shards} shards ({size_text(found.bytes)}) are sound"
    )
    if not found.damages:
        typer.echo(sound)
        return
    if not repair:
        raise StrataError(
            f"{sound}; restore the others (dvc checkout --force, dvc pull, or a copy), or --repair"
        )
    for folder, rows in maintenance.repair(store, found.damages).items():
        typer.echo(f"dropped {rows:,} rows from {folder}")
    typer.echo(
        f"{sound}, the others were dropped; run the stages that wrote them again (dvc repro --force STAGE)"
    )


@app.command()
def compact(
    rows: int = typer.Option(8192, "--rows", help="Rows of a joined shard at most."), store: Path = STORE
) -> None:
    """Join small shards into large ones; earlier versions can be opened until `gc`."""
    from featurestore.tables import maintenance

    changed = maintenance.compact(store, rows=rows)
    for folder, (before, after) in changed.items():
        typer.echo(f"{folder}: {before} shards, now {after}")
    typer.echo(_THEN if changed else "nothing to join")


@app.command()
def gc(store: Path = STORE) -> None:
    """Remove the shards that only earlier versions need, and derived caches."""
    from featurestore.query.output import size_text
    from featurestore.tables import maintenance

    files, size = maintenance.gc(store)
    typer.echo(f"removed {files} shards of the past; {size_text(size)} are free, derived caches included")
    if files:
        typer.echo(_THEN)
