"""Composition features after Ward et al. (npj Computational Materials 2, 16028, 2016): no network.

The data are matminer's, and so is the meaning of each feature; the arithmetic is here, since matminer's own,
element by element, is far slower. matminer is imported when the first structure is prepared.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.composition import Composition
from core.lazy import need
from core.structure import InvalidStructure, Structure
from zoo.backbones.base import Backbone, Checkpoint, Output, Runner

_NORMS = (0, 2, 3, 5, 7, 10)
_PROPERTIES = (
    "Number", "MendeleevNumber", "AtomicWeight", "MeltingT", "Column", "Row", "CovalentRadius",
    "Electronegativity", "NsValence", "NpValence", "NdValence", "NfValence", "NValence", "NsUnfilled",
    "NpUnfilled", "NdUnfilled", "NfUnfilled", "NUnfilled", "GSvolume_pa", "GSbandgap", "GSmagmom",
    "SpaceGroupNumber",
)  # fmt: skip
_STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
_SHELLS = "spdf"
_VALENCE = [_PROPERTIES.index(f"N{shell}Valence") for shell in _SHELLS]

COLUMNS = (
    *(f"{p}-norm" for p in _NORMS),
    *(f"MagpieData {statistic} {name}" for name in _PROPERTIES for statistic in _STATISTICS),
    *(f"avg {shell} valence electrons" for shell in _SHELLS),
    "compound possible",
    "max ionic char",
    "avg ionic char",
)
"""What each number of a vector is, under matminer's names."""


class Elements(NamedTuple):
    """What is known of the 118 elements; row Z - 1 is the element of atomic number Z.

    `properties` (118, 22) and `electronegativity` (118,), Pauling's, without NaN; `charges` the common
    oxidation states.
    """

    properties: NDArray[np.float64]
    electronegativity: NDArray[np.float64]
    charges: tuple[tuple[int, ...], ...]

    @property
    def sha256(self) -> str:
        """Hash of all values to nine digits: means of missing values differ in the last between machines."""
        numbers = np.column_stack([self.properties, self.electronegativity])
        written = [[f"{value:.9g}" for value in row] for row in numbers]
        return hashlib.sha256(json.dumps([_PROPERTIES, written, self.charges]).encode()).hexdigest()


@cache
def elements() -> Elements:
    """Read the data of matminer; a value that they lack is the mean over the elements that have it."""
    need("matminer", "data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen says for each noble gas that it has no electronegativity
        data = need("matminer.utils.data", "data")
        magpie, pymatgen = data.MagpieData(impute_nan=True), data.PymatgenData(impute_nan=True)
        table = [data.Element.from_Z(number) for number in range(1, 119)]
        return Elements(
            np.array(
                [[magpie.get_elemental_property(e, name) for name in _PROPERTIES] for e in table], float
            ),
            np.array([pymatgen.get_elemental_property(e, "X") for e in table], float),
            tuple(tuple(map(int, pymatgen.get_oxidation_states(e))) for e in table),
        )


def featurize(numbers: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the features of a composition, (145,), in the order of `COLUMNS`; never NaN.

    numbers: atomic numbers, (n,), of any number of formula units. Raises `InvalidStructure` (`no_features`)
    for a number that is none of an element.
    """
    found, counts = np.unique(numbers, return_counts=True)
    if found[0] < 1 or found[-1] > 118:
        raise InvalidStructure("no_features", f"{found[0 if found[0] < 1 else -1]} is no element's number")
    known, rows = elements(), found.astype(int) - 1
    counts = counts // np.gcd.reduce(counts)
    share = counts / counts.sum()
    values = known.properties[rows]
    low, high, mean = values.min(axis=0), values.max(axis=0), share @ values
    deviation = share @ np.abs(values - mean)
    mode = values[counts == counts.max()].min(axis=0)
    statistics = np.stack([low, high, high - low, mean, deviation, mode], axis=1)
    norms = [len(rows), *((share**p).sum() ** (1 / p) for p in _NORMS[1:])]
    ionic = 1 - np.exp(-0.25 * np.subtract.outer(*[known.electronegativity[rows]] * 2) ** 2)
    ions = [_can_be_neutral(rows, counts, known), ionic.max(), share @ ionic @ share / 2]
    return np.concatenate([norms, statistics.ravel(), mean[_VALENCE], ions]).astype(np.float32)


def _can_be_neutral(rows: NDArray[np.int64], counts: NDArray[np.int64], known: Elements) -> bool:
    """Tell whether charges cancel with one common oxidation state for each element; elements are neutral."""
    if len(rows) == 1:
        return True
    charges = {0}
    for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
        charges = {charge + count * own for charge in charges for own in known.charges[row]}
    return 0 in charges


class Magpie(Backbone):
    """Elemental statistics, stoichiometry, valence and ion properties of a composition."""

    name = "magpie"
    runner = "zoo.backbones.magpie:MagpieRunner"
    cost_unit = "structures"
    pooling = "none"
    has_weights = False
    needs_positions = False
    precisions = ()
    stack = (("matminer", "data"),)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """One place: the features themselves."""
        return (Checkpoint("composition_0", "composition", 0, len(COLUMNS)),)

    def prepare(self, structure: Structure | Composition) -> NDArray[np.float32]:
        """Compute the features; positions and cell are not looked at."""
        return featurize(structure.numbers)

    def cost(self, prepared: NDArray[np.float32]) -> int:
        """Every structure costs the same: its vector is ready."""
        del prepared
        return 1

    def key(self, weights_sha256: str, precision: str) -> dict[str, Any]:
        """Return what decides the vectors: with weights that it has not, the data of matminer here."""
        return super().key(weights_sha256, precision) | {"elements_sha256": elements().sha256}


class MagpieRunner(Runner):
    """The vectors are ready; they only become one array. There is no prediction."""

    def run(self, prepared: Sequence[NDArray[np.float32]], checkpoints: Sequence[str]) -> Output:
        """Put the vectors of a batch together."""
        vectors = np.stack(prepared)
        nothing = np.full(len(prepared), np.nan, np.float32)
        return Output(dict.fromkeys(checkpoints, vectors), nothing, {})


BACKBONE = Magpie
