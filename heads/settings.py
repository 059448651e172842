"""Settings of heads as people write them: of the kind that the class expects, before anything is fitted."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

from core.errors import StrataError


def check_kinds(given: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
    """Raise `StrataError` for a setting of another kind than its default, such as a word for a number.

    A default of several numbers wants a list of numbers; one of None may be replaced by anything. What is a
    number, a switch and a word is told apart; whether a number makes sense, the head says itself.

    >>> check_kinds({"alphas": [1, "x"]}, {"alphas": (0.1, 1.0)}, "params.yaml, heads.ridge")
    Traceback (most recent call last):
    core.errors.StrataError: params.yaml, heads.ridge.alphas: 'x' in [1, 'x'] is no number
    """
    for name, value in given.items():
        default, place = defaults[name], f"{where}.{name}"
        if isinstance(default, list | tuple):
            if not isinstance(value, list | tuple):
                raise StrataError(
                    f"{place}: expected a list of numbers, such as {list(default[:2])}, got {value!r}"
                )
            for item in value:
                if not _is_number(item):
                    raise StrataError(f"{place}: {item!r} in {list(value)} is no number")
        elif isinstance(default, bool):
            if not isinstance(value, bool):
                raise StrataError(f"{place}: expected true or false, got {value!r}")
        elif _is_number(default):
            if not _is_number(value):
                raise StrataError(f"{place}: expected a number, got {value!r}")
        elif isinstance(default, str) and not isinstance(value, str):
            raise StrataError(f"{place}: expected a word, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
