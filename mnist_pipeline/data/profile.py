"""The profile of a set of images: what they look like, in a few kilobytes.

It is taken from the training rows, shown in the report, and travels with the version: what comes in
later is compared with what was learned from. Every sum is one of whole numbers, so neither the
order of the rows nor their blocks can change a byte.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.refs import canonical_json

FORMAT = 1

INK_BINS = 100
"""Bins of equal width over ink in [0, 1]: one percent each."""

_BLOCK = 1024  # rows at once: as float32 they stay in the CPU's cache
_FRACTIONS = 64  # a centre is counted in so many parts of a pixel

Counts = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
    """What a set of images of C classes looks like.

    The ink of an image is its mean pixel divided by 255: 0 is blank, 1 is full. Its centre is the
    centre of mass of its ink; a blank image has none. Positions are (row, column), in pixels.

    Attributes:
        height, width: of an image.
        classes: names of the C classes.
        ink: (C, INK_BINS) images of each class by ink.
        pixels: (256,) pixels of all images by value.
        mean_images: (C, height · width) uint8, the average image of each class.
        lit: (height · width,) whether the pixel is above 0 in any image.
        centre: the mean of the images' centres.
        spread: their standard deviation.
    """

    height: int
    width: int
    classes: tuple[str, ...]
    ink: Counts
    pixels: Counts
    mean_images: NDArray[np.uint8]
    lit: NDArray[np.bool_]
    centre: tuple[float, float]
    spread: tuple[float, float]

    @property
    def n(self) -> int:
        """How many images there are."""
        return int(self.ink.sum())

    @property
    def class_counts(self) -> Counts:
        """(C,) images of each class."""
        counts: Counts = self.ink.sum(axis=1)
        return counts

    def ink_quantile(self, share: float, label: int | None = None) -> float | None:
        """The ink that `share` of the images (of one class) stay below; None if there are none.

        Inside a bin the images count as evenly spread.
        """
        counts = self.ink.sum(axis=0) if label is None else self.ink[label]
        below = np.cumsum(counts)
        wanted = share * below[-1]
        if below[-1] == 0:
            return None
        # The first bin that reaches it and has images: share = 0 would stop at an empty one.
        at = int(np.flatnonzero((below >= wanted) & (counts > 0))[0])
        return (at + 1 - float(below[at] - wanted) / float(counts[at])) / INK_BINS

    def to_bytes(self) -> bytes:
        """`profile.json`: the same images give the same bytes, whatever their order."""
        classes = [
            {"name": name, "n": sum(ink), "ink": ink, "mean_image": _base64(mean)}
            for name, ink, mean in zip(
                self.classes, self.ink.tolist(), self.mean_images, strict=True
            )
        ]
        return canonical_json(
            {
                "format": FORMAT,
                "n": self.n,
                "height": self.height,
                "width": self.width,
                "classes": classes,
                "pixels": self.pixels.tolist(),
                "lit": _base64(np.packbits(self.lit)),
                "centre": list(self.centre),
                "spread": list(self.spread),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Profile:
        """What `to_bytes` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is damaged, or of a format of the future.
        """
        fields = json.loads(data)
        if fields["format"] != FORMAT:
            raise ValueError(f"format {fields['format']} is not known")
        height, width, classes = fields["height"], fields["width"], fields["classes"]
        means = [_bytes(entry["mean_image"]) for entry in classes]
        (row, column), (row_spread, column_spread) = fields["centre"], fields["spread"]
        return cls(
            height=height,
            width=width,
            classes=tuple(entry["name"] for entry in classes),
            ink=np.array([entry["ink"] for entry in classes], np.int64).reshape(-1, INK_BINS),
            pixels=np.array(fields["pixels"], np.int64),
            mean_images=np.array(means, np.uint8).reshape(-1, height * width),
            lit=np.unpackbits(_bytes(fields["lit"]), count=height * width).astype(np.bool_),
            centre=(row, column),
            spread=(row_spread, column_spread),
        )


class Profiler:
    """Takes a profile in one pass: `add` blocks of rows, then ask for the `profile`.

    Args:
        contract: what an image is.
    """

    def __init__(self, contract: ImageContract) -> None:
        self._contract = contract
        pixels, C = contract.pixels, len(contract.classes)
        rows, columns = np.indices((contract.height, contract.width)).reshape(2, -1)
        moments = np.stack([np.ones(pixels), rows, columns], axis=1)
        # Matrix products do the sums. They are exact in float32 as long as all are whole numbers
        # below 2²⁴: a moment is largest in an image that is full of ink.
        exact = 255 * max(float(moments.sum(axis=0).max()), _BLOCK) < 2**24
        self._dtype: type[np.floating[Any]] = np.float32 if exact else np.float64
        self._moments = moments.astype(self._dtype)  # (pixels, 3): mass, mass · row, mass · column
        self._ink = np.zeros((C, INK_BINS), np.int64)
        self._pixels = np.zeros(256, np.int64)
        self._sums = np.zeros((C, pixels), np.int64)
        self._highest = np.zeros(pixels, np.uint8)
        # Of the centres of images that are not blank, as Python's integers.
        self._centred = 0
        self._first, self._second = [0, 0], [0, 0]

    def add(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Counts rows in: images (N, pixels), labels (N,)."""
        for start in range(0, len(images), _BLOCK):
            self._add(images[start : start + _BLOCK], labels[start : start + _BLOCK])

    def _add(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        # Four of five pixels of a digit are 0: to leave those out halves the cost of counting.
        inked = images[images > 0]
        self._pixels += np.bincount(inked, minlength=256)
        self._pixels[0] += images.size - len(inked)
        np.maximum(self._highest, images.max(axis=0), out=self._highest)

        x = images.astype(self._dtype)
        members = np.zeros((len(self._ink), len(x)), self._dtype)
        members[labels, np.arange(len(x))] = 1
        self._sums += (members @ x).astype(np.int64)

        mass, *moments = (x @ self._moments).astype(np.int64).T
        bins = np.minimum(mass * INK_BINS // (255 * images.shape[1]), INK_BINS - 1)
        np.add.at(self._ink, (labels, bins), 1)
        some = mass > 0
        self._centred += int(some.sum())
        for axis, moment in enumerate(moments):
            centre = _nearest(_FRACTIONS * moment[some], mass[some])
            self._first[axis] += int(centre.sum())
            self._second[axis] += int((centre * centre).sum())

    def profile(self) -> Profile:
        """The profile of all rows so far."""
        counts = np.maximum(self._ink.sum(axis=1, keepdims=True), 1)
        means = _nearest(self._sums, counts)
        n = max(self._centred, 1)
        (row, row_square), (column, column_square) = zip(self._first, self._second, strict=True)
        return Profile(
            height=self._contract.height,
            width=self._contract.width,
            classes=tuple(self._contract.classes),
            ink=self._ink.copy(),
            pixels=self._pixels.copy(),
            mean_images=means.astype(np.uint8),
            lit=self._highest > 0,
            centre=(row / (n * _FRACTIONS), column / (n * _FRACTIONS)),
            spread=(_deviation(row, row_square, n), _deviation(column, column_square, n)),
        )


def _nearest(numerator: Counts, denominator: Counts) -> Counts:
    """The whole numbers nearest to the quotients of whole numbers: ⌊a / b + ½⌋."""
    return (2 * numerator + denominator) // (2 * denominator)


def _deviation(first: int, second: int, n: int) -> float:
    """σ in pixels from sums of fractions c and c²: σ² = E[c²] − E[c]² = (n·Σc² − (Σc)²) / n²."""
    return math.sqrt(n * second - first * first) / (n * _FRACTIONS)


def _base64(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
