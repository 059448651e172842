"""Time the steps of NN-17 at its `paper` preset, as they were in TensorFlow and as they are, side by side.

`python bench/nn17.py STORE DATASET PROPERTY [EPOCHS]` trains two networks from the same weights on the same
batches, in one process, a step of one after a step of the other, and prints a table in Markdown: medians of
the time that a step takes, by epoch, on one thread each; the CPU's own time, which other programs disturb
less, and the clock's.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import strata
from heads.fully_connected import Training, for_training
from heads.nn17 import LAYERS, batches, network, tensorflow

RATE, BATCH, SEED = 1e-4, 64, 0
SHOWN = (1, 2, 5, 10, 20, 40, 60, 100, 150, 200)


class Before:
    """The step as it was until now: TensorFlow's products, and its fused kernel of Adam."""

    def __init__(self, tf: Any, model: Any) -> None:
        self.tf, self.model = tf, model
        self.weights = [variable.value for variable in model.trainable_variables]
        self.first = [tf.Variable(tf.zeros_like(weight)) for weight in self.weights]
        self.second = [tf.Variable(tf.zeros_like(weight)) for weight in self.weights]
        self.powers = tf.Variable(0.9), tf.Variable(0.999)
        signature = [tf.TensorSpec([None, model.input_shape[1]]), tf.TensorSpec([None, 1])]
        self.step = tf.function(self._step, input_signature=signature)

    def _step(self, x: Any, y: Any) -> Any:
        tf = self.tf
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(self.model(x, training=True) - y))
        gradients = tape.gradient(loss, self.weights)
        for weight, m, v, gradient in zip(self.weights, self.first, self.second, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=self.powers[0],
                beta2_power=self.powers[1],
                lr=RATE,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-7,
                grad=gradient,
            )
        for power, beta in zip(self.powers, (0.9, 0.999), strict=True):
            power.assign(power * beta)
        return loss


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return milliseconds of the CPU and of the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    work()
    return 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - clock)


def main() -> None:
    """Train both and print the table."""
    store, dataset, name = sys.argv[1:4]
    epochs = int(sys.argv[4]) if len(sys.argv) > 4 else max(SHOWN)
    tf, keras = tensorflow()
    tf.config.experimental.enable_op_determinism()
    data = strata.open(store).matrix(dataset, name, "last")
    order = np.random.default_rng(SEED)
    rows = order.permutation(len(data))
    known, watched = rows[: len(rows) * 8 // 10], rows[len(rows) * 8 // 10 : len(rows) * 9 // 10]
    X, y = data.X, np.asarray(data.y, np.float32)[:, None]
    keras.utils.set_random_seed(SEED)
    model = network(keras, X.shape[1], LAYERS)
    now, before = Training(model.get_weights(), RATE), Before(tf, model)
    print(
        f"{dataset}/{name}: {len(known)} training rows, batches of {BATCH}; medians of an epoch's steps, ms\n"
    )
    print("| epoch | before, CPU | now, CPU | ratio | clock before | now | validation MAE before | now |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    all_before, all_now = [], []
    with for_training(torch):
        for epoch in range(1, epochs + 1):
            old, new = [], []
            for part in batches(order.permutation(known), BATCH):
                tx, ty = tf.constant(X[part]), tf.constant(y[part])
                px, py = torch.from_numpy(X[part]), torch.from_numpy(y[part])
                old.append(timed(lambda x=tx, t=ty: float(before.step(x, t))))
                new.append(timed(lambda x=px, t=py: now.step(x, t)))
            end = timed(now.end_epoch)
            shares = np.median(old, axis=0), np.median(new, axis=0) + np.array(end) / len(new)
            if epoch > 1:  # the first one compiles
                all_before.append(shares[0])
                all_now.append(shares[1])
            if epoch in SHOWN or epoch == epochs:
                theirs = float(np.abs(model(X[watched], training=False) - y[watched]).mean())
                ours = now.loss(torch.from_numpy(X[watched]), torch.from_numpy(y[watched]))
                (a, c), (b, d) = shares
                times = f"{a:.1f} | {b:.1f} | {a / b:.2f} | {c:.1f} | {d:.1f}"
                print(f"| {epoch} | {times} | {theirs:.4f} | {ours:.4f} |", flush=True)
    (a, c), (b, d) = np.mean(all_before, axis=0), np.mean(all_now, axis=0)
    print(f"\nMean of epochs 2 to {epochs}: CPU {a:.1f} and {b:.1f} ms, {a / b:.2f} times as fast;")
    print(f"clock {c:.1f} and {d:.1f} ms.")


if __name__ == "__main__":
    main()
