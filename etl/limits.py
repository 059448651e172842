"""Cells that hold no number: limits, such as `>5`, and labels of classes."""

import re

_LIMIT = re.compile(r"(?:[<>≤≥≲≳]=?)\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def is_limit(cell: object) -> bool:
    """Tell whether a cell holds a limit: a sign of comparison and a number.

    >>> [is_limit(cell) for cell in (">5", "<= 0.1", "≥1e3", "5", "> x", 5.0)]
    [True, True, True, False, False, False]
    """
    return isinstance(cell, str) and _LIMIT.fullmatch(cell.strip()) is not None


def label_of(cell: object) -> str | None:
    """Return the label that a cell holds; None where it holds something else than a word or a whole number.

    >>> label_of(" metal "), label_of(True), label_of(2.0), label_of(2.5)
    ('metal', 'true', '2', None)
    """
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int | float) and float(cell).is_integer():
        return str(int(cell))
    return None
