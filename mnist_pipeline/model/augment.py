"""Augmentation: every image is bent a little, in another way each time it is trained on.

Rotation, scale, shear and shift, and the elastic distortion of Simard, Steinkraus & Platt 2003
("Best practices for convolutional neural networks applied to visual document analysis"). Where an
output pixel takes its ink from is a linear function of a few random numbers, so the positions of a
whole batch are one matrix product. Shapes: B images of P = height · width pixels.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.errors import ConfigError
from mnist_pipeline.model.arrays import Array
from mnist_pipeline.plugins import option

_ONE = 256
"""A pixel in fixed point: positions and weights are whole 256ths, so interpolation is exact."""

_FAINTEST = 0.05
"""Waves of the elastic field weaker than this, against a constant one, are left out."""

_MOST = {"rotation": 180, "scale": 1, "shear": 1, "shift": 28, "elastic": 10, "smoothness": 100}

_AT_ONCE = 16
"""Images interpolated together: what they need stays in the CPU's cache."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far images are bent while training; all 0, the default, leaves them as they are."""

    rotation: float = option(0.0, "degrees an image is turned at most, either way")
    scale: float = option(0.0, "logarithm of the most that width and height grow or shrink by")
    shear: float = option(0.0, "pixels a row moves aside at most, for each row from the middle")
    shift: float = option(0.0, "pixels an image is moved at most, in each direction")
    elastic: float = option(0.0, "pixels a part is displaced in each direction (root mean square)")
    smoothness: float = option(5.0, "pixels over which elastic displacements are alike (sigma)")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, most = getattr(self, field.name), _MOST[field.name]
            if not 0 <= value <= most or (field.name == "smoothness" and value == 0):
                raise ConfigError(
                    f"{field.name} cannot be {value!r}",
                    key=f"train.augment.{field.name}",
                    expected=f"a number from 0 to {most:g}",
                    remedy=f"give train.augment.{field.name} a value in that range",
                )

    def __bool__(self) -> bool:
        """Whether anything is bent at all."""
        return any((self.rotation, self.scale, self.shear, self.shift, self.elastic))


