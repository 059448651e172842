"""Bringing columns to mean 0 and deviation 1."""

import numpy as np


def standardiser(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation (d,) of the columns of X (n, d) in float64; a flat column's deviation is 1.

    >>> standardiser(np.array([[1.0, 5.0], [3.0, 5.0]]))
    (array([2., 5.]), array([1., 1.]))
    """
    mean = X.mean(axis=0, dtype=np.float64)
    scale = X.std(axis=0, dtype=np.float64)
    # Rounding leaves a flat column of float32 a deviation that is small, not zero.
    scale[scale <= 1e-6 * np.abs(mean)] = 1.0
    return mean, scale
