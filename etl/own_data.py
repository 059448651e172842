"""A user's own data on its way into the project: checked, read into the store, and then named in it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, get_args

from core.download import Progress
from core.errors import StrataError, check_name, unknown
from core.params import PARAMS_FILE, Ingest, load
from etl.cards import list_cards, own_folder
from etl.ingest import ingest as read_dataset
from etl.ingest_report import IngestReport
from etl.own.in_memory import write_frame
from etl.own.kind import INDEX_OF_PANDAS
from etl.own_cards import MaterialClass, Origin, add_to_params, own_card, save_card

if TYPE_CHECKING:
    import pandas as pd


_ENDINGS = (".csv", ".xlsx", ".json", ".gz", ".parquet", ".db", ".xyz", ".extxyz")


@dataclass(frozen=True, slots=True)
class Added:
    """A user's data in the project: the report, the card, and whether params.yaml had not named it."""

    report: IngestReport
    card: Path
    is_listed_now: bool

    def __str__(self) -> str:
        lines = [f"{self.report}", f"its card is {self.card}"]
        if self.is_listed_now:
            lines.append(f"{self.report.card.name} was added to datasets in params.yaml")
        return "\n".join(lines)


def ingest(
    data: "str | Path | pd.DataFrame",
    name: str,
    properties: Mapping[str, str],
    *,
    origin: Origin,
    material_class: MaterialClass = "3D",
    id_column: str | None = None,
    logs: Sequence[str] = (),
    store: str | Path = "store",
    params: str | Path = PARAMS_FILE,
    progress: Progress | None = None,
) -> Added:
    """Bring data of one's own into the project, as `strata ingest PATH --name NAME` does.

    data: the path of a folder or file (see docs/your-data.md), or a pandas frame with a column of structures
    (of pymatgen, ASE, jarvis-tools or Strata) or one of formulas. The ids of a frame are its `id_column`, or
    its index where that is more than a numbering. The columns that are needed are kept beside the card, as
    NAME.parquet, so that the pipeline can read them again.
    properties: unit by property; a property is the column of its name, or is written NAME=COLUMN. The others
    as in `strata ingest`.

    All is checked first: where nothing of it can be used, `StrataError` is raised, and neither a card, nor a
    name in params.yaml, nor an entry of the store is left behind.
    """
    if not isinstance(properties, Mapping):
        raise StrataError(f"properties are a mapping, such as {{'band_gap': 'eV'}}, not {properties!r}")
    named, units = list(properties), list(properties.values())
    with _path_of(data, name, named, id_column, load(params).ingest) as (path, ids):
        return add(path, name, named, units, origin, material_class, ids, logs, store, params, progress)


def check_request(
    data: str, name: str | None, origin: str | None, properties: Sequence[str], units: Sequence[str]
) -> None:
    """Refuse a request for a dataset that only makes sense for data of one's own, or the other way round.

    Raises `StrataError` with the command that may be meant.
    """
    if name is not None and origin is None:
        raise StrataError(
            "say where the values come from: --origin measured (experiments), --origin computed (DFT, …) "
            "or --origin estimated (such as another model's predictions); it stands beside them ever after"
        )
    if name is not None:
        return
    known = {card.name for card in list_cards()}
    path = Path(data).expanduser()
    if data not in known and (path.exists() or "/" in data or path.suffix.lower() in _ENDINGS):
        words = " ".join(f"--property {quote(item)}" for item in properties or ["band_gap"])
        shown = data if data.startswith("~") else quote(data)
        raise StrataError(
            f"{data} is a path, and data of your own need a name: strata ingest {shown} --name mine {words} "
            f"--unit {quote((units or ['eV'])[0])} --origin {origin or 'computed'}"
        )
    given = [
        word for word, value in (("--property", properties), ("--unit", units), ("--origin", origin)) if value
    ]
    if given:
        raise StrataError(
            f"{', '.join(given)}: for data of your own, with --name; what {data} has stands on its card"
        )


def add(
    path: Path,
    name: str,
    properties: Sequence[str],
    units: Sequence[str],
    origin: str | None,
    material_class: str,
    id_column: str | None,
    logs: Sequence[str],
    store: str | Path,
    params: str | Path,
    progress: Progress | None = None,
) -> Added:
    """Bring a folder or file into the project: see `ingest`; units as in `etl.own_cards.own_card`."""
    settings = load(params)  # before anything is written: one that cannot be read stops it
    card = own_card(
        path,
        name,
        properties,
        units,
        origin=_one_of(origin, Origin, "origin"),
        material_class=_one_of(material_class, MaterialClass, "material class"),
        id_column=id_column,
        logs=logs,
    )
    report = read_dataset(card, settings, store, progress=progress)
    return Added(report, save_card(card), add_to_params(name, Path(params)))


def _one_of(word: str | None, choices: Any, kind: str) -> Any:
    if word not in get_args(choices):
        raise unknown(kind, str(word), get_args(choices))
    return word


@contextmanager
def _path_of(
    data: "str | Path | pd.DataFrame",
    name: str,
    properties: Sequence[str],
    id_column: str | None,
    limits: Ingest,
) -> Iterator[tuple[Path, str | None]]:
    """Give the path of data, and its column of ids; a frame is written to a file, taken back on errors."""
    if isinstance(data, str | Path):
        yield Path(data), id_column
        return
    check_name(name, "dataset")
    if not hasattr(data, "columns"):
        raise StrataError(f"a path or a pandas frame can be ingested, and this is a {type(data).__name__}")
    path = own_folder() / f"{name}.parquet"
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [text.rpartition("=")[2] for text in properties]
    try:
        has_index = write_frame(data, path, columns, id_column, limits.vacuum)
        yield path, id_column or (INDEX_OF_PANDAS if has_index else None)
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)
        raise
