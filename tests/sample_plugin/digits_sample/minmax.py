"""A normalizer: the darkest and the brightest value of the training rows become 0 and 1."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.errors import DataError
from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.normalize import Normalizer
from mnist_pipeline.plugins import option


@dataclasses.dataclass(frozen=True)
class MinMax(Normalizer):
    """x = low + (high − low) · (p − min) / (max − min), min and max over all training rows."""

    low: float = option(0.0, "what the smallest value becomes")
    high: float = option(1.0, "what the largest value becomes")

    def fit(self, blocks: Iterable[NDArray[np.uint8]]) -> dict[str, Any]:
        ranges = [(int(b.min()), int(b.max()), b.shape[1]) for b in blocks if len(b)]
        if not ranges:
            raise DataError("there are no training rows to fit minmax on", remedy="add data")
        lowest, highest, pixels = zip(*ranges, strict=True)
        return {"min": min(lowest), "max": max(highest), "pixels": pixels[0]}

    def transform(
        self, state: Mapping[str, Any], images: NDArray[np.uint8], out: Array | None = None
    ) -> Array:
        scale, shift = self._line(state)
        x: Array = np.empty(images.shape, np.float32) if out is None else out
        np.copyto(x, images)
        x *= scale
        x += shift
        return x

    def affine(
        self, state: Mapping[str, Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        scale, shift = self._line(state)
        return np.full(state["pixels"], scale), np.full(state["pixels"], shift)

    def _line(self, state: Mapping[str, Any]) -> tuple[float, float]:
        scale = (self.high - self.low) / max(state["max"] - state["min"], 1)
        return scale, self.low - state["min"] * scale
