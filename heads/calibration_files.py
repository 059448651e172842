"""Domain, intervals and training rows in files; read only where shapes fit and numbers are finite."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.errors import StrataError
from core.structure import SYMBOLS
from core.text import plain, word
from core.untrusted import read_json
from heads.calibration import Calibration, Seen, TrainingRow
from heads.domain import FILE as DOMAIN
from heads.domain import Domain
from heads.intervals import FILE as INTERVALS
from heads.intervals import Intervals

TRAINING = "training.json"
_COLUMNS = ("entry_id", "structure_id", "formula", "value")
_KNOWN = 6  # what a forest of intervals is told of a row


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Write domain, intervals and training rows; no rows where the data stay at home."""
    calibration.domain.save(folder)
    if calibration.intervals is not None:
        calibration.intervals.save(folder)
    columns = {name: [getattr(row, name) for row in calibration.rows] for name in _COLUMNS}
    (folder / TRAINING).write_text(json.dumps(columns, ensure_ascii=False) + "\n", encoding="utf-8")


def read_calibration(
    folder: Path,
    widths: Mapping[str, int],
    seen: Mapping[str, Seen],
    *,
    classes: int,
    with_data: bool,
    log: bool,
) -> Calibration:
    """Read what `write_calibration` wrote; raises `StrataError` naming the file and what does not fit.

    widths: of the vectors of each source model. classes: how many the property has; 0: it is a number, whose
    logarithm is learned where `log`. with_data: training rows are there.
    """
    rows = _rows(folder / TRAINING, classes)
    if bool(rows) != with_data:
        raise StrataError(
            f"{folder / TRAINING} has {len(rows):,} rows, which is not what is said of the data"
        )
    domain = Domain.load(folder)
    _check_domain(domain, widths, len(rows) if with_data else None, folder / f"{DOMAIN}.safetensors")
    if classes:
        return Calibration(domain, None, rows, seen)
    intervals = Intervals.load(folder)
    _check_intervals(intervals, len(rows), log, folder / f"{INTERVALS}.safetensors")
    return Calibration(domain, intervals, rows, seen)


def _rows(path: Path, classes: int) -> tuple[TrainingRow, ...]:
    facts = read_json(path)
    try:
        rows = tuple(
            TrainingRow(plain(entry), structure, word(formula), float(value))
            for entry, structure, formula, value in zip(*(facts[name] for name in _COLUMNS), strict=True)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StrataError(f"{path} holds no training rows that can be read ({error})") from None
    for row in rows:
        if len(row.entry_id) > 1000 or len(row.formula) > 1000 or len(str(row.structure_id)) != 64:
            raise StrataError(f"{path}: {row.entry_id[:60]!r} is no training row")
        if classes and row.value not in range(classes):
            raise StrataError(f"{path}: {row.entry_id[:60]!r} has the class {row.value:g}, of {classes}")
    return rows


def _check_domain(domain: Domain, widths: Mapping[str, int], rows: int | None, path: Path) -> None:
    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise StrataError(f"{path}: {what}; it is damaged or was made up")

    demand(set(domain.spaces) == set(widths), f"its source models are not {', '.join(widths)}")
    counts = set()
    for name, space in domain.spaces.items():
        width, axes = widths[name], len(space.axes)
        shapes = (space.mean.shape, space.scale.shape, space.axes.shape, space.points.shape[1:])
        demand(shapes == ((width,), (width,), (axes, width), (axes,)), f"the arrays of {name} do not fit")
        numbers = [np.array(space.typical), space.axes]
        numbers += [space.mean] if axes else []  # no row has a vector of a source model without
        demand(all(np.isfinite(one).all() for one in numbers), f"the arrays of {name} hold NaN or infinity")
        demand(bool((space.scale > 0).all()) and space.typical > 0, f"a scale of {name} is not positive")
        known = np.isfinite(space.points)
        whole = known.all(axis=1) | np.isnan(space.points).all(axis=1)
        demand(bool(whole.all()), f"the points of {name} hold NaN or infinity")
        counts.add(len(space.points))
    n, own = max(counts), domain.own
    demand(len(counts) == 1 and n > 0 and rows in (None, n), "it has not as many points as training rows")
    kept = len(own.distance)
    own_shapes = {own.distance.shape, own.remoteness.shape, own.percentile.shape}
    demand(own_shapes == {(kept,)}, "its own distances do not fit")
    demand(own.near.shape == own.far.shape and len(own.near) == kept, "its own neighbours do not fit")
    demand(rows in (None, kept), "it has not as many distances as training rows")
    sound = not any(np.isnan(one).any() for one in (own.distance, own.remoteness, own.percentile, own.far))
    demand(sound, "its own distances hold NaN")
    whole_numbers = np.issubdtype(own.near.dtype, np.integer)
    demand(
        whole_numbers and bool(((own.near >= 0) & (own.near < n)).all()), "a neighbour is none of its points"
    )
    demand(all(0 < z < len(SYMBOLS) for z in domain.elements), "an element is none")


def _check_intervals(intervals: Intervals, rows: int, log: bool, path: Path) -> None:
    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise StrataError(f"{path}: {what}; it is damaged or was made up")

    n = len(intervals.residuals)
    demand(n > 0 and intervals.residuals.shape == intervals.expected.shape == (n,), "its arrays do not fit")
    sound = np.isfinite(intervals.residuals).all() and np.isfinite(intervals.expected).all()
    demand(
        bool(sound and (intervals.expected > 0).all()), "residuals or errors are NaN, infinite or negative"
    )
    shapes = (intervals.values.shape, intervals.errors.shape)
    demand(shapes == ((rows,), (rows,)), "it has not as many values as training rows")
    demand(bool(np.isfinite(intervals.values).all()), "its values hold NaN or infinity")
    demand(not np.isinf(intervals.errors).any(), "its errors are infinite")
    demand(intervals.log == log, "they are of another transform than the property")
    if intervals.forest is not None:
        demand(intervals.forest.n_features_in_ == _KNOWN and rows > 0, "its forest is of other columns")
