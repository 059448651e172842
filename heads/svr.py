"""Support vector regression with one kernel per block of columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import svm
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from core.errors import StrataError
from featurestore.query.feature_sets import Block
from heads.base import Head
from heads.tiles import by_tiles

CUT = 8.0  # deviations; a column far outside of what it was in the training part says no more than this
FOLDS = 5
ROWS_AT_ONCE = 2048  # of a kernel that is not kept, which bounds the memory
_TINY = 1e-6  # of the largest eigenvalue of the landmarks' kernel: what is below it is rounding


class SVR(Head):
    """Support vector regression whose kernel is a mean over source models of a mean over their blocks.

    Columns are standardised with the training part's means and deviations and cut at eight deviations. Each
    block has the kernel exp(−γ d²) with γ = `gammas`' choice over its width; the kernel of a source model is
    the mean over its blocks, and all source models count the same, so that a wide one does not drown a
    narrow one. Without blocks all columns are one block.

    γ and C are the pair of `gammas` and `costs` with the lowest mean absolute error: on the validation part
    where there is one, else over five folds of the training part. The fit itself is to the training part.
    `epsilon`, the width of the tube, is a share of the target's deviation.

    Beyond `max_rows` rows the kernel is approximated from `landmarks` of them, drawn with `seed` (Nyström),
    and a ridge of penalty 1/(2C) takes the place of the support vectors; `solver_` says which it was.
    """

    shallow: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    def __init__(
        self,
        *,
        gammas: Sequence[float] = (0.1, 0.3),
        costs: Sequence[float] = (3.0, 30.0),
        epsilon: float = 0.02,
        max_rows: int = 6000,
        landmarks: int = 2000,
        seed: int = 0,
    ) -> None:
        self.gammas = gammas
        self.costs = costs
        self.epsilon = epsilon
        self.max_rows = max_rows
        self.landmarks = landmarks
        self.seed = seed

    solver_: str  # exact, or nystroem
    gamma_: float
    cost_: float
    groups_: list[list[Any]]  # of each block: first column, column after the last, its share of the kernel
    mean_: np.ndarray
    scale_: np.ndarray
    support_: np.ndarray  # (m, d) float32, standardised: support vectors or landmarks
    dual_: np.ndarray  # (m,)
    intercept_: float
    y_mean_: float
    y_scale_: float

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None) -> None:
        self._check_settings()
        if self._weights is not None:  # a row of no weight is left out: libsvm would miscount those after it
            counts = self._weights > 0
            X, y, self._weights = X[counts], y[counts], self._weights[counts]
        self.groups_ = shares(self._blocks, X.shape[1])
        scaler = StandardScaler().fit(X, sample_weight=self._weights)
        self.mean_, self.scale_ = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
        Z = self._standardised(X)
        self.y_mean_ = float(np.average(y, weights=self._weights))
        self.y_scale_ = float(np.sqrt(np.average((y - self.y_mean_) ** 2, weights=self._weights))) or 1.0
        t = (y - self.y_mean_) / self.y_scale_
        Z_val = None if X_val is None else self._standardised(X_val)
        t_val = None if y_val is None else (y_val - self.y_mean_) / self.y_scale_
        if len(y) <= self.max_rows:
            self.solver_ = "exact"
            self._fit_exact(Z, t, Z_val, t_val)
        else:
            self.solver_ = "nystroem"
            self._fit_nystroem(Z, t, Z_val, t_val)

    def _predict(self, X: np.ndarray) -> np.ndarray:
        kernels = [_BlockKernel.of(self.support_, self.gamma_, *group) for group in self.groups_]

        def values(rows: np.ndarray) -> np.ndarray:
            Z = self._standardised(rows)
            room = np.empty((len(Z), len(self.support_)), np.float32)
            return np.sum([kernel.weighed(Z, self.dual_, room) for kernel in kernels], axis=0)

        return (by_tiles(values, X) + self.intercept_) * self.y_scale_ + self.y_mean_

    def _fit_exact(
        self, Z: np.ndarray, t: np.ndarray, Z_val: np.ndarray | None, t_val: np.ndarray | None
    ) -> None:
        kernels = dict(zip(self.gammas, self._kernels(Z, Z, self.gammas), strict=True))
        held = (
            None
            if Z_val is None
            else dict(zip(self.gammas, self._kernels(Z_val, Z, self.gammas), strict=True))
        )
        folds = self._folds(len(t))
        errors = {}
        for gamma, K in kernels.items():
            for cost in self.costs if len(kernels) * len(self.costs) > 1 else ():
                if held is not None and t_val is not None:
                    model = self._solve(K, t, cost, np.arange(len(t)))
                    errors[gamma, cost] = np.abs(model.predict(held[gamma]) - t_val).mean()
                    continue
                wrong = np.empty(len(t))
                for rest, out in folds:
                    model = self._solve(K[np.ix_(rest, rest)], t[rest], cost, rest)
                    wrong[out] = np.abs(model.predict(K[np.ix_(out, rest)]) - t[out])
                errors[gamma, cost] = np.average(wrong, weights=self._weights)
        self._choose(errors)
        model = self._solve(kernels[self.gamma_], t, self.cost_, np.arange(len(t)))
        self.support_ = Z[model.support_]
        self.dual_, self.intercept_ = model.dual_coef_[0].copy(), float(model.intercept_[0])

    def _solve(self, K: np.ndarray, t: np.ndarray, cost: float, rows: np.ndarray) -> svm.SVR:
        weights = None if self._weights is None else self._weights[rows]
        return svm.SVR(kernel="precomputed", C=cost, epsilon=self.epsilon, cache_size=500).fit(K, t, weights)

    def _fit_nystroem(
        self, Z: np.ndarray, t: np.ndarray, Z_val: np.ndarray | None, t_val: np.ndarray | None
    ) -> None:
        """Fit a ridge on the landmarks' features; its products over all rows are sums over five folds."""
        drawn = np.random.default_rng(self.seed).choice(len(t), min(self.landmarks, len(t)), replace=False)
        marks = Z[np.sort(drawn)]
        folds = [out for _, out in self._folds(len(t))]
        errors, found = {}, {}
        for gamma in self.gammas:
            values, vectors = np.linalg.eigh(self._kernel(marks, marks, gamma).astype(np.float64))
            kept = values > values[-1] * _TINY
            to_features = (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
            sums = [self._products(Z, t, rows, marks, gamma, to_features) for rows in folds]
            gram, right = (np.sum(parts, axis=0) for parts in zip(*sums, strict=True))
            held = None if Z_val is None else self._features(Z_val, marks, gamma, to_features)
            for cost in self.costs:
                w = _ridge(gram, right, cost)
                found[gamma, cost] = (to_features @ w[:-1], float(w[-1]))
                if held is not None and t_val is not None:
                    errors[gamma, cost] = float(np.abs(held @ w[:-1] + w[-1] - t_val).mean())
                    continue
                wrong = np.empty(len(t))
                for rows, (part_gram, part_right) in zip(folds, sums, strict=True):
                    w = _ridge(gram - part_gram, right - part_right, cost)
                    for some in _pieces(rows):
                        features = self._features(Z[some], marks, gamma, to_features)
                        wrong[some] = np.abs(features @ w[:-1] + w[-1] - t[some])
                errors[gamma, cost] = float(np.average(wrong, weights=self._weights))
        self._choose(errors)
        self.support_ = marks
        self.dual_, self.intercept_ = found[self.gamma_, self.cost_]

    def _products(
        self,
        Z: np.ndarray,
        t: np.ndarray,
        rows: np.ndarray,
        marks: np.ndarray,
        gamma: float,
        into: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return FᵀF (p + 1, p + 1) and Fᵀt over some rows, F their features and a column of ones."""
        width = into.shape[1] + 1
        gram, right = np.zeros((width, width)), np.zeros(width)
        for some in _pieces(rows):
            F = np.ones((len(some), width), np.float32)
            F[:, :-1] = self._features(Z[some], marks, gamma, into)
            weighted = F if self._weights is None else F * self._weights[some, None].astype(np.float32)
            gram += F.T @ weighted
            right += weighted.T @ t[some]
        return gram, right

    def _features(self, Z: np.ndarray, marks: np.ndarray, gamma: float, into: np.ndarray) -> np.ndarray:
        return self._kernel(Z, marks, gamma) @ into

    def _choose(self, errors: dict[tuple[float, float], float]) -> None:
        pair = min(errors, key=lambda key: errors[key]) if errors else (self.gammas[0], self.costs[0])
        self.gamma_, self.cost_ = map(float, pair)

    def _folds(self, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
        folds = KFold(min(FOLDS, n), shuffle=True, random_state=self.seed)
        return list(folds.split(np.empty(n)))

    def _standardised(self, X: np.ndarray) -> np.ndarray:
        Z = np.subtract(X, self.mean_, dtype=np.float32)
        Z /= self.scale_
        return np.clip(Z, -CUT, CUT, out=Z)

    def _kernel(self, A: np.ndarray, B: np.ndarray, gamma: float) -> np.ndarray:
        return self._kernels(A, B, (gamma,))[0]

    def _kernels(self, A: np.ndarray, B: np.ndarray, gammas: Sequence[float]) -> list[np.ndarray]:
        """Return a (len(A), len(B)) kernel for each γ; the distances of a block serve all of them."""
        kernels = [np.zeros((len(A), len(B)), A.dtype) for _ in gammas]
        for start, stop, share in self.groups_:
            a, b = A[:, start:stop], B[:, start:stop]
            squares = a @ b.T
            squares *= -2
            squares += (a**2).sum(axis=1)[:, None]
            squares += (b**2).sum(axis=1)
            np.maximum(squares, 0, out=squares)
            for k, gamma in enumerate(gammas):
                last = squares if k == len(gammas) - 1 else squares.copy()  # fresh memory is expensive
                last *= -gamma / (stop - start)
                np.exp(last, out=last)
                last *= share
                kernels[k] += last
        return kernels

    def _check_settings(self) -> None:
        for name, values in (("gammas", self.gammas), ("costs", self.costs)):
            numbers = np.asarray(values, dtype=np.float64)
            if numbers.ndim != 1 or not numbers.size or not (np.isfinite(numbers) & (numbers > 0)).all():
                raise StrataError(f"svr: {name} must be a list of positive numbers, got {values!r}")


@dataclass(frozen=True, slots=True)
class _BlockKernel:
    """The kernel of one block of w columns with the m rows that a fit has kept.

    gamma: γ/w. into (w + 2, m): 2γ/w times their columns, a row of ones, and −γ/w times their squares.
    share: of the whole kernel.
    """

    start: int
    stop: int
    share: float
    gamma: np.float32
    into: np.ndarray

    @classmethod
    def of(cls, support: np.ndarray, gamma: float, start: int, stop: int, share: float) -> Self:
        """Prepare it for rows `support` (m, d), standardised."""
        columns, gamma = support[:, start:stop].astype(np.float64), gamma / (stop - start)
        rows = [2 * gamma * columns.T, np.ones((1, len(columns))), -gamma * (columns**2).sum(axis=1)[None]]
        return cls(start, stop, share, np.float32(gamma), np.concatenate(rows).astype(np.float32))

    def weighed(self, Z: np.ndarray, dual: np.ndarray, room: np.ndarray) -> np.ndarray:
        """Return (n,) sums over the kernel of Z (n, d) times `dual` (m,), by its share; room: for (n, m)."""
        z = Z[:, self.start : self.stop]
        squares = np.einsum("ij,ij->i", z, z) * -self.gamma
        # One product gives −γ d²/w whole: passes over its memory cost as much as its arithmetic.
        np.matmul(np.column_stack([z, squares, np.ones_like(squares)]), self.into, out=room)
        np.exp(room, out=room)
        # The sum is over weights of both signs that cancel, which float32 would not survive.
        return np.asarray(self.share * (room.astype(np.float64) @ dual))


def shares(blocks: Sequence[Block], width: int) -> list[list[Any]]:
    """Return start, stop and share of every block; the shares of a source model add up to 1/s of them all."""
    if not blocks:
        return [[0, width, 1.0]]
    sources = [block.source for block in blocks]
    models = len(set(sources))
    return [[b.start, b.stop, 1 / (models * sources.count(b.source))] for b in blocks]


def _ridge(gram: np.ndarray, right: np.ndarray, cost: float) -> np.ndarray:
    """Solve for (p + 1,) weights with penalty 1/(2C) on all but the last, the intercept's."""
    penalty = np.full(len(right), 1 / (2 * cost))
    penalty[-1] = 1e-9
    return np.linalg.solve(gram + np.diag(penalty), right)


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]


HEAD = SVR
