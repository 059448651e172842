"""What a network says of single atoms, bonds and angles, before the mean over a structure is taken."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


class Rows(NamedTuple):
    """The rows of one checkpoint for one structure, whose mean is its pooled vector.

    `vectors` (m, width) float32; `atoms` (m, k) int64, the atoms that a row belongs to, counted from 0 in
    the order of the structure: (m, 1) the atom itself, (m, 2) both ends of a bond, (m, 3) both ends and the
    centre of an angle. One atom stands in a row twice where a bond leads to its own image. m is 0 where a
    structure has no rows of that kind, such as one without angles.

    A row belongs to its k atoms in equal parts: half of a bond to each end, a third of an angle to each.

    >>> bonds = Rows(np.array([[1.0], [3.0]], np.float32), np.array([[0, 1], [1, 1]]))
    >>> bonds.mean()
    array([2.])
    >>> sums, counts = bonds.per_atom(2)
    >>> sums.tolist(), counts.tolist()
    ([[0.5], [3.5]], [0.5, 1.5])
    """

    vectors: NDArray[np.float32]
    atoms: NDArray[np.int64]

    def mean(self) -> NDArray[np.float64]:
        """Return the pooled vector (width,), to rounding; zeros where there are no rows."""
        total: NDArray[np.float64] = self.vectors.sum(axis=0, dtype=np.float64)
        return total / max(len(self.vectors), 1)

    def per_atom(self, n_atoms: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sum of each atom's parts of rows (n_atoms, width), and how many rows they are.

        The counts are (n_atoms,), in parts of rows. Over all atoms both add up: to the sum of all rows and
        to m.
        """
        m, k = self.atoms.shape
        parts = np.full(m * k, 1 / k)
        owner = csr_matrix((parts, (self.atoms.reshape(-1), np.repeat(np.arange(m), k))), shape=(n_atoms, m))
        return owner @ self.vectors, np.asarray(owner.sum(axis=1)).reshape(-1)
