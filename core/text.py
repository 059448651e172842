"""Values as people read and write them."""

import math
import re

_STRANGE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def number(value: float | None, digits: int = 4) -> str:
    """Write a number for people: `digits` significant digits, no trailing zeros, true minus.

    >>> number(-0.123456), number(406.5612), number(12345678.0), number(0.0), number(None)
    ('−0.1235', '406.6', '1.235e7', '0', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        text = f"{float(text):.0f}" if 0 <= int(exponent) <= 6 else f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−") if value else "0"


def parse_number(text: str) -> float:
    """Read a number as people write it. Raises `ValueError` for `1_000`, which only Python reads as 1000.

    >>> parse_number(" 1.5e3 ")
    1500.0
    """
    if "_" in text:
        raise ValueError(f"{text!r} is no number")
    return float(text)


def plain(text: str) -> str:
    """Return text without control characters; raises `ValueError` for other text."""
    if _STRANGE.search(text):
        raise ValueError("holds control characters")
    return text


def word(text: str) -> str:
    """Return text that could be a name, a unit or a formula; raises `ValueError` for other text."""
    if "<" in text or ">" in text:
        raise ValueError("holds < or >, which no name has")
    return plain(text)
