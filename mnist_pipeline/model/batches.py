"""Batches of training rows: drawn, gathered, augmented and normalized into the same buffers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.normalize import FittedNormalizer

Images = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]

BLOCK = 1024
"""Rows in flight: a larger batch comes in blocks of this size, which stay in cache."""

Distort = Callable[[Images, Images], Images]
"""Bends images (b, pixels) into the second argument, of the same shape, and returns that."""

Block = tuple[float, Array, Labels]
"""The block's share of its batch's rows, its inputs (b, pixels), its labels (b,)."""


class Batches:
    """Batches without end: each epoch is every row once, in a new random order.

    A batch of all rows ("full batch") needs no order and is taken as the rows lie.

    Args:
        images: (N, pixels) uint8. They stay uint8, a quarter of the memory of float32: to cast the
            rows of a batch costs less than to fetch four times the bytes.
        labels: (N,) integers.
        normalizer: makes the inputs.
        batch_size: rows a batch, the last of an epoch may have fewer; 0 for all.
        rng: draws the orders.
        dtype: of the inputs.
        distort: bends the images of each batch; None leaves them as they are.
    """

    def __init__(
        self,
        images: Images,
        labels: Labels,
        normalizer: FittedNormalizer,
        *,
        batch_size: int,
        rng: np.random.Generator,
        dtype: DTypeLike,
        distort: Distort | None = None,
    ) -> None:
        self._images, self._labels = np.ascontiguousarray(images), labels
        self._distort = distort
        self._normalizer, self._rng = normalizer, rng
        rows, pixels = images.shape
        self.rows = rows
        self.batch_size = min(batch_size or rows, rows)
        self.steps_per_epoch = math.ceil(rows / self.batch_size)
        self._order: NDArray[np.intp] | None = None
        block = min(self.batch_size, BLOCK)
        self._raw = np.empty((block, pixels), np.uint8)
        self._bent = np.empty((block, pixels), np.uint8)
        self._x: Array = np.empty((block, pixels), dtype)
        self._affine = normalizer.affine() is not None
        blank = np.zeros((1, pixels), np.uint8)
        self._blank = normalizer.transform(blank, np.empty((1, pixels), dtype))
        self._lit = np.zeros(pixels, np.bool_)

    def __iter__(self) -> Iterator[Iterator[Block]]:
        """Each batch as its blocks. A block is overwritten by the next one."""
        while True:
            if self.steps_per_epoch > 1:
                self._order = self._rng.permutation(self.rows)
            for start in range(0, self.rows, self.batch_size):
                yield self._blocks(start, min(start + self.batch_size, self.rows))

    def _blocks(self, start: int, stop: int) -> Iterator[Block]:
        for begin in range(start, stop, BLOCK):
            end = min(begin + BLOCK, stop)
            if self._order is None:
                raw, labels = self._images[begin:end], self._labels[begin:end]
            else:
                rows = self._order[begin:end]
                # The default mode="raise" would gather into a second buffer first.
                raw = np.take(self._images, rows, axis=0, out=self._raw[: end - begin], mode="clip")
                labels = self._labels[rows]
            if self._distort:
                raw = self._distort(raw, self._bent[: end - begin])
            x = self._normalizer.transform(raw, self._x[: end - begin])
            if not self._affine:
                self._lit |= (x != self._blank).any(axis=0)
            elif self._distort:
                self._lit |= np.bitwise_or.reduce(raw, axis=0) > 0
            yield (end - begin) / (stop - start), x, labels

    def lit(self, steps: int) -> NDArray[np.bool_]:
        """(pixels,): which inputs were not a blank image's in a row of the first `steps` batches.

        Where the normalizer is affine, input i is pixel i; another may move pixels about.
        """
        if self._distort or not self._affine:
            return self._lit
        seen = self._images
        if steps < self.steps_per_epoch and self._order is not None:
            seen = seen[self._order[: steps * self.batch_size]]
        lit: NDArray[np.bool_] = np.bitwise_or.reduce(seen, axis=0) > 0
        return lit
