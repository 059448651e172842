"""A map as bytes that a page unpacks: numbers and texts in one piece each, crystals in pieces of a few."""

import base64
import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.structure import SYMBOLS
from evaluation.explorer.judged import ERROR
from evaluation.explorer.structure_map import (
    GROUPS,
    PREDICTIONS,
    PROPERTIES,
    VECTORS,
    StructureMap,
    shown_unit,
)

PIECE = 64  # crystals that are unpacked together: a click waits for one piece
_STEPS = 1 << 24  # of a fractional coordinate: three bytes, 1e-6 Å in a cell of 16 Å
_LISTED = 6  # columns of the table, where none are named


def header(shown: StructureMap) -> dict[str, Any]:
    """Return what the page must know before it unpacks anything."""
    rank = {group: i for i, group in enumerate(GROUPS)}
    order = sorted(range(len(shown.columns)), key=lambda i: rank[shown.columns[i].group])
    return {
        "n": len(shown),
        "columns": [
            {
                "name": column.name,
                "title": column.title,
                "group": column.group,
                "about": column.about,
                "labels": list(column.labels),
                "parity": column.parity,
                "centred": column.name.endswith(f", {ERROR}"),
                "place": i,
            }
            for i in order
            for column in [shown.columns[i]]
        ],
        "x": shown.x,
        "y": shown.y,
        "colour": shown.colour,
        "nearBy": shown.near_by,
        "k": shown.near.shape[1] if shown.near.size else 0,
        "shares": {"about": shown.shares.about, "unit": f" {shown_unit(shown.shares.unit)}".rstrip()},
        "listed": list(shown.listed) or _listed(shown),
        "piece": PIECE,
        "pieces": -(-len(shown) // PIECE),
        "steps": _STEPS,
        "symbols": list(SYMBOLS),
    }


def numbers(shown: StructureMap) -> bytes:
    """Return all columns (float32), neighbours (int32), distances (float32) and elements, one after another.

    The elements of a structure are their count and their atomic numbers, a byte each.
    """
    n = len(shown)
    parts = [column.values.astype("<f4") for column in shown.columns]
    if shown.near.size:
        parts += [shown.near.astype("<i4").reshape(-1), shown.far.astype("<f4").reshape(-1)]
    elements = [np.unique(shown.crystals.numbers_of(i)) for i in range(n)]
    counts = np.array([len(row) for row in elements], "u1")
    return zlib.compress(b"".join(part.tobytes() for part in (*parts, counts, *elements)), 6)


def texts(shown: StructureMap) -> bytes:
    """Return names, entries, formulas, and the shares of atoms, as JSON."""
    shares = {str(i): np.round(values, 6).tolist() for i, values in shown.shares.of.items()}
    content = {
        "names": shown.names,
        "entries": shown.entries,
        "formulas": shown.formulas,
        "atomShares": shares,
    }
    return zlib.compress(json.dumps(content, ensure_ascii=False, allow_nan=False).encode(), 6)


def piece(shown: StructureMap, place: int) -> bytes:
    """Return the crystals `place` × PIECE to the next piece: sizes, cells, atomic numbers, coordinates.

    Sizes are uint32, and 0 where only a composition is known; cells nine float32; a coordinate is three
    bytes, of which all the highest come first: they compress better so.
    """
    crystals = shown.crystals
    own = range(place * PIECE, min((place + 1) * PIECE, len(shown)))
    spans = [
        (crystals.start[i], crystals.start[i + 1] if crystals.drawn[i] else crystals.start[i]) for i in own
    ]
    atoms = np.concatenate([np.arange(a, b) for a, b in spans]).astype(np.int64)
    coords = crystals.coords[atoms]
    steps = (np.rint((coords - np.floor(coords)) * _STEPS).astype("<u4") % _STEPS).reshape(-1)
    content = (
        np.array([b - a for a, b in spans], "<u4"),
        crystals.lattice[own.start : own.stop].astype("<f4"),
        crystals.numbers[atoms],
        _planes(steps),
    )
    return zlib.compress(b"".join(part.tobytes() for part in content), 6)


def pieces(shown: StructureMap) -> Iterator[bytes]:
    """Yield every piece of crystals, in order."""
    return (piece(shown, place) for place in range(-(-len(shown) // PIECE)))


def as_text(content: bytes) -> str:
    """Write bytes as a page holds them.

    >>> as_text(b"strata")
    'c3RyYXRh'
    """
    return base64.b64encode(content).decode()


def as_json(content: Any) -> str:
    """Write JSON that may stand inside of a script element: no `<` is left that could end it.

    >>> as_json(["</script>"])
    '["\\\\u003c/script>"]'
    """
    return json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _planes(steps: NDArray[np.uint32]) -> NDArray[np.uint8]:
    return np.concatenate([(steps >> shift & 0xFF).astype(np.uint8) for shift in (16, 8, 0)])


def _listed(shown: StructureMap) -> list[str]:
    wanted = [c.name for group in (PROPERTIES, PREDICTIONS) for c in shown.columns if c.group == group]
    rest = [c.name for c in shown.columns if c.group not in {VECTORS, PROPERTIES, PREDICTIONS}]
    return (wanted + rest)[:_LISTED]
