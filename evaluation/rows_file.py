"""Rows of one kind in a CSV file under plots/, which `evaluate` writes for the page."""

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from core.atomic import whole_file
from core.errors import StrataError

Row = TypeVar("Row")


def write_rows(path: Path, kind: type[Any], rows: Sequence[Any]) -> None:
    """Write a line for each of `rows`, instances of the dataclass `kind`."""
    names = [field.name for field in fields(kind)]
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read instances of a dataclass of texts and numbers.

    Raises `StrataError` for a file that is missing or damaged, naming the command that makes it.
    """
    types = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                kind(**{name: make(row[name]) for name, make in types.items()})  # type: ignore[operator]
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        raise StrataError(f"{path} is missing; make it with: strata evaluate") from None
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise StrataError(f"{path} is damaged ({error}); make it anew with: strata evaluate") from None
