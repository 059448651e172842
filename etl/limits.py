"""Values that are limits, such as `>5`: the quantity lies beyond what was measured."""

import re

_LIMIT = re.compile(r"(?:[<>≤≥≲≳]=?)\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def is_limit(cell: object) -> bool:
    """Tell whether a cell holds a limit: a sign of comparison and a number.

    >>> [is_limit(cell) for cell in (">5", "<= 0.1", "≥1e3", "5", "> x", 5.0)]
    [True, True, True, False, False, False]
    """
    return isinstance(cell, str) and _LIMIT.fullmatch(cell.strip()) is not None
