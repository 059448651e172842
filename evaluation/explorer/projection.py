"""Vectors of many structures in two dimensions, and which of them lie near to each other."""

import os
import warnings
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from core.lazy import need
from evaluation.explorer.structure_map import VECTORS, Column

NEIGHBOURS = 8  # that a page names
_OF_UMAP = 15  # neighbours, its own default
SEED = 0


@dataclass(frozen=True, eq=False, slots=True)
class Near:
    """Nearest structures: places (n, k) among the n, −1 where there are none, and distances (n, k)."""

    places: NDArray[np.int32]
    distances: NDArray[np.float32]


def nearest(X: NDArray[np.float32], k: int = NEIGHBOURS) -> Near:
    """Find the k nearest others of each vector of X (n, d), exactly; a row with NaN has none.

    >>> nearest(np.float32([[0], [1], [9]]), 2).places.tolist()
    [[1, 2], [0, 2], [1, 0]]
    """
    places, distances = np.full((len(X), k), -1, np.int32), np.full((len(X), k), np.nan, np.float32)
    there = np.flatnonzero(np.isfinite(X).all(axis=1))
    found = min(k, len(there) - 1)
    if found > 0:
        far, near = NearestNeighbors(n_neighbors=found, algorithm="brute").fit(X[there]).kneighbors()
        places[there, :found], distances[there, :found] = there[near], far
    return Near(places, distances)


def pca(X: NDArray[np.float32], source: str) -> list[Column]:
    """Return the first two principal components of X (n, d) as columns; NaN for rows with NaN.

    source: whose vectors, for the names. A component has its largest weight positive, so that the same
    vectors always give the same picture.
    """
    there = np.isfinite(X).all(axis=1)
    rows = X[there]
    count = min(2, *rows.shape) if len(rows) > 1 else 0
    values = np.full((len(X), 2), 0.0)
    values[~there] = np.nan
    explained = np.zeros(2)
    if count:
        # the covariance's eigenvectors: exact, and of many rows the fastest way
        fit = PCA(count, svd_solver="covariance_eigh").fit(rows)
        values[there, :count] = fit.transform(rows)
        explained[:count] = np.nan_to_num(fit.explained_variance_ratio_)
    about = (
        "Principal component {} of the vectors {}, which holds {:.0%} of their variance. Positions have no "
        "unit; near points have similar vectors."
    )
    return [
        Column(
            f"PCA {i + 1} of {source}", values[:, i], "", VECTORS, about.format(i + 1, source, explained[i])
        )
        for i in range(2)
    ]


def quiet_umap() -> ModuleType:
    """Import umap-learn, or say which extra brings it; TensorFlow, which it imports too, says nothing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return need("umap", "explore")


def umap(X: NDArray[np.float32], source: str, seed: int = SEED) -> list[Column]:
    """Return a UMAP of X (n, d) as two columns; NaN for rows with NaN. One thread, the same every time.

    Raises `StrataError` where umap-learn is not installed.
    """
    there = np.isfinite(X).all(axis=1)
    rows = X[there]
    values = np.full((len(X), 2), np.nan)
    k = min(_OF_UMAP, len(rows) - 1)
    if len(rows) < 5:  # no neighbourhood to speak of
        values[there] = 0.0
    else:
        library = quiet_umap()
        far, near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows).kneighbors()
        itself = np.arange(len(rows))[:, None]  # UMAP counts a point as its own first neighbour
        known = (np.hstack([itself, near])[:, :k], np.hstack([np.zeros((len(rows), 1)), far])[:, :k])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # later rows could not be placed, and none come
            values[there] = library.UMAP(
                n_neighbors=k, random_state=seed, n_jobs=1, precomputed_knn=(*known, None)
            ).fit_transform(rows)
    about = (
        "Coordinate {} of a UMAP of the vectors {}: near points have similar vectors; distances between "
        "groups mean nothing."
    )
    return [
        Column(f"UMAP {i + 1} of {source}", values[:, i], "", VECTORS, about.format(i + 1, source))
        for i in range(2)
    ]
