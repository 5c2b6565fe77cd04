"""Named arrays, and how they lie in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.floating[Any]]
"""Network inputs, activations, weights: float32; float64 only where a test checks the calculus."""

CHUNK = 131_072
"""Numbers that a long operation works on at a time: what it needs of them stays in cache."""

Parameters = dict[str, Array]
"""A network's numbers by name, in a fixed order: `W1`, `b1`, `W2`, `b2`, …"""


LINE = 64
"""Bytes of a cache line. A vector instruction whose numbers lie in two lines takes longer."""


def aligned_zeros(n: int, dtype: DTypeLike) -> Array:
    """(n,) zeros that begin with a cache line."""
    size = n * np.dtype(dtype).itemsize
    memory = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    numbers: Array = memory[start : start + size].view(dtype)
    return numbers


class FlatArrays:
    """Named arrays that are views of one flat buffer: all matrices first, then all vectors.

    An update is then a few long vector operations whatever the network's depth, and weight decay,
    which concerns matrices only, is a prefix.

    Attributes:
        buffer: (n,), every number once.
        views: name → array, in the order given.
        matrices: how many of the n belong to arrays of two or more dimensions.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: DTypeLike) -> None:
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        self.matrices = sum(sizes[name] for name, shape in shapes.items() if len(shape) >= 2)
        self.buffer: Array = aligned_zeros(sum(sizes.values()), dtype)
        offsets = {}
        end = 0
        for name in sorted(shapes, key=lambda name: len(shapes[name]) < 2):
            offsets[name] = end
            end += sizes[name]
        self.views: Parameters = {
            name: self.buffer[offsets[name] : offsets[name] + sizes[name]].reshape(shape)
            for name, shape in shapes.items()
        }

    @classmethod
    def of(cls, arrays: Mapping[str, Array], dtype: DTypeLike) -> FlatArrays:
        """A flat copy of named arrays."""
        flat = cls({name: array.shape for name, array in arrays.items()}, dtype)
        for name, array in arrays.items():
            flat.views[name][...] = array
        return flat

    def copy(self) -> FlatArrays:
        """The same numbers once more."""
        flat = self.zeros_like()
        flat.buffer[...] = self.buffer
        return flat

    def towards(self, other: FlatArrays, share: float) -> None:
        """Moves every number by a share of its distance to the one in `other`."""
        for start in range(0, self.buffer.size, CHUNK):
            mine, theirs = self.buffer[start : start + CHUNK], other.buffer[start : start + CHUNK]
            mine += share * (theirs - mine)

    def zeros_like(self) -> FlatArrays:
        """Zeros of the same names, shapes and dtype."""
        shapes = {name: view.shape for name, view in self.views.items()}
        return FlatArrays(shapes, self.buffer.dtype)
