"""A model: softmax regression on random features (Rahimi & Recht, NIPS 2007)."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.model import layers
from mnist_pipeline.model.arrays import Array, FlatArrays, Parameters
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.predictor import Predictor
from mnist_pipeline.plugins import option

PIXELS = ImageContract().pixels


@functools.lru_cache(maxsize=8)
def drawn(seed: int, pixels: int, features: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    R = rng.standard_normal((features, pixels), np.float32)
    return R, rng.uniform(0, 2 * math.pi, (features, 1)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class RandomFeatures(Model):
    """z = W·φ(x) + b with φ(x) = √(2/D) cos(Rx/σ + u); R and u are drawn once and not trained."""

    features: int = option(512, "D, how many features")
    width: float = option(8.0, "σ of the Gaussian kernel that they stand for")
    seed: int = option(0, "of the random features")

    def initialise(self, pixels: int, classes: int, rng: np.random.Generator) -> Parameters:
        return FlatArrays({"W": (classes, self.features), "b": (classes,)}, np.float32).views

    def loss_and_gradients(self, parameters: Parameters, x: Array, labels: NDArray[Any],
                           gradients: Parameters, *, label_smoothing: float,
                           rng: np.random.Generator) -> float:  # fmt: skip
        phi = self._features(x)
        logits = phi.T @ parameters["W"].T + parameters["b"]
        loss, backward = layers.softmax_cross_entropy(logits, labels, label_smoothing)
        d = backward()  # ∂loss/∂logits, (B, classes)
        np.matmul(d.T, phi.T, out=gradients["W"])
        np.sum(d, axis=0, out=gradients["b"])
        return loss

    def compile(self, parameters: Parameters, normalizer: FittedNormalizer) -> Predictor:
        W, b = parameters["W"].copy(), parameters["b"][:, None].copy()
        network = lambda x: layers.softmax(W @ self._features(x) + b).T  # noqa: E731
        return Predictor(network, pixels=PIXELS, classes=len(b), normalizer=normalizer)

    def _features(self, x: Array) -> Array:  # (features, rows): see EDGE in model/predictor.py
        R, u = drawn(self.seed, x.shape[1], self.features)
        phi: Array = np.cos((R / self.width) @ x.T + u) * math.sqrt(2 / self.features)
        return phi.astype(x.dtype, copy=False)
