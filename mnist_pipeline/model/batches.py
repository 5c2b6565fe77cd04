"""Batches of training rows: drawn, gathered, augmented and normalized into the same buffers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.normalize import FittedNormalizer

Images = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]
Rows = NDArray[np.intp]

BLOCK = 1024
"""Rows in flight: a larger share of a batch comes in blocks of this size, which stay in cache."""

Distort = Callable[[Images, Images], Images]
"""Bends images (b, pixels) into the second argument, of the same shape, and returns that."""

Block = tuple[Array, Labels]
"""The inputs of some rows, (b, pixels), and their labels, (b,)."""


class Order:
    """Which rows each step sees: every epoch is each row once, in a new random order.

    A batch of all rows ("full batch") needs no order and is taken as the rows lie.

    Args:
        rows: how many there are.
        batch_size: rows a batch, the last of an epoch may have fewer; 0 for all.
        rng: draws the orders.

    Attributes:
        rng: the generator.
        batch_size, steps_per_epoch: as they come out for these rows.
        current: (rows,) the order of this epoch; None for full batches.
    """

    def __init__(self, rows: int, batch_size: int, rng: np.random.Generator) -> None:
        self.rows = rows
        self.batch_size = min(batch_size or rows, rows)
        self.steps_per_epoch = math.ceil(rows / self.batch_size)
        self.current: Rows | None = None
        self.rng = rng

    def batch(self, step: int) -> Rows | slice:
        """The rows of a step, counted from 1; steps are asked for one after the other."""
        if self.steps_per_epoch == 1:
            return slice(0, self.rows)
        position = (step - 1) % self.steps_per_epoch
        if position == 0:
            self.current = self.rng.permutation(self.rows)
        assert self.current is not None
        return self.current[position * self.batch_size : (position + 1) * self.batch_size]

    def seen(self, steps: int) -> Rows | slice:
        """The rows of the first `steps` batches."""
        if steps < self.steps_per_epoch and self.current is not None:
            return self.current[: steps * self.batch_size]
        return slice(0, self.rows)


class Loader:
    """Makes inputs of rows, block by block.

    Args:
        images: (N, pixels) uint8. They stay uint8, a quarter of the memory of float32: to cast the
            rows of a batch costs less than to fetch four times the bytes.
        labels: (N,) integers.
        normalizer: makes the inputs.
        dtype: of the inputs.
        block: rows of the largest block.
        distort: bends the images; None leaves them as they are.

    Attributes:
        lit: (pixels,), which inputs were not a blank image's in any row so far; only looked at
            where that is not plain from the images, see `notes_lit`.
    """

    def __init__(
        self,
        images: Images,
        labels: Labels,
        normalizer: FittedNormalizer,
        *,
        dtype: DTypeLike,
        block: int = BLOCK,
        distort: Distort | None = None,
    ) -> None:
        self._images, self._labels = images, labels
        self._normalizer, self._distort = normalizer, distort
        pixels = images.shape[1]
        self._block = block
        self._raw = np.empty((block, pixels), np.uint8)
        self._bent = np.empty((block, pixels), np.uint8)
        self._x: Array = np.empty((block, pixels), dtype)
        self._affine = normalizer.affine() is not None
        blank = np.zeros((1, pixels), np.uint8)
        self._blank = normalizer.transform(blank, np.empty((1, pixels), dtype))
        self.lit = np.zeros(pixels, np.bool_)

    def blocks(self, rows: Rows | slice) -> Iterator[Block]:
        """The rows as blocks. A block is overwritten by the next one."""
        count = size(rows)
        for begin in range(0, count, self._block):
            end = min(begin + self._block, count)
            if isinstance(rows, slice):
                part = slice(rows.start + begin, rows.start + end)
                raw, labels = self._images[part], self._labels[part]
            else:
                chosen = rows[begin:end]
                # The default mode="raise" would gather into a second buffer first.
                out = self._raw[: end - begin]
                raw = self._images.take(chosen, axis=0, out=out, mode="clip")
                labels = self._labels[chosen]
            if self._distort:
                raw = self._distort(raw, self._bent[: end - begin])
            x = self._normalizer.transform(raw, self._x[: end - begin])
            if not self._affine:
                self.lit |= (x != self._blank).any(axis=0)
            elif self._distort:
                self.lit |= np.bitwise_or.reduce(raw, axis=0) > 0
            yield x, labels

    @property
    def notes_lit(self) -> bool:
        """Whether `lit` is kept: where images are bent, or pixels moved by the normalizer."""
        return self._distort is not None or not self._affine


def size(rows: Rows | slice) -> int:
    """How many there are."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def halves(rows: Rows | slice, parts: int) -> list[Rows | slice]:
    """The rows in `parts` contiguous shares, as equal as can be, the larger ones first."""
    start = rows.start if isinstance(rows, slice) else 0
    bounds = [start + -(-size(rows) * part // parts) for part in range(parts + 1)]
    shares = [slice(low, high) for low, high in itertools.pairwise(bounds) if low < high]
    return list(shares) if isinstance(rows, slice) else [rows[share] for share in shares]
