"""Optimizers: small functions over flat arrays, and the class that runs them in chunks."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from mnist_pipeline.model.arrays import CHUNK, Array, FlatArrays, aligned_zeros
from mnist_pipeline.model.threads import Hands

OptimizerName = Literal["sgd", "momentum", "adam", "adamw"]

EPSILON = 1e-8
"""Adam's ε: keeps the step finite where the gradient has always been 0."""


# theta: parameters θ; g: gradient, scratch afterwards; m, v: moments. (n,) each, all in place.


def sgd(theta: Array, g: Array, *, learning_rate: float) -> None:
    """Gradient descent: θ ← θ − α·g."""
    g *= learning_rate
    theta -= g


def momentum(theta: Array, g: Array, m: Array, *, learning_rate: float, momentum: float) -> None:
    """Heavy ball: m ← μ·m + g;  θ ← θ − α·m  (Polyak 1964)."""
    m *= momentum
    m += g
    np.multiply(m, learning_rate, out=g)
    theta -= g


def adam(
    theta: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    step: int,
) -> None:
    """Kingma & Ba 2015, algorithm 1.

    m̂ = (1 − β₁)·m / (1 − β₁ᵗ);  v̂ = (1 − β₂)·v / (1 − β₂ᵗ);  θ ← θ − α·m̂ / (√v̂ + ε)

    where m = Σ β₁ᵏ·g and v = Σ β₂ᵏ·g² are kept without the paper's factors 1 − β: these are
    scalars and join α and ε, which saves two passes over all parameters.

    t is `step`, from 1.
    """
    root = math.sqrt((1 - beta2**step) / (1 - beta2))  # √v̂ = √v / root
    rate = learning_rate * root * (1 - beta1) / (1 - beta1**step)
    m *= beta1
    m += g
    v *= beta2
    g *= g
    v += g
    denominator = np.sqrt(v, out=g)
    denominator += EPSILON * root
    update = np.divide(m, denominator, out=g)
    update *= rate
    theta -= update


FLUSH_EVERY = 128
NEGLIGIBLE = 1e-20
"""Every so many steps, first moments below this become 0.

Where a gradient stays 0, m shrinks by β₁ a step and is denormal after some 800; many processors
take a hundred times as long over such numbers. A step of 1e-20/ε is far below a weight's last bit.
"""


class Optimizer:
    """One of the rules above over all parameters, with its moments and its count of steps.

    Args:
        name: the rule; `adamw` is `adam` with decoupled weight decay.
        parameters: updated in place.
        gradients: of the same layout; scratch after each update.
        l2: weight decay of matrices (biases are free). Added to the gradient as l2·θ, which is
            the gradient of l2/2·‖θ‖²; with `adamw` θ ← (1 − α·l2)·θ instead, so that Adam does
            not divide it by √v̂ (Loshchilov & Hutter 2019).
    """

    def __init__(
        self,
        name: OptimizerName,
        parameters: FlatArrays,
        gradients: FlatArrays,
        *,
        l2: float = 0.0,
        momentum: float = 0.9,
        beta1: float = 0.9,
        beta2: float = 0.999,
    ) -> None:
        self.name = name
        self.l2, self.momentum, self.beta1, self.beta2 = l2, momentum, beta1, beta2
        self.step = 0
        moments = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}[name]
        n, dtype = parameters.buffer.size, parameters.buffer.dtype
        self.moments = [aligned_zeros(n, dtype) for _ in range(moments)]
        arrays = [parameters.buffer, gradients.buffer, *self.moments]
        chunks = [slice(start, start + CHUNK) for start in range(0, n, CHUNK)]
        self._chunks = [
            (max(0, parameters.matrices - chunk.start), [array[chunk] for array in arrays])
            for chunk in chunks
        ]

    def update(self, learning_rate: float, hands: Hands | None = None) -> None:
        """One step along the gradients, by more than one thread if there are `hands` for it."""
        self.step += 1

        def work(chunk: tuple[int, list[Array]]) -> None:
            self._update(*chunk, learning_rate)

        if hands is None:
            for chunk in self._chunks:
                work(chunk)
        else:
            hands.map(work, self._chunks)

    def _update(self, decaying: int, arrays: list[Array], learning_rate: float) -> None:
        """One chunk, of which the first `decaying` numbers, if it has as many, are matrices'."""
        theta, g, *moments = arrays
        if decaying and self.l2:
            if self.name == "adamw":
                theta[:decaying] *= 1 - learning_rate * self.l2
            else:
                g[:decaying] += self.l2 * theta[:decaying]
        match self.name:
            case "sgd":
                sgd(theta, g, learning_rate=learning_rate)
            case "momentum":
                momentum(theta, g, *moments, learning_rate=learning_rate, momentum=self.momentum)
            case "adam" | "adamw":
                adam(
                    theta,
                    g,
                    *moments,
                    learning_rate=learning_rate,
                    beta1=self.beta1,
                    beta2=self.beta2,
                    step=self.step,
                )
        if moments and self.step % FLUSH_EVERY == 0:
            moments[0] *= np.abs(moments[0]) >= NEGLIGIBLE
