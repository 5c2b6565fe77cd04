"""Deskew: handwriting leans; each image is sheared upright before the network sees it.

LeCun, Bottou, Bengio, Haffner 1998, §III.A: "the deslanting computes the second moments of inertia
of the pixels, and shears the image by horizontally shifting the lines so that the principal axis
is vertical". The central moments are those of Hu 1962, eq. 7.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mnist_pipeline.errors import DataError
from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.graph import Value
from mnist_pipeline.model.normalize import Normalizer, Scale, Standardize
from mnist_pipeline.plugins import option

STEEPEST = 1.0
"""The largest shear, columns a row (45°); of MNIST's 60,000 training images 92 lean further."""

ROWS = 1024
"""Images straightened at a time: what lies between input and output then stays in cache."""


@dataclasses.dataclass(frozen=True)
class Deskew(Normalizer):
    """Each image sheared upright by its moments, then `scale` or `standardize`."""

    values: Literal["scale", "standardize"] = option(
        "scale", "what becomes of the straightened pixels: scale, standardize"
    )

    def fit(self, blocks: Iterable[NDArray[np.uint8]]) -> dict[str, Any]:
        return self._values().fit(straighten(block) for block in blocks)

    def transform(
        self, state: Mapping[str, Any], images: NDArray[np.uint8], out: Array | None = None
    ) -> Array:
        return self._values().transform(state, straighten(images), out)

    def to_onnx(self, state: Mapping[str, Any], pixels: Value) -> Value:
        upright = _straightened(pixels, math.isqrt(state["pixels"]))
        return self._values().to_onnx(state, upright)

    def _values(self) -> Normalizer:
        return Scale() if self.values == "scale" else Standardize()


def straighten(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images without their slant, (B, pixels) uint8, each from itself alone, to the last bit.

    Raises:
        DataError: the images are not square.
    """
    side = math.isqrt(images.shape[1])
    if side * side != images.shape[1]:
        raise DataError(
            "deskew needs square images",
            pixels=images.shape[1],
            remedy="use the normalizer scale or standardize",
        )
    upright = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), ROWS):
        block = images[start : start + ROWS]
        upright[start : start + ROWS] = _shift_lines(block, _shifts(block, side), side)
    return upright


def _shifts(images: NDArray[np.uint8], side: int) -> NDArray[np.intp]:
    """How far each line is to move to the left, (B, side), in 1/256 of a column.

    α = μ₁₁ / μ₀₂, the shear that makes μ₁₁ vanish, so that the principal axis is vertical; the line
    y moves by α·(y − ȳ). With the raw moments m_pq = Σ xᵖ·y𐞥·pixel

        μ₁₁ = m₁₁ − m₁₀·m₀₁/m₀₀;   μ₀₂ = m₀₂ − m₀₁²/m₀₀;   ȳ = m₀₁/m₀₀

    An image without height (blank, a pixel, a line) has μ₀₂ = 0, exactly, and stays as it is.
    """
    # Sums of integers without rounding: the same bits in whatever order BLAS takes them.
    weights = _monomials(side)
    m00, m10, m01, m11, m02 = (images.astype(weights.dtype) @ weights).T.astype(np.float64)
    height = m00 * m02 - m01 * m01  # m₀₀·μ₀₂
    alpha = np.divide(m00 * m11 - m10 * m01, height, out=np.zeros(len(images)), where=height > 0)
    np.clip(alpha, -STEEPEST, STEEPEST, out=alpha)
    y = np.arange(side) - side // 2 - (m01 / np.maximum(m00, 1))[:, np.newaxis]
    shifts: NDArray[np.intp] = np.rint(256 * alpha[:, np.newaxis] * y).astype(np.intp)
    return shifts


@functools.cache
def _monomials(side: int) -> Array:
    """1, x, y, xy, y² at each pixel, (side², 5), from the image's middle.

    float32 where every sum over uint8 pixels is below 2²⁴ and therefore exact, as at 28×28.
    """
    from_middle = np.arange(side) - side // 2
    y, x = np.repeat(from_middle, side), np.tile(from_middle, side)
    columns = np.stack([np.ones_like(x), x, y, x * y, y * y], axis=1)
    largest = 255 * int(np.abs(columns).sum(axis=0).max())
    return columns.astype(np.float32 if largest < 2**24 else np.float64)


def _shift_lines(
    images: NDArray[np.uint8], shifts: NDArray[np.intp], side: int
) -> NDArray[np.uint8]:
    """Line y of image i moved left by shifts[i, y] / 256, |shifts| < 256·side; dark moves in.

    A line moves as a whole, so bilinear interpolation is linear along it: between the line moved
    by k whole columns and the same moved by k + 1.
    """
    lines = images.reshape(-1, side)
    # As many dark pixels before each line as it has, and those of the next line after it.
    padded = np.zeros((len(lines) + 1, 2 * side), np.uint8)
    padded[:-1, side:] = lines
    whole, part = shifts.ravel() >> 8, (shifts.reshape(-1, 1) & 255).astype(np.uint16)
    starts = np.arange(len(lines)) * (2 * side) + side + whole
    window = sliding_window_view(padded.ravel(), side + 1)[starts]
    moved = window[:, :-1] * (256 - part)  # at most 255·256, so 16 bits hold all of it
    moved += window[:, 1:] * part
    moved += 128
    moved >>= 8
    return moved.astype(np.uint8).reshape(images.shape)


def _straightened(pixels: Value, side: int) -> Value:
    """What `straighten` does, in a graph, to the last bit: (N, side²) float32, 0 … 255.

    Every number but α·y is a whole one, or 2⁻⁸ of one, that its type holds exactly, and α and y
    come about as in `_shifts`, in float64: so it matters neither who sums, nor in what order.
    """
    # From the moments to how far each line is to move: see `_shifts`.
    weights = _monomials(side)
    moments = pixels.cast(weights.dtype).apply("MatMul", weights).cast(np.float64)
    m00, m10, m01, m11, m02 = (moments.cut((n,), (n + 1,), (1,)) for n in range(5))  # (N, 1) each
    one = np.ones(1)
    # Without height the moments above the line are 0 too, exactly.
    alpha = (m00 * m11 - m10 * m01) / (m00 * m02 - m01 * m01).apply("Max", one)
    alpha = alpha.apply("Clip", np.float64(-STEEPEST), np.float64(STEEPEST))
    y = np.arange(side, dtype=np.float64) - side // 2 - m01 / m00.apply("Max", one)
    shifts = (alpha * np.float64(256) * y).apply("Round")  # (N, side)
    whole = (shifts / np.float64(256)).apply("Floor")
    part = (shifts - whole * np.float64(256)).cast(np.float32).reshape(-1, side, 1)
    # From there to moved lines: see `_shift_lines`. A dark column at each side stands for all.
    columns = whole.cast(np.int64).reshape(-1, side, 1) + np.arange(1, side + 2)
    columns = columns.apply("Clip", np.int64(0), np.int64(side + 1))
    padded = pixels.reshape(-1, side, side).padded(0, 0, 1, 0, 0, 1)
    window = padded.apply("GatherElements", columns, axis=2)  # (N, side, side + 1)
    left, right = (window.cut((n,), (n + side,), (2,)) for n in (0, 1))
    moved = left * (np.float32(256) - part) + right * part + np.float32(128)
    return (moved / np.float32(256)).apply("Floor").reshape(-1, side * side)
