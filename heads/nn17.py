"""NN-17, the network of the paper (Methods, "Network Settings and Model Architecture")."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile

import numpy as np
from sklearn.preprocessing import StandardScaler

from core.errors import StrataError
from core.lazy import need
from heads.base import Head

MODEL_FILE = "model.keras"
LAYERS = (*[1024] * 4, *[512] * 3, *[256] * 3, *[128] * 3, *[64] * 2, 32)  # and one output: 17 in all
ROWS_AT_ONCE = 16_384  # bounds the memory of a prediction
THREADS = 2  # of a matrix product, whatever the cores: with another number the sums and so the weights differ

_one_at_a_time = threading.Lock()  # seeds are the process's, and so is what is compiled


class NN17(Head):
    """The 17 fully connected layers of the paper, in Keras.

    [FC1024 ×4]-[FC512 ×3]-[FC256 ×3]-[FC128 ×3]-[FC64 ×2]-[FC32]-FC1, ReLU after all but the last.
    Adam, L1 loss, mini-batches drawn anew each epoch, early stopping on the validation loss with the
    best epoch's weights restored (without a validation part: on the training loss). The defaults are
    the paper's, which names no cap on epochs and no standardisation. With `standardise` the network
    sees columns and targets at mean 0 and deviation 1 of the training part, which a few hundred steps
    need to reach targets in the hundreds; predictions come back in the target's unit.

    The same seed gives the same weights on the same machine and library versions, however many cores the
    process may use (unless TensorFlow was set up before). Fitting sets the global seeds of Python, NumPy and
    TensorFlow, and TensorFlow's deterministic mode.
    """

    stack: ClassVar[tuple[tuple[str, str], ...]] = (("tensorflow", "keras"), ("keras", "keras"))
    revision: ClassVar[int] = 2  # 1 computed with as many threads as there were cores
    own_files: ClassVar[tuple[str, ...]] = ("model_",)

    def __init__(
        self,
        *,
        layers: Sequence[int] = LAYERS,
        learning_rate: float = 1e-4,
        batch_size: int = 64,
        max_epochs: int = 100_000,
        patience: int = 200,
        standardise: bool = False,
        seed: int = 0,
    ) -> None:
        self.layers = layers
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.standardise = standardise
        self.seed = seed

    model_: Any  # keras.Model
    n_epochs_: int
    best_epoch_: int
    loss_: float  # of the best epoch, in the target's unit
    x_mean_: np.ndarray
    x_scale_: np.ndarray
    y_mean_: float
    y_scale_: float

    @classmethod
    def import_stack(cls) -> None:
        """Import TensorFlow and Keras."""
        tensorflow()

    def _fit(self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None) -> None:
        with _one_at_a_time:
            self._train(X, y, X_val, y_val)

    def _train(
        self, X: np.ndarray, y: np.ndarray, X_val: np.ndarray | None, y_val: np.ndarray | None
    ) -> None:
        tf, keras = tensorflow()
        keras.backend.clear_session()  # else what Keras keeps of every earlier network stays in memory
        keras.utils.set_random_seed(self.seed)
        tf.config.experimental.enable_op_determinism()
        self._set_scales(X, y)
        train = self._tensors(tf, X, y)
        watched = train if X_val is None or y_val is None else self._tensors(tf, X_val, y_val)
        self.model_ = network(keras, X.shape[1], self.layers)
        trainer = _trainer(X.shape[1], tuple(self.layers), self.learning_rate)
        trainer.restart(self.model_)
        order = np.random.default_rng(self.seed)
        best, weights = np.inf, self.model_.get_weights()
        for epoch in range(1, self.max_epochs + 1):
            for rows in batches(order.permutation(len(y)), self.batch_size):
                trainer.step(tf.gather(train[0], rows), tf.gather(train[1], rows))
            now = float(trainer.loss(*watched))
            if not np.isfinite(now):
                raise StrataError(f"nn17: the loss is {now} in epoch {epoch}; try a smaller learning_rate")
            self.n_epochs_ = epoch
            if now < best:
                best, self.best_epoch_, weights = now, epoch, trainer.model.get_weights()
            elif epoch - self.best_epoch_ >= self.patience:
                break
        self.model_.set_weights(weights)
        self.loss_ = best * self.y_scale_

    def _predict(self, X: np.ndarray) -> np.ndarray:
        inputs = self._inputs(X)
        parts = [
            np.asarray(self.model_(inputs[start : start + ROWS_AT_ONCE], training=False))[:, 0]
            for start in range(0, len(inputs), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts).astype(np.float64) * self.y_scale_ + self.y_mean_

    def _set_scales(self, X: np.ndarray, y: np.ndarray) -> None:
        if self.standardise:
            scaler = StandardScaler().fit(X)
            self.x_mean_, self.x_scale_ = scaler.mean_, scaler.scale_
            self.y_mean_, self.y_scale_ = float(y.mean()), float(y.std())
        else:
            self.x_mean_, self.x_scale_ = np.zeros(X.shape[1]), np.ones(X.shape[1])
            self.y_mean_, self.y_scale_ = 0.0, 1.0

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        return ((X - self.x_mean_) / self.x_scale_).astype(np.float32)

    def _tensors(self, tf: Any, X: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        targets = ((y - self.y_mean_) / self.y_scale_).astype(np.float32)
        return tf.constant(self._inputs(X)), tf.constant(targets[:, None])

    def _save(self, folder: Path) -> None:
        self.model_.save(folder / MODEL_FILE)

    def _load(self, folder: Path) -> None:
        _, keras = tensorflow()
        path = folder / MODEL_FILE
        if not path.exists():
            raise StrataError(f"{path} is missing; fit the head again")
        # The file also describes its layers, which could be anyone's: those of the settings are built, once
        # the file is known to hold as many weights.
        widths = [self.n_features_in_, *self.layers, 1]
        wanted = 4 * sum((a + 1) * b for a, b in pairwise(widths))
        with ZipFile(path) as archive:
            held = sum(member.file_size for member in archive.infolist())
        if wanted > held:
            raise StrataError(f"{path} holds {held:,} bytes, its layers need {wanted:,}; fit the head again")
        self.model_ = network(keras, self.n_features_in_, self.layers)
        self.model_.load_weights(path)


def tensorflow() -> tuple[Any, Any]:
    """Import TensorFlow and Keras without the notes that their C++ side writes while it looks for GPUs."""
    if "tensorflow" in sys.modules:
        return need("tensorflow", "keras"), need("keras", "keras")
    with _stderr_closed():
        tf, keras = need("tensorflow", "keras"), need("keras", "keras")
        with suppress(RuntimeError):  # set up before, by the program around
            tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.list_logical_devices()
    return tf, keras


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Send what is written to file descriptor 2 nowhere; Python's own exceptions are not written yet then."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def network(keras: Any, width: int, layers: Sequence[int]) -> Any:
    """Build the fully connected network: `width` inputs, ReLU after each of `layers`, one output."""
    return keras.Sequential(
        [
            keras.Input((width,)),
            *(keras.layers.Dense(units, activation="relu") for units in layers),
            keras.layers.Dense(1),
        ]
    )


def batches(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Cut `rows` into pieces of `size`; the last may be shorter.

    >>> [len(part) for part in batches(np.arange(5), 2)]
    [2, 2, 1]
    """
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


