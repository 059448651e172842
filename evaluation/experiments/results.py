"""What an experiment leaves: tables as CSV and Parquet, numbers and provenance as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from core.atomic import whole_folder
from core.errors import StrataError, check_name
from evaluation.metrics import significant

FACTS, METRICS = "experiment.json", "metrics.json"
_DIGITS = 8


@dataclass(frozen=True, eq=False, slots=True)
class Result:
    """The tables of one experiment by name, its headline numbers, and what to know before reading them.

    key: of what it was made from, where another experiment reads it as long as that is so.
    """

    name: str
    tables: Mapping[str, pd.DataFrame]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    key: str = ""


def write(result: Result, out: Path) -> Path:
    """Write <out>/<name>/: a CSV and a Parquet file per table, metrics.json and experiment.json.

    The same result gives the same bytes. What was there is replaced when all of it is written.
    """
    with whole_folder(out / result.name) as folder:
        _write_to(folder, result)
    return out / result.name


def _write_to(folder: Path, result: Result) -> None:
    for name, table in result.tables.items():
        rounded = table.copy()
        for column in rounded.select_dtypes("floating"):
            rounded[column] = [significant(value, _DIGITS) for value in rounded[column]]
            rounded[column] = rounded[column].astype("float64")
        rounded.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n", encoding="utf-8")
        rounded.to_parquet(folder / f"{name}.parquet", index=False)
    _write_json(folder / METRICS, _plain(result.metrics))
    facts = {
        "name": result.name,
        "tables": list(result.tables),
        "settings": result.settings,
        "provenance": result.provenance,
        "notes": list(result.notes),
        "key": result.key,
    }
    _write_json(folder / FACTS, facts)


def read(name: str, out: Path) -> Result:
    """Read what `write` wrote.

    Raises `StrataError` naming the command where there is nothing, or where a file is damaged.
    """
    folder = out / name
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        names = [check_name(table, "table") for table in facts["tables"]]
        tables = {table: pd.read_parquet(folder / f"{table}.parquet") for table in names}
        notes, key = tuple(facts["notes"]), facts.get("key", "")
        return Result(name, tables, metrics, facts["settings"], facts["provenance"], notes, key)
    except FileNotFoundError as error:
        raise StrataError(f"{error.filename} is missing; make it with: strata experiment {name}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:  # Arrow's own are among them
        raise StrataError(
            f"{folder} is damaged ({error}); remove it and make it with: strata experiment {name}"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return significant(value) if isinstance(value, float) else value


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