class Distorter:
    """Bends batches of images of one size.

    Args:
        augmentation: how far.
        shape: (height, width) of an image.
        rows: images in the largest batch.
        rng: draws how each image is bent.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        shape: tuple[int, int],
        rows: int,
        rng: np.random.Generator,
    ) -> None:
        self._augmentation, self._rng = augmentation, rng
        self._height, self._width = height, width = shape
        y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
        affine = np.stack([np.ones(shape), *np.broadcast_arrays(x, y[:, None])])
        waves = _waves(shape, augmentation.smoothness) * augmentation.elastic
        basis = np.concatenate([affine, waves if augmentation.elastic else waves[:0]])
        self._basis: Array = np.ascontiguousarray(basis.reshape(len(basis), -1) * _ONE, np.float32)
        self._coefficients: Array = np.zeros((2, rows, len(basis)), np.float32)
        self._position: Array = np.empty((2, rows, height * width), np.float32)
        # Cell (i + 1, j + 1) holds the four pixels around a position between rows i and i + 1 and
        # columns j and j + 1, a byte each; outside the image they are 0.
        self._cells = np.zeros((_AT_ONCE, height + 2, width + 2, 4), np.uint8)
        first = np.arange(_AT_ONCE) * (height + 2) * (width + 2)
        self._first = first.reshape(-1, 1).astype(np.int32)

    def __call__(self, images: NDArray[np.uint8], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bend `images`, (B, P) uint8, into `out`, of the same shape, which is returned."""
        count = len(images)
        coefficients = self._coefficients[:, :count]
        self._draw(coefficients)
        position = self._position[:, :count]
        np.matmul(coefficients, self._basis, out=position)
        for axis, size in enumerate((self._height, self._width)):
            # Beyond a pixel outside there is nothing but background; cells begin at -1.
            position[axis] += ((size - 1) / 2 + 1) * _ONE
            np.clip(position[axis], 0, (size + 1) * _ONE, out=position[axis])
        for start in range(0, count, _AT_ONCE):
            block = slice(start, min(start + _AT_ONCE, count))
            self._interpolate(images[block], position[:, block], out[block])
        return out

    def _draw(self, coefficients: Array) -> None:
        """Random coefficients (2, B, K): of y and x, for 1, x, y and the waves of the basis.

        A position p is taken to A·p + shift + waves, A = rotation · shear · scale.
        """
        how, rng, count = self._augmentation, self._rng, coefficients.shape[1]

        def uniform(most: float) -> NDArray[np.float64]:
            return rng.uniform(-most, most, (count,))

        turn = uniform(math.radians(how.rotation))
        wide, high = np.exp(uniform(how.scale)), np.exp(uniform(how.scale))
        shear = uniform(how.shear)
        cos, sin = np.cos(turn), np.sin(turn)
        of_y, of_x = coefficients
        of_y[:, 0], of_x[:, 0] = uniform(how.shift), uniform(how.shift)
        of_x[:, 1], of_x[:, 2] = cos * wide, (cos * shear - sin) * high
        of_y[:, 1], of_y[:, 2] = sin * wide, (sin * shear + cos) * high
        if coefficients.shape[2] > 3:
            coefficients[:, :, 3:] = rng.standard_normal(
                (2, count, coefficients.shape[2] - 3), np.float32
            )

    def _interpolate(
        self, images: NDArray[np.uint8], position: Array, out: NDArray[np.uint8]
    ) -> None:
        """Bilinear: the four pixels around each position, weighted by their nearness."""
        count, height, width = len(images), self._height, self._width
        picture = images.reshape(count, height, width)
        cells = self._cells[:count]
        cells[:, 1:-1, 1:-1, 0] = picture
        cells[:, 1:-1, :-2, 1] = picture
        cells[:, :-2, 1:-1, 2] = picture
        cells[:, :-2, :-2, 3] = picture
        y, x = position[0].astype(np.int32), position[1].astype(np.int32)
        where = (y >> 8) * np.int32(width + 2)
        where += x >> 8
        where += self._first[:count]
        y &= _ONE - 1
        x &= _ONE - 1
        four = cells.reshape(-1).view("<u4").take(where, mode="clip").view(np.int32)
        # Two sums at once in the halves of a number: left and right of the upper and lower pair.
        left, right = four & 0x00FF00FF, (four >> 8) & 0x00FF00FF
        pair = (left << 8) + (right - left) * x
        upper, lower = pair & 0xFFFF, (pair >> 16) & 0xFFFF
        ink = (upper << 8) + (lower - upper) * y
        ink += 1 << 15
        ink >>= 16
        np.copyto(out, ink.reshape(out.shape), casting="unsafe")


def _waves(shape: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    """Cosines over the image, (K, height, width): random sums of them are smooth random fields.

    White noise smoothed by a Gaussian of `sigma` has the amplitude exp(-σ²ω²/2) at frequency ω,
    ω = π·k/n for the k-th cosine of n pixels. Scaled so that coefficients of variance 1 give
    displacements with a root mean square of 1; without the constant one, which is a shift.
    """
    axes, waves = [], []
    for n in shape:
        k: NDArray[np.intp] = np.arange(n)
        amplitude = np.exp(-0.5 * (sigma * math.pi * k / n) ** 2)
        axes.append(amplitude[:, None] * np.cos(math.pi * k[:, None] * (np.arange(n) + 0.5) / n))
    for row, vertical in enumerate(axes[0]):
        for column, horizontal in enumerate(axes[1]):
            wave = np.outer(vertical, horizontal)
            if row + column and np.abs(wave).max() > _FAINTEST:
                waves.append(wave)
    if not waves:  # smoother than the image is large
        waves = [np.outer(axes[0][1], axes[1][0]), np.outer(axes[0][0], axes[1][1])]
    field: NDArray[np.float64] = np.stack(waves)
    return field / math.sqrt((field**2).sum(axis=0).mean())
