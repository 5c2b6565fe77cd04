"""The layers: each forward returns its output and its own backward.

The closure holds what the backward pass needs and nothing else, so a network is a list of them:
run forward in order, run backward in reverse. Arrays are (rows, units). Layers work in place where
the value overwritten is not needed again; which ones, each docstring says.

Formulas: Goodfellow, Bengio, Courville, "Deep Learning" (2016), §6.5; the cross-entropy of a
softmax as one layer, because its gradient p − t is simpler than either half's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.model.arrays import Array

Backward = Callable[[Array], Array]
"""From ∂loss/∂output, which it may overwrite, to ∂loss/∂input."""


def linear(
    x: Array, W: Array, b: Array, dW: Array, db: Array, *, first: bool = False
) -> tuple[Array, Backward]:
    """The affine map z = x·Wᵀ + b.

    Args:
        x: (B, inputs).
        W: (outputs, inputs): a row a unit.
        b: (outputs,).
        dW: shaped like W; the backward pass writes ∂loss/∂W into it.
        db: shaped like b; likewise.
        first: nothing lies before this layer, so its ∂loss/∂x, a third of its work, is left out
            (the backward pass then returns what it got).
    """
    z = (W @ x.T).T  # x·Wᵀ, in the order that BLAS packs faster
    z += b

    def backward(dz: Array) -> Array:
        np.matmul(dz.T, x, out=dW)  # ∂loss/∂W = dzᵀ·x
        dz.sum(axis=0, out=db)  # ∂loss/∂b = Σ dz over the rows
        return dz if first else (W.T @ dz.T).T  # ∂loss/∂x = dz·W

    return z, backward


def relu(z: Array) -> tuple[Array, Backward]:
    """The rectifier a = max(z, 0), in place of z."""
    a = np.maximum(z, 0, out=z)

    def backward(da: Array) -> Array:
        da *= a > 0  # ReLU′(z) = 1 where z > 0; a > 0 says the same, and z is gone
        return da

    return a, backward


def dropout(a: Array, rate: float, rng: np.random.Generator) -> tuple[Array, Backward]:
    """Each unit is silenced with probability `rate`, the others scaled by 1/(1 − rate), in place.

    The scaling keeps the expectation, so that prediction needs no dropout at all ("inverted";
    Srivastava et al. 2014, §10).
    """
    keep = (rng.random(a.shape, dtype=np.float32) >= rate).astype(a.dtype)
    keep /= 1 - rate
    a *= keep

    def backward(da: Array) -> Array:
        da *= keep
        return da

    return a, backward


def softmax(z: Array) -> Array:
    """Probabilities p = eᶻ / Σ eᶻ of each column of the logits (C, B), in place.

    Classes first: along the short axis of (B, C) a reduction costs twenty times as much.
    """
    z -= z.max(axis=0)  # changes nothing, and e⁰ cannot overflow
    p: Array = np.exp(z, out=z)
    p /= p.sum(axis=0)
    return p


def softmax_cross_entropy(
    logits: Array, labels: NDArray[np.integer[Any]], label_smoothing: float = 0.0
) -> tuple[float, Callable[[], Array]]:
    """The mean over the rows of −Σ t·log p with p = softmax(logits).

    t is 1 at the label and 0 elsewhere; with label smoothing ε it is (1 − ε)·that + ε/C
    (Szegedy et al. 2016, §7).

    Args:
        logits: (B, C); may be overwritten.
        labels: (B,) integers in [0, C).
        label_smoothing: ε in [0, 1).

    Returns:
        The loss, and a backward that returns ∂loss/∂logits (B, C).
    """
    B, C = logits.shape
    rows = np.arange(B)
    z = np.ascontiguousarray(logits.T)  # classes first, as in softmax
    z -= z.max(axis=0)
    target = (1 - label_smoothing) * z[labels, rows]  # Σ t·z
    if label_smoothing:
        target += label_smoothing * z.mean(axis=0)
    p = np.exp(z, out=z)
    total = p.sum(axis=0)
    losses = np.log(total) - target  # −Σ t·log p = log Σ eᶻ − Σ t·z, because Σ t = 1

    def backward() -> Array:
        dz: Array = np.divide(p, total, out=p)  # ∂loss/∂z = (p − t) / B
        if label_smoothing:
            dz -= label_smoothing / C
        dz[labels, rows] -= 1 - label_smoothing
        dz /= B
        return dz.T

    return float(losses.sum()) / B, backward
