"""Training of fully connected networks of ReLU units on a CPU, by an L1 loss and Keras's Adam.

The arithmetic is that of `keras.Model.fit`; it is done here on torch's matrix products because much of it can
be left out. In a deep network of such units about half of each layer is zero for all rows of a batch, and the
rest of that batch's step does not depend on those units: neither what they pass on nor their gradients. So
the units of a layer are kept in an order that has the seldom active ones last, and a step uses the columns up
to the last active unit. That changes nothing but the order in which numbers are added up.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.lazy import need

BETAS, EPSILON = (0.9, 0.999), 1e-7  # Keras's
_ALIGNED = 16  # columns are cut at multiples of it: products of such widths are faster
_STEPS = 12  # between two orders at least: one costs two thirds of a step


class Kept(NamedTuple):
    """Weights as they were at some moment, and the units' order then."""

    flat: Any  # torch.Tensor
    orders: list[Any]


class Training:
    """A network and the state of its optimiser.

    weights: as `keras.Model.get_weights` gives those of a stack of `Dense` layers with one output: kernel
    (in, out) and bias (out,) of each, float32. They are copied.
    """

    def __init__(self, weights: Sequence[NDArray[np.float32]], learning_rate: float) -> None:
        self._torch = torch = need("torch", "extract")
        self._shapes = [weight.shape for weight in weights]
        self._flat = torch.cat([torch.from_numpy(np.array(weight).ravel()) for weight in weights])
        self._first, self._second = torch.zeros_like(self._flat), torch.zeros_like(self._flat)
        self._steps = 0
        self._learning_rate = learning_rate
        parts = self._parts(self._flat)
        self._kernels, self._biases = parts[::2], parts[1::2]
        sizes = [
            kernel.numel() + bias.numel() for kernel, bias in zip(self._kernels, self._biases, strict=True)
        ]
        states = (self._flat, self._first, self._second)
        self._states = list(zip(*(state.split(sizes) for state in states), strict=True))  # of each layer
        self._gradient = torch.empty(max(sizes))  # of one layer after another, so that it stays in the cache
        self._batches = 0  # since the units were put in order
        hidden = [kernel.shape[1] for kernel in self._kernels[:-1]]
        self._orders = [torch.arange(width) for width in hidden]  # which unit stands in each place
        self._active = [torch.zeros(width) for width in hidden]  # batches that activated it

    def step(self, x: Any, y: Any) -> None:
        """Go one step of Adam down the mean absolute error of a batch: x (n, d), y (n, 1), both float32."""
        torch = self._torch
        values = [x]
        for layer, (kernel, bias) in enumerate(zip(self._kernels, self._biases, strict=True)):
            out = torch.addmm(bias, values[-1], kernel[: values[-1].shape[1]])
            if layer < len(self._orders):
                out.relu_()
                active = out.amax(dim=0) > 0
                self._active[layer] += active
                values.append(out[:, : _cut(active)])
        gradient = (out - y).sign_().div_(len(y))
        self._steps += 1
        self._batches += 1
        for layer in reversed(range(len(self._kernels))):
            below, above = values[layer], gradient
            if layer:
                kernel = self._kernels[layer][: below.shape[1], : above.shape[1]]
                gradient = (above @ kernel.T).mul_(below > 0)
            self._adam(layer, self._gradient_of(layer, below, above))

    def loss(self, x: Any, y: Any) -> float:
        """Return the mean absolute error on x (n, d), y (n, 1)."""
        for kernel, bias in zip(self._kernels[:-1], self._biases[:-1], strict=True):
            x = self._torch.addmm(bias, x, kernel).relu_()
        return float((self._torch.addmm(self._biases[-1], x, self._kernels[-1]) - y).abs().mean())

    def end_epoch(self) -> None:
        """Put the seldom active units last, unless that was done a few steps ago."""
        if self._batches < _STEPS:
            return
        torch = self._torch
        new = [torch.argsort(counts, descending=True, stable=True) for counts in self._active]
        for state in (self._flat, self._first, self._second):
            self._arrange(state, new)
        self._orders = [order[places] for order, places in zip(self._orders, new, strict=True)]
        self._batches = 0
        for counts in self._active:
            counts.zero_()

    def keep(self) -> Kept:
        """Return the weights as they are now."""
        return Kept(self._flat.clone(), self._orders)

    def weights(self, kept: Kept) -> list[NDArray[np.float32]]:
        """Return kept weights as the constructor was given them."""
        flat = kept.flat.clone()
        self._arrange(flat, [self._torch.argsort(order) for order in kept.orders])
        return [part.numpy() for part in self._parts(flat)]

    def _parts(self, flat: Any) -> list[Any]:
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        pieces = flat.split(sizes)
        return [piece.view(*shape) for piece, shape in zip(pieces, self._shapes, strict=True)]

    def _arrange(self, flat: Any, orders: Sequence[Any]) -> None:
        """Put the units of each hidden layer into another order, in all that is kept of their weights."""
        parts = self._parts(flat)
        for layer, (kernel, bias) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
            if layer:
                kernel.copy_(kernel.index_select(0, orders[layer - 1]))
            if layer < len(orders):
                kernel.copy_(kernel.index_select(1, orders[layer]))
                bias.copy_(bias[orders[layer]])

    def _gradient_of(self, layer: int, below: Any, above: Any) -> Any:
        """Return one layer's gradient, kernel and bias one after the other; zero for the idle units."""
        shape, rows, columns = self._kernels[layer].shape, below.shape[1], above.shape[1]
        whole = self._gradient[: (shape[0] + 1) * shape[1]]
        kernel, bias = whole[: -shape[1]].view(shape), whole[-shape[1] :]
        kernel[rows:].zero_()
        kernel[:rows, columns:].zero_()
        bias[columns:].zero_()
        self._torch.mm(below.T, above, out=kernel[:rows, :columns])
        self._torch.sum(above, 0, out=bias[:columns])
        return whole

    def _adam(self, layer: int, gradient: Any) -> None:
        """Update a layer in one pass; torch divides the second moment where Keras leaves epsilon as it is."""
        weights, first, second = self._states[layer]
        self._torch._fused_adam_(
            [weights],
            [gradient],
            [first],
            [second],
            [],
            [self._torch.tensor(float(self._steps))],
            lr=self._learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPSILON / sqrt(1 - BETAS[1] ** self._steps),
            amsgrad=False,
            maximize=False,
        )


@contextmanager
def for_training(torch: Any) -> Iterator[None]:
    """Work without autograd, on one thread, and take the smallest numbers for zero.

    The last bits of a product depend on the number of threads. Moments that fade away would be slow.
    """
    threads = torch.get_num_threads()
    with torch.no_grad():
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(False)
            torch.set_num_threads(threads)


def _cut(active: Any) -> int:
    """Return how many columns to go on with: all up to the last active one, and one at least."""
    places = active.nonzero()
    last = int(places[-1]) + 1 if len(places) else 1
    return min(-(-last // _ALIGNED) * _ALIGNED, len(active))
