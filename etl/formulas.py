"""Formulas of cards: one number out of a column that holds a tensor, a list or a mapping.

A formula is a call of the named functions below, such as `largest(value)` or `mean(item(value, n))`.
`value` is what the record's column holds. Nothing else is evaluated: there is no arithmetic and no `eval`.
"""

import ast
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError, unknown


class _MissingError(Exception):
    """The column has no number where the formula looks: the value is missing."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments: calls, whole numbers, or words."""

    function: str
    arguments: tuple["Call | int | str", ...]


@dataclass(frozen=True, slots=True)
class _Context:
    value: object
    null_tokens: Collection[str]
    lattice: NDArray[np.float64] | None


def parse(text: str) -> Call:
    """Read a formula; raises `StrataError` for an unknown function or a wrong number of arguments.

    >>> parse("component(value, 1, 2)")
    Call(function='component', arguments=('value', 1, 2))
    >>> parse("larges(value)")
    Traceback (most recent call last):
    core.errors.StrataError: unknown function 'larges' in formula 'larges(value)'; did you mean 'largest'? ...
    """
    try:
        call = _read(ast.parse(text.strip(), mode="eval").body, text)
    except (SyntaxError, ValueError) as error:  # ValueError: the text holds a null byte
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise StrataError(f"formula {text!r} is not one call, such as largest(value): {reason}") from None
    if not isinstance(call, Call):
        raise StrataError(f"formula {text!r}: expected one call, such as largest(value)")
    return call


def _read(node: ast.expr, text: str) -> Call | int | str:
    """Turn the three kinds of node that a formula may have into ours, and refuse every other."""
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            return name
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            if name not in FUNCTIONS:
                raise unknown("function", name, FUNCTIONS, f"formula {text!r}")
            if len(arguments) != FUNCTIONS[name][1]:
                raise StrataError(f"formula {text!r}: {name} takes {FUNCTIONS[name][1]} arguments")
            return Call(name, tuple(_read(argument, text) for argument in arguments))
    raise StrataError(
        f"formula {text!r}: only calls, names and whole numbers are allowed, not {ast.unparse(node)}"
    )


def evaluate(
    formula: Call,
    value: object,
    null_tokens: Collection[str] = (),
    lattice: NDArray[np.float64] | None = None,
) -> float | None:
    """Evaluate a formula on what a column holds; None where a number that it needs is missing.

    Missing are None, a null token and an empty list. lattice: (3, 3), Å, rows are lattice vectors.
    Raises `StrataError` where the column holds something of another shape.

    >>> evaluate(parse("largest(value)"), [3.0, 12.5, -1.0])
    12.5
    >>> evaluate(parse("component(value, 1, 1)"), "na", null_tokens=["na"]) is None
    True
    """
    try:
        result = _run(formula, _Context(value, null_tokens, lattice))
    except _MissingError:
        return None
    return float(result)


def _run(node: Call | int | str, context: _Context) -> Any:
    if isinstance(node, Call):
        arguments = [_run(argument, context) for argument in node.arguments]
        return FUNCTIONS[node.function][0](context, *arguments)
    if node == "value":
        return _present(context, context.value)
    return node


def _present(context: _Context, value: object) -> object:
    if value is None or (isinstance(value, str) and value in context.null_tokens) or value in ([], {}):
        raise _MissingError
    return value


def _array(context: _Context, value: object, *dimensions: int) -> NDArray[np.float64]:
    """The numbers of a list or a nested list, of one of the given numbers of dimensions."""
    value = _present(context, value)
    for item in _flat(value):
        _present(context, item)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise StrataError(f"{_short(value)} is not made of numbers") from None
    if array.ndim not in dimensions:
        wanted = " or ".join(str(number) for number in dimensions)
        raise StrataError(f"{_short(value)} has {array.ndim} dimensions, expected {wanted}")
    return array


def _flat(value: object) -> list[object]:
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _flat(item)]
    return [value]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _component(context: _Context, value: object, row: int, column: int) -> float:
    """Component of a matrix; rows and columns are counted from 1."""
    array = _array(context, value, 2)
    if not (1 <= row <= array.shape[0] and 1 <= column <= array.shape[1]):
        raise StrataError(f"{_short(value)} has no component {row}, {column}")
    return float(array[row - 1, column - 1])


def _item(context: _Context, value: object, key: str) -> object:
    """What a mapping holds under a key."""
    if not isinstance(value, Mapping):
        raise StrataError(f"{_short(value)} is no mapping, so it has no {key!r}")
    return _present(context, value.get(key))


def _mean(context: _Context, value: object) -> float:
    """Mean of a number, of a list, or of the principal values (the diagonal) of a square matrix."""
    array = _array(context, value, 0, 1, 2)
    return float((np.diagonal(array) if array.ndim == 2 else array).mean())


def _largest(context: _Context, value: object) -> float:
    """Largest number of a list."""
    return float(_array(context, value, 1).max())


def _smallest(context: _Context, value: object) -> float:
    """Smallest number of a list."""
    return float(_array(context, value, 1).min())


def _norm(context: _Context, value: object) -> float:
    """Root of the sum of the squares of all components (Frobenius)."""
    return float(np.linalg.norm(_array(context, value, 1, 2)))


def _largest_eigenvalue(context: _Context, value: object) -> float:
    """Largest eigenvalue of the symmetric part of a square matrix."""
    array = _array(context, value, 2)
    if array.shape[0] != array.shape[1]:
        raise StrataError(f"{_short(value)} is not square")
    return float(np.linalg.eigvalsh((array + array.T) / 2)[-1])


def _mesh(context: _Context, value: object) -> list[int]:
    """The k-point mesh of a length in Å, by the rule of jarvis-tools: max(1, ⌊length·|b| + 1/2⌋).

    b are the reciprocal lattice vectors without the factor 2π.
    """
    if context.lattice is None:
        raise _MissingError
    length = float(_array(context, value, 0))
    try:
        reciprocal = np.linalg.inv(context.lattice).T
    except np.linalg.LinAlgError:
        raise _MissingError from None
    return [int(max(1.0, length * norm + 0.5)) for norm in np.linalg.norm(reciprocal, axis=1)]


FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "component": (_component, 3),
    "item": (_item, 2),
    "largest": (_largest, 1),
    "largest_eigenvalue": (_largest_eigenvalue, 1),
    "mean": (_mean, 1),
    "mesh": (_mesh, 1),
    "norm": (_norm, 1),
    "smallest": (_smallest, 1),
}
"""Function → what it computes, and how many arguments it takes."""
