"""How far a structure lies from those that a model learned from, by the vectors of its source models.

Distances of different networks have different units, so that none is used as it is: those to the nearest
training rows are compared with the distances that training rows have from each other.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import euclidean_distances

from core.arrays import read_arrays, write_arrays
from core.errors import StrataError
from heads.tiles import by_tiles

INSIDE, EDGE, OUTSIDE = "inside", "edge", "outside"
VERDICTS = (INSIDE, EDGE, OUTSIDE)
# Percentiles among the training rows' own remoteness. Chosen by held-out chemical systems inside train and
# validation (bench/results/intervals.md).
EDGE_FROM, OUTSIDE_FROM = 75.0, 95.0
COMPONENTS = 32  # of each source model: what is left of a distance with more of them is noise
NEAREST = 5  # whose mean distance counts: a single near row may be a duplicate of its own
KEPT = 20  # neighbours that are named in a `Place`
_CUT = 8.0  # deviations
_AT_ONCE = 1024  # rows whose distances are held at a time
FILE = "domain"


@dataclass(frozen=True, slots=True)
class Place:
    """Where m structures lie among n training rows.

    Distances are in units of the median of the training rows' own. distance (m,): mean distance from the five
    nearest, averaged over source models. remoteness (m,): the same by the source model that finds it largest.
    percentile (m,): how many in a hundred training rows are less remote. near (m, k), far (m, k): places of
    the nearest training rows and their distances, nearest first, averaged over source models. new: for each
    structure the atomic numbers that no training row has.
    """

    distance: np.ndarray
    remoteness: np.ndarray
    percentile: np.ndarray
    near: np.ndarray
    far: np.ndarray
    new: tuple[tuple[int, ...], ...]

    @property
    def verdicts(self) -> np.ndarray:
        """Say of each whether it lies inside, at the edge or outside; an element that is new is outside."""
        unknown = np.array([bool(new) for new in self.new], bool)
        beyond = np.where(self.percentile >= EDGE_FROM, EDGE, INSIDE).astype(object)
        beyond[(self.percentile >= OUTSIDE_FROM) | unknown] = OUTSIDE
        return beyond


@dataclass(frozen=True, slots=True)
class Space:
    """The training rows' vectors by one source model, standardised, on their principal components.

    mean, scale (d,); axes (c, d); points (n, c); typical: median distance of a point from its nearest five.
    A row without a vector is NaN.
    """

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    points: np.ndarray
    typical: float

    @classmethod
    def learn(cls, X: np.ndarray, groups: np.ndarray) -> "Space":
        """Find the components of X (n, d); a row's neighbours are those of other `groups` (n,)."""
        there = np.isfinite(X).all(axis=1)
        width = X.shape[1]
        if not there.any():
            nothing = np.full((len(X), 0), np.nan)
            return cls(np.full(width, np.nan), np.full(width, np.inf), np.empty((0, width)), nothing, 1.0)
        mean, scale = X[there].mean(axis=0, dtype=np.float64), X[there].std(axis=0, dtype=np.float64)
        scale[scale <= 1e-6 * np.maximum(1, np.abs(mean))] = np.inf  # columns of one value say nothing
        Z = _standardised(X[there], mean, scale)
        axes = np.eye(1, width)  # of rows that are all alike, which have no components
        if np.isfinite(scale).any():
            axes = PCA(min(COMPONENTS, *Z.shape), svd_solver="randomized", random_state=0).fit(Z).components_
        space = cls(mean, scale, axes, np.full((len(X), len(axes)), np.nan), 1.0)
        space.points[there] = space.project(X[there])
        own = [
            np.sort(_apart(space.distances(space.points[rows]), groups[rows], groups))[:, :NEAREST]
            for rows in _pieces(len(X))
        ]
        near = _mean_of_finite(np.concatenate(own))
        typical = float(np.median(near[np.isfinite(near)])) if np.isfinite(near).any() else 1.0
        return cls(mean, scale, axes, space.points, typical or 1.0)

    def project(self, X: np.ndarray) -> np.ndarray:
        """Return (m, c) for vectors X (m, d)."""
        axes = self.axes.T.astype(np.float32)

        def projected(rows: np.ndarray) -> np.ndarray:
            return np.asarray(_standardised(rows, self.mean, self.scale) @ axes)

        return by_tiles(projected, X.astype(np.float32, copy=False)).astype(np.float64)

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Return (m, n) distances of points from the training rows, over `typical`; NaN: unknown."""
        found = np.full((len(points), len(self.points)), np.nan)
        rows, known = (np.isfinite(side).all(axis=1) & bool(len(self.axes)) for side in (points, self.points))
        if rows.any() and known.any():
            found[np.ix_(rows, known)] = euclidean_distances(points[rows], self.points[known]) / self.typical
        return found


@dataclass(frozen=True, slots=True)
class Domain:
    """The training rows of a model, by the vectors of each of its source models.

    own: `Place` of the training rows themselves, each among those of other groups. elements: atomic numbers
    that training rows have.
    """

    spaces: Mapping[str, Space]
    own: Place
    elements: frozenset[int]

    @classmethod
    def learn(
        cls, vectors: Mapping[str, np.ndarray], groups: np.ndarray, elements: Sequence[Sequence[int]]
    ) -> Self:
        """Learn from n training rows.

        vectors: by source model (n, d), NaN where a row has none. groups (n,): rows of one group, such as one
        structure, are no neighbours of each other, unless there is one group alone. elements: each row's
        atomic numbers. Raises `StrataError` where no row has a vector.
        """
        if not any(np.isfinite(X).all(axis=1).any() for X in vectors.values()):
            raise StrataError(
                "no training row has vectors, so that nothing can be said of how far another lies"
            )
        if len(np.unique(groups)) == 1:
            groups = np.arange(len(groups))
        spaces = {name: Space.learn(X, groups) for name, X in vectors.items()}
        points = {name: space.points for name, space in spaces.items()}
        near, far, remoteness = _nearest(spaces, points, groups)
        distance = _mean_of_finite(far[:, :NEAREST])
        rank = _percentile(np.sort(remoteness), remoteness)
        nothing_new: tuple[tuple[int, ...], ...] = ((),) * len(groups)
        known = frozenset(int(z) for row in elements for z in row)
        return cls(spaces, Place(distance, remoteness, rank, near, far, nothing_new), known)

    def place(
        self, vectors: Mapping[str, np.ndarray], elements: Sequence[Sequence[int]], kept: int = KEPT
    ) -> Place:
        """Say where m structures lie; vectors as in `learn`, (m, d) by source model.

        kept: how many neighbours are named, which does not change how far a structure is said to lie.
        Raises `StrataError` where vectors of a source model are missing altogether.
        """
        missing = [name for name in self.spaces if name not in vectors]
        if missing:
            raise StrataError(f"the domain of this model needs vectors by {', '.join(missing)}")
        points = {name: space.project(vectors[name]) for name, space in self.spaces.items()}
        return self.at(points, elements, kept)

    def at(
        self, points: Mapping[str, np.ndarray], elements: Sequence[Sequence[int]], kept: int = KEPT
    ) -> Place:
        """Say where m projected points lie, (m, c) by source model; see `place`."""
        near, far, remoteness = _nearest(self.spaces, points, kept=max(kept, NEAREST))
        distance = _mean_of_finite(far[:, :NEAREST])
        near, far = near[:, :kept], far[:, :kept]
        new = tuple(tuple(sorted({int(z) for z in row} - self.elements)) for row in elements)
        rank = _percentile(np.sort(self.own.remoteness), remoteness)
        return Place(distance, remoteness, rank, near, far, new)

    def same(self, vectors: Mapping[str, np.ndarray], rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return for each structure those of given training rows that are the same crystal to a network.

        vectors: by some of the source models. rows: for each of m structures the places of training rows of
        its composition. Vectors do not depend on the cell that is chosen, so that a distance of nothing by
        any source model means one crystal.
        """
        spaces = {name: self.spaces[name] for name in vectors}
        points = {name: space.project(vectors[name]) for name, space in spaces.items()}
        found = []
        for i, places in enumerate(rows):
            near = np.full(len(places), np.inf)
            for name, space in spaces.items() if len(places) else ():
                if not np.isfinite(space.scale).any():
                    continue  # it has seen one crystal alone, and tells none apart
                apart = np.linalg.norm(space.points[list(places)] - points[name][i], axis=1)
                near = np.fmin(near, apart / space.typical)
            found.append([row for row, far in zip(places, near, strict=True) if far < _NOTHING])
        return found

    def save(self, folder: Path) -> None:
        """Write it into a folder: arrays (safetensors) and the rest (JSON)."""
        arrays = {
            f"{name}/{key}": getattr(space, key) for name, space in self.spaces.items() for key in _ARRAYS
        }
        own = {f"own/{key}": getattr(self.own, key) for key in _OWN}
        write_arrays(folder / f"{FILE}.safetensors", arrays | own)
        facts = {
            "typical": {name: space.typical for name, space in self.spaces.items()},
            "elements": sorted(self.elements),
        }
        (folder / f"{FILE}.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises `StrataError` for files that do not fit together."""
        path = folder / f"{FILE}.json"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            arrays = read_arrays(folder / f"{FILE}.safetensors")
            spaces = {
                name: Space(**{key: arrays[f"{name}/{key}"] for key in _ARRAYS}, typical=float(typical))
                for name, typical in facts["typical"].items()
            }
            own = {key: arrays[f"own/{key}"] for key in _OWN}
            return cls(
                spaces,
                Place(**own, new=((),) * len(own["near"])),
                frozenset(int(z) for z in facts["elements"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StrataError(f"{folder} holds no domain that can be read ({error})") from None


_ARRAYS = ("mean", "scale", "axes", "points")
_OWN = ("distance", "remoteness", "percentile", "near", "far")
# Of a typical distance. Other cells have the same vectors, coordinates of four decimals lie within 0.001;
# crystals strained by a hundredth lie beyond this also where training rows are as different as the elements.
_NOTHING = 0.003


def _nearest(
    spaces: Mapping[str, Space],
    points: Mapping[str, np.ndarray],
    groups: np.ndarray | None = None,
    kept: int = KEPT,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the nearest training rows' places and distances, (m, k) each, and the remoteness (m,).

    groups: rows of the same group are no neighbours.
    """
    m, n = len(next(iter(points.values()))), len(next(iter(spaces.values())).points)
    k = min(kept, n)
    near, far = np.zeros((m, k), np.int64), np.full((m, k), np.inf)
    remoteness = np.full(m, -np.inf)
    for rows in _pieces(m):
        several = [space.distances(points[name][rows]) for name, space in spaces.items()]
        if groups is not None:
            several = [_apart(one, groups[rows], groups) for one in several]
        for one in several:
            if np.isfinite(one).any():
                remoteness[rows] = np.maximum(remoteness[rows], _far_from(one))
        apart = _mean_of_spaces(several)
        apart = np.where(np.isfinite(apart), apart, np.inf)
        some = np.argpartition(apart, k - 1, axis=1)[:, :k]
        order = np.lexsort((some, np.take_along_axis(apart, some, 1)), axis=1)
        near[rows] = np.take_along_axis(some, order, 1)
        far[rows] = np.take_along_axis(apart, near[rows], 1)
    return near, far, np.where(remoteness == -np.inf, np.inf, remoteness)


def _far_from(distances: np.ndarray) -> np.ndarray:
    """Return each row's mean distance from the nearest five (m, n); −∞ where it has no vector."""
    known = np.where(np.isfinite(distances), distances, np.inf)
    few = min(NEAREST, known.shape[1])
    far = _mean_of_finite(np.partition(known, few - 1, axis=1)[:, :few])
    return np.where(np.isfinite(far), far, -np.inf)


def _apart(distances: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Put rows of the same group infinitely far apart."""
    return np.where(one[:, None] == other[None, :], np.inf, distances)


def _mean_of_spaces(several: Sequence[np.ndarray]) -> np.ndarray:
    """Average over source models; one that has no vector of a row is left out of its mean."""
    known = [np.isfinite(one) for one in several]
    total = sum(np.where(k, one, 0) for k, one in zip(known, several, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / np.sum(known, axis=0))


def _mean_of_finite(far: np.ndarray) -> np.ndarray:
    """Average each row of (m, k) distances over those that are finite; infinite where none is."""
    there = np.isfinite(far)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, far, 0).sum(axis=1) / there.sum(axis=1)
    return np.where(there.any(axis=1), mean, np.inf)


def _percentile(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return how many in a hundred of `ordered` lie below each value; 100 of what has no distance."""
    known = ordered[np.isfinite(ordered)]
    below = 100.0 * np.searchsorted(known, values) / max(len(known), 1)
    return np.where(np.isfinite(values) & (len(known) > 0), below, 100.0)


def _standardised(X: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    Z = np.subtract(X, mean, dtype=np.float32)
    Z /= scale.astype(np.float32)
    return np.clip(Z, -_CUT, _CUT, out=Z)


def _pieces(m: int) -> list[Any]:
    return [np.arange(start, min(start + _AT_ONCE, m)) for start in range(0, m, _AT_ONCE)]
