"""The command `strata` and the short Python API; it mounts the rooms and decides nothing.

Each room brings its own commands in `<room>.cli.app`. From Python, `strata.open("store")` is
`featurestore.open("store")`; `strata.embed(structures)` and the transformer `strata.Embedder()` need no
store; `strata.near(structure)` searches one, and `strata.explore("store")` maps it. Nothing is imported
before it is used.
"""

import errno
import io
import signal
import sys
from copy import copy
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from core.errors import StrataError

if TYPE_CHECKING:
    import typer
    from typer.core import TyperCommand

    from etl.own_data import ingest
    from evaluation.explorer.explore import explore
    from featurestore import open  # noqa: A004 - named as tarfile.open and gzip.open are
    from zoo.bundle import save_bundle
    from zoo.embed import embed
    from zoo.embedder import Embedder
    from zoo.load import load, predict, screen
    from zoo.near import near

__version__ = "0.1.0"
__all__ = [
    "Embedder",
    "__version__",
    "embed",
    "explore",
    "ingest",
    "load",
    "main",
    "near",
    "open",
    "predict",
    "save_bundle",
    "screen",
]

# Room → heading of its commands in `strata --help`, in the order in which data flows.
ROOMS = {
    "etl": "From records to vectors",
    "featurestore": "What is kept, and asking for it",
    "heads": "From vectors to values",
    "zoo": "Networks and predictions",
    "evaluation": "Scores, experiments and reports",
}
_NO_ROOM_OR_RIGHT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}
_API = {
    "Embedder": "zoo.embedder",
    "embed": "zoo.embed",
    "ingest": "etl.own_data",
    "explore": "evaluation.explorer.explore",
    "load": "zoo.load",
    "near": "zoo.near",
    "open": "featurestore",
    "predict": "zoo.load",
    "screen": "zoo.load",
    "save_bundle": "zoo.bundle",
}


def __getattr__(name: str) -> Any:
    """Import the few names of the Python API when they are first asked for."""
    if name in _API:
        return getattr(import_module(_API[name]), name)
    raise AttributeError(f"module 'strata' has no attribute {name!r}")


def command() -> "typer.Typer":
    """Build the command line: every room's commands at top level, under the room's heading."""
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def version(value: bool) -> None:
        if value:
            typer.echo(f"strata {__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        version: bool = typer.Option(
            False, "--version", help="Print the version.", callback=version, is_eager=True
        ),
    ) -> None:
        """Keep every layer of a pretrained ALIGNN once per structure, and learn small datasets from it.

        Run from the project's folder: settings are read from params.yaml, tables lie under store/.
        The whole flow is `dvc repro`; each of its stages is one of the commands below.
        """

    taken_by_all = _taken_by_all()
    groups: dict[str, typer.Typer] = {}
    for room, heading in ROOMS.items():
        commands = import_module(f"{room}.cli").app
        for entry in commands.registered_commands:
            if not isinstance(entry.rich_help_panel, str):  # a command may say itself where it belongs
                entry.rich_help_panel = heading
            entry.cls = taken_by_all
            app.registered_commands.append(entry)
        for entry in commands.registered_groups:
            if entry.name in groups:  # a later room's commands join those of the group's first room
                groups[entry.name].add_typer(entry.typer_instance)
                groups[entry.name].info.help = groups[entry.name].info.help or entry.typer_instance.info.help
            else:
                groups[entry.name] = whole = _copy(entry.typer_instance)
                app.add_typer(whole, name=entry.name, rich_help_panel=heading)
            for inner in entry.typer_instance.registered_commands:
                inner.cls = taken_by_all
    return app


def _taken_by_all() -> "type[TyperCommand]":
    """Return the class of every command: `--store` and `--params` are taken everywhere.

    So that one alias or script can give them to any command; one that reads no such thing says so.
    """
    import typer
    from typer.core import TyperCommand

    def unread(
        store: str = typer.Option("store", help="Taken by every command; not read here."),
        params: str = typer.Option("params.yaml", help="Taken by every command; not read here."),
    ) -> None:
        """Lend its options."""

    app = typer.Typer(add_completion=False)
    app.command()(unread)
    lent = {item.opts[0]: item for item in typer.main.get_command(app).params}
    for item in lent.values():
        item.expose_value = False

    class Command(TyperCommand):
        def get_params(self, ctx: Any) -> list[Any]:
            *own, helping = super().get_params(ctx)
            known = {name for item in own for name in item.opts}
            return [*own, *(item for name, item in lent.items() if name not in known), helping]

    return Command


def _copy(group: "typer.Typer") -> "typer.Typer":
    """Return a group that more commands can be added to without changing the room's own."""
    whole = copy(group)
    whole.registered_commands = list(group.registered_commands)
    whole.registered_groups = list(group.registered_groups)
    return whole


def main() -> None:
    """Run the command line; ends with 2 on a `StrataError`, 130 on Ctrl-C and 143 on SIGTERM.

    A full or read-only disk, wherever it is met, is one paragraph and ends with 2 too.
    """
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Å shows it as \xc5
            stream.reconfigure(errors="backslashreplace")
    try:
        command()()
    except StrataError as error:
        _complain(error)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _NO_ROOM_OR_RIGHT:
            raise
        where = error.filename or "a file that was being written"
        _complain(
            StrataError(
                f"{where}: {error.strerror}. What was committed before is kept: make room, or get the right "
                "to write there, and run the same command again"
            )
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    # Leaving by SystemExit runs the `finally` blocks: locks are released, temporary files removed.
    raise SystemExit(143)


def _complain(error: Exception) -> None:
    from rich.console import Console

    # Markup is off: a message may quote [brackets] of the user's own file.
    text = import_module("featurestore.tables.address").readable(str(error))
    Console(stderr=True).print(f"Error: {text}", style="red", markup=False, highlight=False)


if __name__ == "__main__":
    main()