class Trainer:
    """A network of one shape, with an Adam step down the L1 loss of a batch and the loss itself.

    Both are compiled once, which takes as long as dozens of small steps; `restart` begins another training.

    Adam is Keras's (the same formula and constants) through TensorFlow's fused kernel, one pass over
    the weights where `keras.optimizers.Adam` makes ten: on two cores a step of NN-17 takes half the time.
    """

    def __init__(self, tf: Any, model: Any, learning_rate: float) -> None:
        self.model = model
        self._weights = [variable.value for variable in model.trainable_variables]
        self._first = [tf.Variable(tf.zeros_like(weight)) for weight in self._weights]
        self._second = [tf.Variable(tf.zeros_like(weight)) for weight in self._weights]
        self._powers = tf.Variable(0.9), tf.Variable(0.999)
        self._tf, self._learning_rate = tf, learning_rate
        signature = [tf.TensorSpec([None, model.input_shape[1]]), tf.TensorSpec([None, 1])]
        self.step: Callable[[Any, Any], Any] = tf.function(self._step, input_signature=signature)
        self.loss: Callable[[Any, Any], Any] = tf.function(self._loss, input_signature=signature)

    def restart(self, initial: Any) -> None:
        """Take a network's weights, and forget the moments of the training before."""
        self.model.set_weights(initial.get_weights())
        for moment in (*self._first, *self._second):
            moment.assign(self._tf.zeros_like(moment))
        for power, value in zip(self._powers, (0.9, 0.999), strict=True):
            power.assign(value)

    def _loss(self, x: Any, target: Any) -> Any:
        return self._tf.reduce_mean(self._tf.abs(self.model(x, training=False) - target))

    def _step(self, x: Any, target: Any) -> Any:
        tf = self._tf
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(self.model(x, training=True) - target))
        gradients = tape.gradient(loss, self._weights)
        for weight, m, v, gradient in zip(self._weights, self._first, self._second, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=self._powers[0],
                beta2_power=self._powers[1],
                lr=self._learning_rate,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-7,
                grad=gradient,
            )
        for power, beta in zip(self._powers, (0.9, 0.999), strict=True):
            power.assign(power * beta)
        return loss


@lru_cache(maxsize=1)
def _trainer(width: int, layers: tuple[int, ...], learning_rate: float) -> Trainer:
    tf, keras = tensorflow()
    return Trainer(tf, network(keras, width, layers), learning_rate)


HEAD = NN17
