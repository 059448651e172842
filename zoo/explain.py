"""Where in a structure a prediction comes from: shares of its atoms, elements and blocks of columns.

A pooled vector x is the plain mean of m rows h_i, one per atom, bond or angle. What it has beyond a reference
x0 is therefore a sum over the atoms a,

    x − x0 = Σ_a D_a,   D_a = Σ_i p_ai (h_i − x0) / m,

where p_ai is the part of row i that belongs to atom a: all of an atom's own row, half of a bond's to each of
its two ends, a third of an angle's to each of its three atoms. That is a convention, the even one. A linear
head predicts b + x·w, hence the share of an atom is D_a·w and nothing is left over. Of any other head f the
share is f(x) − f(x − D_a): the atom's rows are left out of all means at once, and the reference stands in
their place. These do not add up where atoms act together; what is missing is the remainder. For a linear head
both are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from core.errors import StrataError
from core.structure import SYMBOLS
from featurestore.query.feature_sets import Block
from heads.linear import Linear
from zoo.backbones.rows import Rows

EXACT = "exact, linear head"
APPROXIMATE = "approximation, by leaving rows out"
CAUTION = (
    "This shows where in the structure the information sits that the model uses, "
    "not what causes the property."
)
_SAME_ROWS = 1e-3  # of the largest number of a block: rows and vector of one structure agree far better
_SAME_HEAD = 1e-5  # relative, of weights and predictions; float32 gives 1e-7

Values = Callable[[np.ndarray], np.ndarray]  # (n, d) to (n,), in the property's unit


class BlockShare(NamedTuple):
    """What a block of columns adds to the prediction, in the property's unit.

    `on_atoms` tells whether it is part of the atoms' shares; what is not is part of the remainder.
    """

    name: str
    share: float
    on_atoms: bool


@dataclass(frozen=True, eq=False, slots=True)
class Explanation:
    """A prediction as a sum: `value` = `base` + the sum of `atoms` + `remainder`, all in `unit`.

    `base` is what the model predicts at the reference. `numbers` (n,) are the atomic numbers and `atoms` (n,)
    the shares of the structure's atoms, in its order. `remainder` is what belongs to no atom: the blocks
    without rows and, of an approximation, what does not add up. The shares of `blocks` add up to `value` −
    `base` for a linear head alone.
    """

    value: float
    base: float
    method: str
    blocks: tuple[BlockShare, ...]
    numbers: NDArray[np.int64]
    atoms: NDArray[np.float64]
    remainder: float
    unit: str = ""

    def frame(self) -> pd.DataFrame:
        """Return one row per atom: `index` in the structure, `element`, `share`."""
        symbols = [SYMBOLS[number] for number in self.numbers]
        return pd.DataFrame({"index": np.arange(len(symbols)), "element": symbols, "share": self.atoms})

    def elements(self) -> pd.DataFrame:
        """Return one row per element: `element`, how many `atoms`, their `share` together; largest first."""
        groups = self.frame().groupby("element", sort=False)["share"]
        found = groups.agg(atoms="size", share="sum").reset_index()
        return found.sort_values("share", key=np.abs, ascending=False, kind="stable", ignore_index=True)

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        lines = [
            f"The model predicts {self.value:.4g}{unit}.",
            f"For the mean of its training vectors it predicts {self.base:.4g}{unit}.",
            f"The difference, {self.value - self.base:+.4g}{unit}, belongs to ({self.method}):",
        ]
        for element, count, share in self.elements().itertuples(index=False):
            lines.append(f"{share:+12.4g}  {element} ({count} atom{'s' if count > 1 else ''})")
        outside = ", ".join(block.name for block in self.blocks if not block.on_atoms)
        rest = [f"columns that are no means over atoms ({outside})"] if outside else []
        rest += ["what does not add up"] if self.method != EXACT else []
        if rest:
            lines.append(f"{self.remainder:+12.4g}  {' and '.join(rest)}")
        return "\n".join([*lines, CAUTION])


def shares(
    predict: Values,
    blocks: Sequence[Block | tuple[int, int]],
    rows: Sequence[Rows | None],
    numbers: ArrayLike,
    vector: ArrayLike,
    reference: ArrayLike,
    *,
    linear: Linear | None = None,
    unit: str = "",
) -> Explanation:
    """Split the prediction for one structure into shares of its atoms and of blocks of columns.

    predict: (n, d) to (n,) values in the property's unit; it is called once, with one row per atom and a few
    more. blocks: which columns belong together, (start, stop); they cover all of them. rows: of each block,
    as `Engine.rows` gives them, None for one that is no mean over the structure, such as descriptors of the
    composition. numbers (n_atoms,): atomic numbers in the structure's order. vector (d,): the structure's
    pooled vector. reference (d,): what shares are measured from, the mean of the training vectors. linear:
    the head's weights where it is linear (`heads.linear.weights_of`); without them the shares are an
    approximation.

    Raises `StrataError` where shapes do not fit together, where rows are not those of the vector, and where
    weights are not those of what `predict` says.

    >>> atoms = Rows(np.array([[1.0], [5.0]], np.float32), np.array([[0], [1]]))
    >>> head = Linear(np.array([2.0]), 1.0)
    >>> found = shares(lambda X: X @ head.w + head.b, [(0, 1)], [atoms], [11, 17], [3.0], [2.0], linear=head)
    >>> found.value, found.base, found.atoms.tolist(), found.remainder
    (7.0, 5.0, [-1.0, 3.0], 0.0)
    """
    x = np.asarray(vector)
    x0, elements = np.asarray(reference, x.dtype), np.asarray(numbers, np.int64)
    spans = [_span(block) for block in blocks]
    _check_shapes(x, x0, elements, spans, rows)
    parts = np.zeros((len(elements), len(x)))
    for (name, own), found in zip(spans, rows, strict=True):
        if found is not None and len(found.vectors):
            parts[:, own] = _parts(name, found, x[own], x0[own], len(elements))
    if linear is None:
        without = [_at_reference(x, x0, own) for _, own in spans]
        said = _said(predict, np.concatenate([[x, x0], x - parts, without]).astype(x.dtype))
        (value, base), taken_out = said[:2], said[0] - said[2:]
        of_atoms, of_blocks = taken_out[: len(elements)], taken_out[len(elements) :]
    else:
        value, base = _said(predict, np.stack([x, x0]))
        _check_weights(linear, x, x0, value, base)
        of_atoms = parts @ linear.w
        each = (x.astype(np.float64) - x0) * linear.w
        of_blocks = np.array([each[own].sum() for _, own in spans])
    return Explanation(
        value=float(value),
        base=float(base),
        method=APPROXIMATE if linear is None else EXACT,
        blocks=tuple(
            BlockShare(name, float(share), found is not None and len(found.vectors) > 0)
            for (name, _), share, found in zip(spans, of_blocks, rows, strict=True)
        ),
        numbers=elements,
        atoms=of_atoms,
        remainder=float(value - base - of_atoms.sum()),
        unit=unit,
    )


def _span(block: Block | tuple[int, int]) -> tuple[str, slice]:
    if isinstance(block, Block):
        return f"{block.source}/{block.checkpoint}", slice(block.start, block.stop)
    start, stop = block
    return f"columns {start} to {stop - 1}", slice(start, stop)


def _parts(name: str, rows: Rows, x: np.ndarray, x0: np.ndarray, n_atoms: int) -> NDArray[np.float64]:
    """Return D (n_atoms, width) of one block: what each atom adds to the vector beyond the reference."""
    largest = np.abs(rows.vectors).max()
    if np.abs(rows.mean() - x).max() > _SAME_ROWS * largest:
        raise StrataError(
            f"{name}: the mean of the rows is not the vector; both must come from the same structure and the "
            "same source model"
        )
    sums, counts = rows.per_atom(n_atoms)
    return (sums - counts[:, None] * x0) / len(rows.vectors)


def _at_reference(x: np.ndarray, x0: np.ndarray, own: slice) -> np.ndarray:
    """Return the vector with one block as in the reference."""
    changed = x.copy()
    changed[own] = x0[own]
    return changed


def _said(predict: Values, X: np.ndarray) -> NDArray[np.float64]:
    values = np.asarray(predict(X), np.float64)
    if values.shape != (len(X),):
        raise StrataError(
            f"the model gives an array of shape {values.shape} for {len(X)} vectors; only a model of one "
            "number per structure can be explained"
        )
    return values


def _check_shapes(
    x: np.ndarray,
    x0: np.ndarray,
    numbers: np.ndarray,
    spans: Sequence[tuple[str, slice]],
    rows: Sequence[Rows | None],
) -> None:
    if x.ndim != 1 or x0.shape != x.shape:
        raise StrataError(f"vector and reference have shapes {x.shape} and {x0.shape}; both must be (d,)")
    if numbers.ndim != 1 or not len(numbers):
        raise StrataError(f"atomic numbers have shape {numbers.shape}; give one per atom, (n_atoms,)")
    if len(rows) != len(spans):
        raise StrataError(f"there are {len(spans)} blocks and rows of {len(rows)}; None stands for no rows")
    columns = [column for _, own in spans for column in range(own.start, own.stop)]
    if sorted(columns) != list(range(len(x))):
        raise StrataError(f"the blocks do not cover each of the {len(x)} columns of the vector once")
    for (name, own), found in zip(spans, rows, strict=True):
        if found is None:
            continue
        wanted = (len(found.atoms), own.stop - own.start)
        if found.vectors.shape != wanted:
            raise StrataError(f"{name}: its rows have shape {found.vectors.shape}, expected {wanted}")
        if found.atoms.size and not 0 <= found.atoms.min() <= found.atoms.max() < len(numbers):
            raise StrataError(f"{name}: its rows belong to atoms beyond the {len(numbers)} of the structure")


def _check_weights(linear: Linear, x: np.ndarray, x0: np.ndarray, value: float, base: float) -> None:
    """Raise `StrataError` unless the weights say what was predicted."""
    if linear.w.shape != x.shape:
        raise StrataError(f"the weights have shape {linear.w.shape}, the vector {x.shape}")
    size = abs(linear.b) + (np.abs(x.astype(np.float64)) + np.abs(x0)) @ np.abs(linear.w)
    for at, said in ((x, value), (x0, base)):
        by_weights = at @ linear.w + linear.b
        if abs(by_weights - said) > _SAME_HEAD * size:
            raise StrataError(
                f"the weights give {by_weights:g} where the model predicts {said:g}; they are another model's"
            )
