"""Errors meant for people: what was found, what was expected, where, and what to do."""

import difflib
import re
from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class StrataError(Exception):
    """A fault that the user can mend; the command line prints it without a traceback."""


def unknown(kind: str, name: str, valid: Iterable[str], where: str = "") -> StrataError:
    """Build the error for a name that is none of `valid`, naming the nearest one.

    >>> print(unknown("head", "rigde", ["mean", "ridge"]))
    unknown head 'rigde'; did you mean 'ridge'? (known: mean, ridge)
    """
    names = sorted(valid)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    shown = ", ".join(names) if len(names) <= 40 else ", ".join(names[:40]) + ", …"
    place = f" in {where}" if where else ""
    return StrataError(f"unknown {kind} {str(name)!r}{place}{hint} (known: {shown or 'none'})")


def check_name(name: str, kind: str) -> str:
    """Return `name` if it may become part of a path or a query, else raise.

    Letters, digits, `_`, `.` and `-`, at most 100, and no leading `.` or `-`: this is the only
    place that decides it (rows 37 and 38 of the fault table: injection and traversal by name).

    >>> check_name("emt_alloys", "dataset")
    'emt_alloys'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StrataError(
            f"{kind} {str(name)[:60]!r} is not a valid name: use letters, digits, '_', '.' or '-', "
            "start with a letter or digit, at most 100 characters"
        )
    return name
