"""Batches of training rows: drawn, gathered and normalized into the same buffers every time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.normalize import FittedNormalizer

Images = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]

BLOCK = 1024
"""Rows in flight: a larger batch comes in blocks of this size, which stay in cache."""

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
    ) -> None:
        self._images, self._labels = np.ascontiguousarray(images), labels
        self._normalizer, self._rng = normalizer, rng
        rows, pixels = images.shape
        self.rows = rows
        self.batch_size = min(batch_size or rows, rows)
        self.steps_per_epoch = math.ceil(rows / self.batch_size)
        self._order: NDArray[np.intp] | None = None
        block = min(self.batch_size, BLOCK)
        self._raw = np.empty((block, pixels), np.uint8)
        self._x: Array = np.empty((block, pixels), dtype)

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
            x = self._normalizer.transform(raw, self._x[: end - begin])
            yield (end - begin) / (stop - start), x, labels

    def lit(self, steps: int) -> NDArray[np.bool_]:
        """(pixels,): which inputs were not those of a blank image in a row of `steps` batches.

        Input i is pixel i where the normalizer is affine; others may move pixels about.
        """
        seen = self._images
        if steps < self.steps_per_epoch and self._order is not None:
            seen = seen[self._order[: steps * self.batch_size]]
        lit: NDArray[np.bool_]
        if self._normalizer.affine() is not None:
            lit = np.bitwise_or.reduce(seen, axis=0) > 0
            return lit
        blank = self._normalizer.transform(np.zeros_like(seen[:1]))
        lit = np.zeros(seen.shape[1], np.bool_)
        for start in range(0, len(seen), BLOCK):
            lit |= (self._normalizer.transform(seen[start : start + BLOCK]) != blank).any(axis=0)
        return lit
