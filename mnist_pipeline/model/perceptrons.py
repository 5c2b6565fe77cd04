"""The perceptrons: softmax regression and multi-layer networks, trained and compiled."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.model import layers
from mnist_pipeline.model.arrays import Array, Parameters
from mnist_pipeline.model.graph import Value
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.predictor import Predictor
from mnist_pipeline.plugins import option


class Perceptron(Model):
    """What both networks below share: linear layers with ReLU between them, softmax at the end.

    Parameters are `W1` (units, inputs), `b1` (units,), `W2`, … as in z = W·x + b.
    """

    @property
    def dropout(self) -> float:
        """The share of hidden units silenced while training."""
        return 0.0

    def loss_and_gradients(
        self,
        parameters: Parameters,
        x: Array,
        labels: NDArray[np.integer[Any]],
        gradients: Parameters,
        *,
        label_smoothing: float,
        rng: np.random.Generator,
    ) -> float:
        tape: list[layers.Backward] = []
        depth = len(parameters) // 2
        a = x
        for layer in range(1, depth + 1):
            W, b = f"W{layer}", f"b{layer}"
            a, backward = layers.linear(
                a, parameters[W], parameters[b], gradients[W], gradients[b], first=layer == 1
            )
            tape.append(backward)
            if layer < depth:
                a, backward = layers.relu(a)
                tape.append(backward)
                if self.dropout:
                    a, backward = layers.dropout(a, self.dropout, rng)
                    tape.append(backward)
        loss, loss_backward = layers.softmax_cross_entropy(a, labels, label_smoothing)
        d = loss_backward()
        for backward in reversed(tape):
            d = backward(d)
        return loss

    def compile(self, parameters: Parameters, normalizer: FittedNormalizer) -> Predictor:
        weights, folded = _folded(parameters, normalizer)
        # An input whose weights are all zero need not be multiplied: see zero_unlit.
        seen = np.flatnonzero(weights["W1"].any(axis=0)) if folded else None
        if seen is not None:
            weights["W1"] = weights["W1"][:, seen]
        # max(z + b, 0) = max(z, -b) + b: the last b goes into the next layer's, at no cost.
        depth = len(weights) // 2
        for i in range(1, depth):
            weights[f"b{i + 1}"] += weights[f"W{i + 1}"] @ weights[f"b{i}"]
        *hidden, (W_last, b_last) = [
            (
                np.ascontiguousarray(weights[f"W{i}"], np.float32),
                weights[f"b{i}"].astype(np.float32)[:, np.newaxis],
            )
            for i in range(1, depth + 1)
        ]

        def network(x: Array) -> Array:
            a = x.T  # units first, (units, rows), see EDGE
            for W, b in hidden:
                a = W @ a
                np.maximum(a, -b, out=a)
            logits = W_last @ a
            logits += b_last
            return layers.softmax(logits).T

        return Predictor(
            network,
            pixels=parameters["W1"].shape[1],
            classes=len(b_last),
            normalizer=None if folded else normalizer,
            seen=seen,
        )

    def to_onnx(self, parameters: Parameters, normalizer: FittedNormalizer, pixels: Value) -> Value:
        weights, folded = _folded(parameters, normalizer)
        depth = len(weights) // 2
        a = pixels if folded else normalizer.to_onnx(pixels)
        for layer in range(1, depth + 1):
            W, b = (weights[f"{name}{layer}"].astype(np.float32) for name in "Wb")
            a = a.apply("Gemm", W, b, transB=1)  # a·Wᵀ + b
            if layer < depth:
                a = a.apply("Relu")
        return a.apply("Softmax", axis=1)

    def products(self, pixels: int, parameters: Parameters) -> int:  # noqa: ARG002
        matrices = [array.size for name, array in parameters.items() if name.startswith("W")]
        return 3 * sum(matrices) - matrices[0]  # forward, and twice back but for the first layer

    def zero_unlit(
        self, parameters: Parameters, lit: NDArray[np.bool_], normalizer: FittedNormalizer
    ) -> Parameters:
        result = {name: array.copy() for name, array in parameters.items()}
        W1, b1 = result["W1"], result["b1"]
        dark = normalizer.transform(np.zeros((1, W1.shape[1]), np.uint8))[0]
        constant = W1[:, ~lit].astype(np.float64) @ dark[~lit]
        b1[...] = b1 + constant
        W1[:, ~lit] = 0
        return result

    def dead_units(self, parameters: Parameters, x: Array) -> float:
        worst = 0.0
        a = x
        for layer in range(1, len(parameters) // 2):
            a = np.maximum(a @ parameters[f"W{layer}"].T + parameters[f"b{layer}"], 0)
            worst = max(worst, 1 - np.count_nonzero(a.any(axis=0)) / a.shape[1])
        return worst


def _folded(parameters: Parameters, normalizer: FittedNormalizer) -> tuple[Parameters, bool]:
    """The weights in float64, with the normalizer in the first layer, and whether it is there."""
    weights: Parameters = {name: array.astype(np.float64) for name, array in parameters.items()}
    affine = normalizer.affine()
    if affine is not None:
        # W·(scale·p + shift) + b = (W·scale)·p + (b + W·shift): no normalization at run time.
        scale, shift = affine
        weights["b1"] += weights["W1"] @ shift
        weights["W1"] *= scale
    return weights, affine is not None


@dataclasses.dataclass(frozen=True)
class Softmax(Perceptron):
    """Softmax regression: one linear layer. Its loss is convex, so it starts at zero."""

    def initialise(
        self,
        pixels: int,
        classes: int,
        rng: np.random.Generator,  # noqa: ARG002
    ) -> Parameters:
        return {
            "W1": np.zeros((classes, pixels), np.float32),
            "b1": np.zeros(classes, np.float32),
        }


@dataclasses.dataclass(frozen=True)
class Mlp(Perceptron):
    """A multi-layer perceptron with ReLU units."""

    hidden: tuple[int, ...] = option((128,), "units of each hidden layer, first to last")
    init: Literal["he", "xavier", "uniform"] = option(
        "he", "start: he N(0, 2/inputs), xavier U(±√(6/(inputs+units))), uniform U(±½), biases too"
    )
    dropout: float = option(0.0, "share of hidden units silenced in each training step, in [0, 1)")

    MOST_UNITS: ClassVar[int] = 65_536

    def __post_init__(self) -> None:
        if not self.hidden:
            raise ValueError("hidden is empty: name at least one layer, or use the model 'softmax'")
        for units in self.hidden:
            if not 1 <= units <= self.MOST_UNITS:
                raise ValueError(f"a hidden layer has 1 to {self.MOST_UNITS:,} units, not {units}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share in [0, 1), not {self.dropout}")

    def initialise(self, pixels: int, classes: int, rng: np.random.Generator) -> Parameters:
        parameters: Parameters = {}
        sizes = (pixels, *self.hidden, classes)
        for layer, (inputs, units) in enumerate(itertools.pairwise(sizes), start=1):
            b = np.zeros(units)
            match self.init:
                case "he":  # He et al. 2015, eq. 10: keeps the variance through ReLU
                    W = rng.normal(0, math.sqrt(2 / inputs), (units, inputs))
                case "xavier":  # Glorot & Bengio 2010, eq. 16
                    limit = math.sqrt(6 / (inputs + units))
                    W = rng.uniform(-limit, limit, (units, inputs))
                case "uniform":  # the classic tutorial's rand() − 0.5
                    W = rng.uniform(-0.5, 0.5, (units, inputs))
                    b = rng.uniform(-0.5, 0.5, units)
            parameters[f"W{layer}"] = W.astype(np.float32)
            parameters[f"b{layer}"] = b.astype(np.float32)
        return parameters
