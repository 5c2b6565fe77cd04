"""The one road from images to probabilities, the same bits for an image wherever it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.errors import DataError
from mnist_pipeline.guard import BrokenPluginError, calling
from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.graph import Value
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.threads import single_threaded_blas
from mnist_pipeline.plugins import PluginInfo

BATCH = 304
EDGE = 8
"""Images a predictor computes at a time, and rows left empty before and after them.

BLAS works in tiles, and some of its kernels (OpenBLAS for Haswell and Zen) sum in another order in
the first and last tile of a panel. With images only between them, in one panel (320 rows), and the
rows as the last axis of each product, an image gives the same bits at every place. It costs 5 %,
and less than it saves: blocks of this size stay in cache.
"""

VIEWS = (1, 5, 9)
MOVES = ((0, 0), (-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""Pixels down and to the right: as it is, the four neighbours, the four corners."""


class Predictor:
    """A network ready to read images: uint8 (N, pixels) → probabilities float32 (N, classes).

    An image gives the same bits alone, among others, and wherever it stands: every product has
    the same shape whatever N is, since BLAS sums in another order in another shape. The last block
    is filled up with zeros. One predictor may be called from several threads.

    Args:
        network: from (rows, pixels) float32, always as many rows and in either order in memory,
            to probabilities (rows, classes), row by row.
        pixels: pixels an image.
        classes: probabilities a row.
        normalizer: makes the network's input; None if it is folded into the network, which is
            then given the pixels' values 0 … 255 themselves.
        seen: the pixels that a network without normalizer is given, in order; None for all.
        batch_size: images a block; the network sees `2 * EDGE` rows more.
    """

    def __init__(
        self,
        network: Callable[[Array], Array],
        *,
        pixels: int,
        classes: int,
        normalizer: FittedNormalizer | None = None,
        seen: NDArray[np.intp] | None = None,
        batch_size: int = BATCH,
    ) -> None:
        self.pixels, self.classes, self.batch_size = pixels, classes, batch_size
        self._network = network
        self._normalizer = normalizer
        self._seen = np.arange(pixels) if seen is None else seen

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of (N, pixels) uint8 images, N ≥ 0, of any memory layout.

        Raises:
            DataError: the images have another shape or type.
        """
        self._check(images)
        probabilities = np.empty((len(images), self.classes), np.float32)
        rows = self.batch_size + 2 * EDGE
        if self._normalizer is None:  # pixels first, as the products want them: see networks
            x = np.zeros((len(self._seen), rows), np.float32).T
        else:
            x = np.zeros((rows, self.pixels), np.float32)
        inner = x[EDGE:-EDGE]
        with single_threaded_blas():
            for start in range(0, len(images), self.batch_size):
                block = images[start : start + self.batch_size]
                n = len(block)
                if n < self.batch_size:
                    block = np.concatenate(
                        [block, np.zeros((self.batch_size - n, self.pixels), np.uint8)]
                    )
                if self._normalizer is None:
                    np.copyto(inner.T, block.T[self._seen])
                else:
                    self._normalizer.transform(block, inner)
                probabilities[start : start + n] = self._network(x)[EDGE : EDGE + n]
        return probabilities

    def _check(self, images: NDArray[np.uint8]) -> None:
        if images.dtype != np.uint8 or images.shape[1:] != (self.pixels,):
            raise DataError(
                "the images do not fit the model",
                expected=f"uint8 (N, {self.pixels})",
                found=f"{images.dtype} {images.shape}",
                remedy="give uint8 pixels, 0 = background to 255 = ink, one row an image",
            )


class Averaged(Predictor):
    """Several predictors of the same images as one: the mean of their probabilities.

    Added up in their order, number by number, so an image's bits still depend on nothing else.
    """

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        first = predictors[0]
        self.pixels, self.classes, self.batch_size = first.pixels, first.classes, first.batch_size
        self._predictors = predictors

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        first, *others = self._predictors
        probabilities = first(images)
        for predictor in others:
            probabilities += predictor(images)
        probabilities /= len(self._predictors)
        return probabilities


class Watched(Predictor):
    """The predictor of another package's model: what goes wrong in it goes by that name."""

    def __init__(self, predictor: Predictor, info: PluginInfo) -> None:
        self.pixels, self.classes = predictor.pixels, predictor.classes
        self.batch_size = predictor.batch_size
        self._predictor, self._info = predictor, info

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with calling(self._info):
            probabilities = self._predictor(images)
            wanted = (len(images), self.classes), np.float32
            if (np.shape(probabilities), getattr(probabilities, "dtype", None)) != wanted:
                flaw = f"a predictor answers {len(images)} images with {np.shape(probabilities)}"
                raise BrokenPluginError.breach(self._info, flaw)
            return probabilities


class Shifted(Predictor):
    """A predictor that looks at every image several times: as it is, and moved by one pixel.

    The mean of the probabilities (test-time augmentation; Krizhevsky et al. 2012, §4.1, average
    over crops). `views` views cost `views` times as much.

    Args:
        predictor: what looks.
        views: how often, one of `VIEWS`.
        shape: (height, width) of an image.
    """

    def __init__(self, predictor: Predictor, views: int, shape: tuple[int, int]) -> None:
        self.pixels, self.classes = predictor.pixels, predictor.classes
        self.batch_size = predictor.batch_size
        self._predictor, self._shape = predictor, shape
        self._moves = MOVES[:views]

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._check(images)
        N, (height, width) = len(images), self._shape
        framed = np.zeros((N, height + 2, width + 2), np.uint8)
        framed[:, 1:-1, 1:-1] = images.reshape(N, height, width)
        probabilities = np.zeros((N, self.classes), np.float32)
        for down, right in self._moves:
            rows, columns = slice(1 - down, 1 - down + height), slice(1 - right, 1 - right + width)
            probabilities += self._predictor(framed[:, rows, columns].reshape(N, self.pixels))
        probabilities /= len(self._moves)
        return probabilities


def moved(images: Value, views: int, shape: tuple[int, int]) -> Value:
    """The views of (N, pixels) images in a graph: all first ones, then all second."""
    height, width = shape
    framed = images.reshape(-1, height, width).padded(0, 1, 1, 0, 1, 1)
    first, *others = (
        framed.cut((1 - down, 1 - right), (1 - down + height, 1 - right + width), (1, 2)).reshape(
            -1, height * width
        )
        for down, right in MOVES[:views]
    )
    return first.apply("Concat", *others, axis=0)
