"""The convolutional network: stages of convolutions, each normalized and rectified, then pooled."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.errors import ConfigError
from mnist_pipeline.model import layers, spatial
from mnist_pipeline.model.arrays import Array, Parameters
from mnist_pipeline.model.graph import Value
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.predictor import Predictor
from mnist_pipeline.plugins import option

WORTH_SHARING = 32
"""Rows a batch from which a second thread pays. Each half is normalized by its own moments."""


@dataclasses.dataclass(frozen=True)
class _Layer:
    """One convolution and what follows it.

    Attributes:
        inputs, channels: C and D of its kernels.
        kernel: their side k; that of the image for a layer that is fully connected.
        padding: the border of zeros around its input.
        pool: whether 2×2 pixels become one.
        side: height and width of what it puts out.
        border: of zeros around that, which the layer behind it wants.
    """

    inputs: int
    channels: int
    kernel: int
    padding: int
    pool: bool
    side: int
    border: int = 0

    @property
    def covers_all(self) -> bool:
        """Whether its kernels are as large as its input: it is fully connected."""
        return self.side == 1 and self.padding == 0 and not self.pool

    def room(self, rows: int, like: Array) -> Array:
        """Zeros for what it puts out, within its border."""
        return spatial.padded(self.side, self.channels, self.side, rows, self.border, like)


@dataclasses.dataclass(frozen=True)
class Cnn(Model):
    """A convolutional network with batch normalization.

    Parameters of layer n: `K<n>` (D, C, k, k), `gamma<n>` and `beta<n>` (D,), and, measured after
    training, `mean<n>` and `variance<n>` (D,); the last one has a bias `b` and no normalization.
    `lit` (pixels,) is 0 where an input was always blank: what stands there does not matter.
    Pooling comes before normalization, which then has a quarter to do.
    """

    stages: tuple[tuple[int, ...], ...] = option(
        ((16,), (32, 32), (64, 64)), "channels of each convolution; each stage ends with a pooling"
    )
    kernel: int = option(3, "side of the convolutions' windows, in pixels")
    padding: int = option(1, "border of zeros around each convolution's input, in pixels")
    hidden: tuple[int, ...] = option((128,), "units of fully connected layers after the stages")
    dropout: float = option(0.0, "share of values silenced before the last layer, in [0, 1)")

    def __post_init__(self) -> None:
        if not self.stages or not all(self.stages):
            raise ValueError("stages names the channels of each stage, e.g. [[16], [32, 32]]")
        if min(min(stage) for stage in self.stages) < 1 or min(self.hidden, default=1) < 1:
            raise ValueError("a layer has at least one channel")
        if self.kernel < 1 or not 0 <= self.padding < self.kernel:
            raise ValueError("kernel is at least 1, padding at least 0 and less than kernel")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share in [0, 1), not {self.dropout}")

    def _layers(self, pixels: int, classes: int) -> list[_Layer]:
        """Every layer for square images; the last one makes the logits."""
        side, inputs = math.isqrt(pixels), 1
        if side * side != pixels:
            raise ConfigError(
                "the model cnn needs square images", pixels=pixels, remedy="use the model mlp"
            )
        found = []
        for stage in self.stages:
            for number, channels in enumerate(stage, start=1):
                side += 2 * self.padding - self.kernel + 1
                pool = number == len(stage)
                side = side // 2 if pool else side
                if side < 1:
                    raise ConfigError(
                        "the model cnn has more stages than the image has pixels for",
                        remedy="name fewer stages, or raise model.padding",
                    )
                found.append(_Layer(inputs, channels, self.kernel, self.padding, pool, side))
                inputs = channels
        for units in (*self.hidden, classes):
            found.append(_Layer(inputs, units, side, 0, pool=False, side=1))
            inputs, side = units, 1
        borders = [then.padding for then in found[1:]] + [0]
        return [
            dataclasses.replace(layer, border=border)
            for layer, border in zip(found, borders, strict=True)
        ]

    def lanes(self, batch_size: int) -> int:
        return 2 if batch_size >= WORTH_SHARING else 1

    def initialise(self, pixels: int, classes: int, rng: np.random.Generator) -> Parameters:
        parameters: Parameters = {}
        *normalized, last = self._layers(pixels, classes)
        for n, layer in enumerate((*normalized, last), start=1):
            shape = (layer.channels, layer.inputs, layer.kernel, layer.kernel)
            deviation = math.sqrt(2 / math.prod(shape[1:]))  # He et al. 2015, eq. 10
            parameters[f"K{n}"] = rng.normal(0, deviation, shape).astype(np.float32)
            if layer is not last:
                parameters[f"gamma{n}"] = np.ones(layer.channels, np.float32)
                parameters[f"beta{n}"] = np.zeros(layer.channels, np.float32)
        parameters["b"] = np.zeros(classes, np.float32)
        return parameters

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
        N, pixels = x.shape
        *normalized, last = self._layers(pixels, len(parameters["b"]))
        tape: list[layers.Backward] = []
        a = _image(x, normalized[0].padding)
        for n, layer in enumerate(normalized, start=1):
            z, backward = spatial.convolution(
                a, parameters[f"K{n}"], gradients[f"K{n}"], layer.padding, first=n == 1
            )
            tape.append(backward)
            if layer.pool:
                z, backward = spatial.max_pool(z)
                tape.append(backward)
            a = layer.room(N, like=z)
            backward = spatial.batch_norm_relu(
                z,
                parameters[f"gamma{n}"],
                parameters[f"beta{n}"],
                gradients[f"gamma{n}"],
                gradients[f"beta{n}"],
                out=spatial.interior(a, layer.border),
            )
            tape.append(backward)
        if self.dropout:
            a, backward = layers.dropout(a, self.dropout, rng)
            tape.append(backward)
        n = len(normalized) + 1
        z, backward = spatial.convolution(a, parameters[f"K{n}"], gradients[f"K{n}"], last.padding)
        tape.append(backward)
        logits = z.reshape(last.channels, N).T + parameters["b"]
        loss, loss_backward = layers.softmax_cross_entropy(logits, labels, label_smoothing)
        d = loss_backward()
        np.sum(d, axis=0, out=gradients["b"])
        d = np.ascontiguousarray(d.T).reshape(z.shape)
        for backward in reversed(tape):
            d = backward(d)
        return loss

    def calibrate(self, parameters: Parameters, blocks: Iterable[Array]) -> Parameters:
        """With the moments that batch normalization uses in predictions ("precise" statistics).

        Averages over blocks of training rows with the final weights, not running ones, which lag
        behind: Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", §3.
        """
        means: list[list[Array]] = []
        variances: list[list[Array]] = []
        for x in blocks:
            *normalized, _ = self._layers(x.shape[1], len(parameters["b"]))
            a = _image(x, normalized[0].padding)
            means.append([])
            variances.append([])
            for n, layer in enumerate(normalized, start=1):
                z = _correlate(a, parameters[f"K{n}"])
                if layer.pool:
                    z, _ = spatial.max_pool(z)
                mean, variance = spatial.moments(z)
                means[-1].append(mean)
                variances[-1].append(variance)
                scale = parameters[f"gamma{n}"] / np.sqrt(variance + spatial.EPSILON)
                shift = parameters[f"beta{n}"] - mean * scale
                a = layer.room(len(x), like=z)
                spatial.scale_relu(z, scale, shift, spatial.interior(a, layer.border))
        result = dict(parameters)
        result["lit"] = np.ones(x.shape[1], parameters["b"].dtype)
        for n, (m, v) in enumerate(
            zip(zip(*means, strict=True), zip(*variances, strict=True), strict=True), start=1
        ):
            # The variance of all rows: the mean of the blocks' and that of their means.
            mean_of, variance_of = (np.stack(x).astype(np.float64) for x in (m, v))
            dtype = parameters["b"].dtype
            result[f"mean{n}"] = np.asarray(mean_of.mean(axis=0), dtype)
            result[f"variance{n}"] = np.asarray(
                variance_of.mean(axis=0) + mean_of.var(axis=0), dtype
            )
        return result

    def products(self, pixels: int, parameters: Parameters) -> int:
        places = []
        for n, layer in enumerate(self._layers(pixels, len(parameters["b"])), start=1):
            side = 2 * layer.side if layer.pool else layer.side
            places.append(side * side * parameters[f"K{n}"].size)
        return 3 * sum(places) - places[0]  # forward, and twice back but for the first layer

    def zero_unlit(
        self,
        parameters: Parameters,
        lit: NDArray[np.bool_],
        normalizer: FittedNormalizer,  # noqa: ARG002
    ) -> Parameters:
        return parameters | {"lit": lit.astype(parameters["b"].dtype)}

    def compile(self, parameters: Parameters, normalizer: FittedNormalizer) -> Predictor:
        classes, pixels = len(parameters["b"]), len(parameters["lit"])
        *folded, (_, K_last, b) = self._folded(parameters)
        lit, blank = _inputs(parameters, normalizer)

        def network(x: Array) -> Array:
            a = _image(x * lit + blank, self.padding)
            for layer, K, shift in folded:
                z = _correlate(a, K)
                if layer.pool:
                    z, _ = spatial.max_pool(z)
                a = layer.room(len(x), like=z)
                for source, target in zip(z, spatial.interior(a, layer.border), strict=True):
                    np.add(source, shift[:, None, None], out=target)
                    np.maximum(target, 0, out=target)
            logits = _correlate(a, K_last).reshape(classes, len(x))
            logits += b[:, np.newaxis]
            return layers.softmax(logits).T

        return Predictor(network, pixels=pixels, classes=classes, normalizer=normalizer)

    def to_onnx(self, parameters: Parameters, normalizer: FittedNormalizer, pixels: Value) -> Value:
        *folded, (_, K_last, b) = self._folded(parameters)
        lit, blank = _inputs(parameters, normalizer)
        side = math.isqrt(len(lit))
        a = (normalizer.to_onnx(pixels) * lit + blank).reshape(-1, 1, side, side)
        for layer, K, shift in folded:
            if layer.covers_all:
                a = _product(a, K, shift).apply("Relu")
                continue
            # Runtimes join these two; the largest of four numbers is the same before and behind.
            a = a.apply("Conv", K, shift, pads=(layer.padding,) * 4).apply("Relu")
            if layer.pool:
                a = a.apply("MaxPool", kernel_shape=(2, 2), strides=(2, 2))
        return _product(a, K_last, b).apply("Softmax", axis=1)

    def _folded(self, parameters: Parameters) -> list[tuple[_Layer, Array, Array]]:
        """Each layer with kernels (D, C, k, k) and shifts (D,), batch normalization in them."""
        *normalized, last = self._layers(len(parameters["lit"]), len(parameters["b"]))
        folded = []
        for n, layer in enumerate(normalized, start=1):
            p = {
                name: parameters[f"{name}{n}"].astype(np.float64)
                for name in ("K", "gamma", "beta", "mean", "variance")
            }
            scale = p["gamma"] / np.sqrt(p["variance"] + spatial.EPSILON)
            K = (p["K"] * scale[:, None, None, None]).astype(np.float32)
            folded.append((layer, K, (p["beta"] - p["mean"] * scale).astype(np.float32)))
        K, b = parameters[f"K{len(normalized) + 1}"], parameters["b"]
        return [*folded, (last, K.astype(np.float32), b.astype(np.float32))]


def _inputs(parameters: Parameters, normalizer: FittedNormalizer) -> tuple[Array, Array]:
    """(lit, blank), (pixels,) each: x·lit + blank is x, and blank where nothing was ever lit."""
    lit = np.array(parameters["lit"], np.float32)
    return lit, (1 - lit) * normalizer.transform(np.zeros((1, len(lit)), np.uint8))[0]


def _product(a: Value, K: Array, b: Array) -> Value:
    """(N, D) of images (N, C, k, k): kernels K (D, C, k, k) over all of each, and b (D,)."""
    return a.apply("Flatten", axis=1).apply("Gemm", K.reshape(len(K), -1), b, transB=1)


def _image(x: Array, padding: int) -> Array:
    """(N, pixels) as (H, 1, W, N) within a border of zeros."""
    N, side = len(x), math.isqrt(x.shape[1])
    a = spatial.padded(side, 1, side, N, padding, like=x)
    spatial.interior(a, padding)[...] = x.T.reshape(side, 1, side, N)
    return a


def _correlate(a: Array, K: Array) -> Array:
    return spatial.correlate(spatial.spread(a, K.shape[3]), K, a.shape[3])
