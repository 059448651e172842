"""An ensemble of small neural networks on principal components of the vectors."""

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

import numpy as np
from sklearn.preprocessing import StandardScaler

from core.errors import StrataError
from heads.base import Head
from heads.svr import CUT, shares
from heads.tiles import by_tiles

WARM_UP = 0.1  # of the steps, in which the learning rate rises; then it falls as a cosine to 0
LEAST_STEPS = 100
_BETAS = (0.9, 0.999)  # of Adam
_TINY = 1e-8
_LAST_GAIN = 0.1  # of the last layer's initial weights: networks begin near the median
_LEAST = 1e-10  # of the largest variance: a component below it is rounding

Layers = list[np.ndarray]  # weights (k, p, q) and biases (k, 1, q), in turn


class MLP(Head):
    """The mean of `members` networks of two hidden layers, which differ in their initial weights and batches.

    Columns are standardised with the training part's means and deviations, cut at eight deviations, and
    scaled so that all source models count the same, and all blocks of one. The networks see their first
    `components` principal components. They learn the absolute error by AdamW (Loshchilov and Hutter, 2019)
    with dropout, over `epochs` epochs and at least 100 steps; no row is needed to stop by. Predictions lie
    within the range of the training part.

    The same seed gives the same weights on the same machine, where products of matrices have one thread.
    """

    shallow: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    def __init__(
        self,
        *,
        members: int = 4,
        width: int = 128,
        components: int = 256,
        epochs: int = 40,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.01,
        dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.members = members
        self.width = width
        self.components = components
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.seed = seed

    mean_: np.ndarray
    scale_: np.ndarray
    centre_: np.ndarray  # (d,) of the standardised columns
    axes_: np.ndarray  # (d, p): from standardised columns to what the networks see
    weights_0_: np.ndarray  # (k, p, width)
    weights_1_: np.ndarray
    weights_2_: np.ndarray
    biases_0_: np.ndarray  # (k, 1, width)
    biases_1_: np.ndarray
    biases_2_: np.ndarray
    y_centre_: float
    y_scale_: float
    low_: float
    high_: float

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None) -> None:
        del X_val, y_val  # the number of steps is fixed
        self._check_settings()
        weights = np.ones(len(y)) if self._weights is None else self._weights / self._weights.mean()
        scaler = StandardScaler().fit(X)
        self.mean_, self.scale_ = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
        self._set_axes(X)
        self.low_, self.high_ = float(y.min()), float(y.max())
        self.y_centre_ = float(np.median(y))
        self.y_scale_ = float(np.abs(y - self.y_centre_).mean())
        inputs = self._inputs(X, np.float64).astype(np.float32)
        layers = self._learn(inputs, (y - self.y_centre_) / self.y_scale_, weights)
        for i in range(3):
            setattr(self, f"weights_{i}_", layers[2 * i])
            setattr(self, f"biases_{i}_", layers[2 * i + 1])

    def _predict(self, X: np.ndarray) -> np.ndarray:
        layers = [getattr(self, f"{kind}_{i}_") for i in range(3) for kind in ("weights", "biases")]

        def values(rows: np.ndarray) -> np.ndarray:
            outputs = _forward(self._inputs(rows)[None], layers)
            return np.asarray(outputs[-1][..., 0].mean(axis=0, dtype=np.float64))

        return np.clip(by_tiles(values, X) * self.y_scale_ + self.y_centre_, self.low_, self.high_)

    def _set_axes(self, X: np.ndarray) -> None:
        """Find the principal components, scaled so that their mean variance is 1."""
        Z = self._standardised(X)
        self.centre_ = Z.mean(axis=0)
        column = np.empty(X.shape[1], np.float32)
        for start, stop, share in shares(self._blocks, X.shape[1]):
            column[start:stop] = np.sqrt(share / (stop - start))
        Z = (Z - self.centre_) * column
        wide = Z.shape[1] > len(Z)
        values, vectors = np.linalg.eigh((Z @ Z.T if wide else Z.T @ Z).astype(np.float64))
        kept = np.flatnonzero(values > max(values[-1], _TINY) * _LEAST)[::-1][: self.components]
        axes = vectors[:, kept]
        if wide:
            axes = Z.T.astype(np.float64) @ (axes / np.sqrt(values[kept]))
        scale = np.sqrt(values[kept].sum() / (len(Z) * max(len(kept), 1))) or 1.0
        self.axes_ = (column[:, None] * axes / scale).astype(np.float32)

    def _learn(self, x: np.ndarray, t: np.ndarray, weights: np.ndarray) -> Layers:
        rng = np.random.default_rng(self.seed)
        t, weights = t.astype(np.float32), weights.astype(np.float32)
        layers = self._initial(x.shape[1], rng)
        first = [np.zeros_like(part) for part in layers]
        second = [np.zeros_like(part) for part in layers]
        per_epoch = -(-len(x) // self.batch_size)
        epochs = max(self.epochs, -(-LEAST_STEPS // per_epoch))
        for step, rows in enumerate(self._batches(len(x), epochs, rng), 1):
            gradients = self._gradients(x[rows], t[rows], weights[rows], layers, rng)
            rate = self.learning_rate * _share_of_rate(step / (epochs * per_epoch))
            for i, gradient in enumerate(gradients):
                first[i] += (1 - _BETAS[0]) * (gradient - first[i])
                second[i] += (1 - _BETAS[1]) * (gradient * gradient - second[i])
                size = np.sqrt(second[i] / (1 - _BETAS[1] ** step)) + _TINY
                if i % 2 == 0:  # biases do not decay
                    layers[i] *= 1 - rate * self.weight_decay
                layers[i] -= rate / (1 - _BETAS[0] ** step) * first[i] / size
        return layers

    def _initial(self, inputs: int, rng: np.random.Generator) -> Layers:
        layers: Layers = []
        widths = (inputs, self.width, self.width, 1)
        for i, (p, q) in enumerate(pairwise(widths)):
            drawn = rng.standard_normal((self.members, p, q), dtype=np.float32)
            gain = _LAST_GAIN if i == 2 else 1.0
            layers.append(np.float32(gain * np.sqrt(2 / max(p, 1))) * drawn)
            layers.append(np.zeros((self.members, 1, q), np.float32))
        return layers

    def _batches(self, n: int, epochs: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield rows (k, batch), of every member its own."""
        for _ in range(epochs):
            order = rng.permuted(np.tile(np.arange(n), (self.members, 1)), axis=1)
            for start in range(0, n, self.batch_size):
                yield order[:, start : start + self.batch_size]

    def _gradients(
        self, x: np.ndarray, t: np.ndarray, weights: np.ndarray, layers: Layers, rng: np.random.Generator
    ) -> Layers:
        """Return the gradients of every member's mean absolute error of one batch. x (k, b, p), t (k, b)."""
        masks = None
        if self.dropout:
            shape = (2, *t.shape, self.width)
            masks = (rng.random(shape, dtype=np.float32) >= self.dropout) / np.float32(1 - self.dropout)
        outputs = _forward(x, layers, masks)
        back = (np.sign(outputs[-1][..., 0] - t) * weights / t.shape[1])[..., None]
        found: Layers = []
        for i in (2, 1, 0):
            into = x if i == 0 else outputs[2 * i - 1]
            found = [into.transpose(0, 2, 1) @ back, back.sum(axis=1, keepdims=True), *found]
            if i:
                back = back @ layers[2 * i].transpose(0, 2, 1)
                back *= outputs[2 * i - 2]
        return found

    def _inputs(self, X: np.ndarray, kind: type = np.float32) -> np.ndarray:
        Z: np.ndarray = self._standardised(X).astype(kind, copy=False)
        Z -= self.centre_
        return np.asarray(Z @ self.axes_)

    def _standardised(self, X: np.ndarray) -> np.ndarray:
        Z = np.subtract(X, self.mean_, dtype=np.float32)
        Z /= self.scale_
        return np.clip(Z, -CUT, CUT, out=Z)

    def _check_settings(self) -> None:
        for name in ("members", "width", "components", "epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise StrataError(f"mlp: {name} is {getattr(self, name)}; it is greater than 0")
        if not 0 <= self.dropout < 1:
            raise StrataError(f"mlp: dropout is {self.dropout}; it is at least 0 and below 1")


def _forward(x: np.ndarray, layers: Layers, masks: np.ndarray | None = None) -> list[np.ndarray]:
    """Return the slope and the value of each activation x·σ(x) in turn, and the outputs (k, b, 1)."""
    found, values = [], x
    for i in range(2):
        enters = values @ layers[2 * i]
        enters += layers[2 * i + 1]
        gate = 1 / (1 + np.exp(-enters))
        values = enters * gate
        slope = gate * (1 - values) + values
        if masks is not None:
            values *= masks[i]
            slope *= masks[i]
        found += [slope, values]
    return [*found, values @ layers[4] + layers[5]]


def _share_of_rate(done: float) -> float:
    """Return the learning rate over its highest, when a share `done` of the steps is.

    >>> [round(_share_of_rate(done), 3) for done in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if done < WARM_UP:
        return done / WARM_UP
    return float(0.5 * (1 + np.cos(np.pi * (done - WARM_UP) / (1 - WARM_UP))))


HEAD = MLP
