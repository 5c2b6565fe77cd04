"""From pixels to network inputs: fit on training rows, stored as JSON, folded away in scoring."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline import plugins
from mnist_pipeline.errors import DataError
from mnist_pipeline.guard import BrokenPluginError, received
from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.graph import Value, not_exportable
from mnist_pipeline.plugins import PluginInfo

_ROWS_A_COUNT = 1024  # np.bincount widens its input to int64: 6 MB for this many images


class Normalizer(Protocol):
    """The normalizer seam: a frozen dataclass of options.

    A plugin subclasses this and writes `fit` and `transform`; `affine` too, if it is affine in the
    pixels, because then it costs nothing in scoring; else `to_onnx`, if it is to be exported.
    """

    def fit(self, blocks: Iterable[NDArray[np.uint8]]) -> dict[str, Any]:
        """What has to be remembered of the training rows, JSON-able.

        Args:
            blocks: (B, pixels) uint8 each; the result must not depend on how rows are blocked.

        Raises:
            DataError: there are no rows.
        """
        ...

    def transform(
        self, state: Mapping[str, Any], images: NDArray[np.uint8], out: Array | None = None
    ) -> Array:
        """Inputs for a network, (B, pixels) float32, each row from its own image alone.

        Args:
            state: what `fit` returned.
            images: (B, pixels) uint8.
            out: (B, pixels) to write into and return; new float32 without it.
        """
        ...

    def affine(
        self,
        state: Mapping[str, Any],  # noqa: ARG002
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """(scale, shift), each (pixels,) float64, with transform(p) = scale·p + shift; or None."""
        return None

    def to_onnx(self, state: Mapping[str, Any], pixels: Value) -> Value:
        """What `transform` does, in a graph: network inputs (N, pixels) float32.

        Args:
            state: what `fit` returned.
            pixels: (N, pixels) float32, the values 0 … 255.

        Raises:
            NotExportableError: nobody has written it down.
        """
        affine = self.affine(state)
        if affine is None:
            raise not_exportable("normalizer", self)
        scale, shift = (each.astype(np.float32) for each in affine)
        return pixels * scale + shift


@received("normalizer", "fit")
def _state(info: PluginInfo, state: Any, blocks: object) -> dict[str, Any]:
    del blocks
    if not isinstance(state, dict):
        raise BrokenPluginError.breach(info, f"fit returns a {type(state).__name__} and no dict")
    json.dumps(state, allow_nan=False)
    return state


@received("normalizer", "transform")
def _inputs(
    info: PluginInfo, x: Any, state: object, images: NDArray[np.uint8], out: Array | None = None
) -> Array:
    del state
    wanted = images.shape, np.float32 if out is None else out.dtype
    if not (isinstance(x, np.ndarray) and (x.shape, x.dtype) == wanted):
        found = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        flaw = f"transform returns {found} for images {images.shape}"
        raise BrokenPluginError.breach(info, flaw)
    if not np.isfinite(x).all():
        raise BrokenPluginError.breach(info, "transform returns numbers that are not finite")
    return x


@received("normalizer", "affine")
def _scale_and_shift(info: PluginInfo, affine: Any, state: object) -> Any:
    del state
    if affine is not None and not all(np.isfinite(each).all() for each in affine):
        raise BrokenPluginError.breach(info, "affine returns numbers that are not finite")
    return affine


def _first(blocks: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    for block in blocks:
        if len(block):
            return block
    raise _nothing_to_fit()


def _nothing_to_fit() -> DataError:
    return DataError(
        "there are no training rows to fit the normalizer on",
        remedy="add data, or lower data.validation_fraction",
    )


@dataclasses.dataclass(frozen=True)
class Scale(Normalizer):
    """x = p / 255: pixels in [0, 1]."""

    def fit(self, blocks: Iterable[NDArray[np.uint8]]) -> dict[str, Any]:
        return {"pixels": int(_first(blocks).shape[1])}

    def transform(
        self,
        state: Mapping[str, Any],  # noqa: ARG002
        images: NDArray[np.uint8],
        out: Array | None = None,
    ) -> Array:
        x: Array = np.empty(images.shape, np.float32) if out is None else out
        # Cast, then scale in place: one ufunc over mixed types would buffer and take twice as long.
        np.copyto(x, images)
        x *= 1 / 255
        return x

    def affine(
        self, state: Mapping[str, Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        pixels = state["pixels"]
        return np.full(pixels, 1 / 255), np.zeros(pixels)


@dataclasses.dataclass(frozen=True)
class Standardize(Normalizer):
    """x = (p − mean) / σ with one mean and one σ over all pixels of all training rows.

    One for all, not one a pixel: a border pixel that is lit in a single training image would have
    a σ near 0 and turn into a huge input on the one test image that lights it too.
    """

    def fit(self, blocks: Iterable[NDArray[np.uint8]]) -> dict[str, Any]:
        counts = [0] * 256  # how often each pixel value occurs: Python's integers, so exact sums
        pixels = 0
        for block in blocks:
            pixels = block.shape[1]
            for start in range(0, len(block), _ROWS_A_COUNT):
                part = np.bincount(block[start : start + _ROWS_A_COUNT].ravel(), minlength=256)
                counts = [total + more for total, more in zip(counts, part.tolist(), strict=True)]
        n = sum(counts)
        if n == 0:
            raise _nothing_to_fit()
        first = sum(value * count for value, count in enumerate(counts))
        second = sum(value * value * count for value, count in enumerate(counts))
        # σ² = E[p²] − E[p]², as one fraction of integers: nothing to cancel, one rounding.
        variance = (n * second - first * first) / (n * n)
        # Rows of one constant value have σ = 0; they carry nothing, and 1 keeps x finite.
        return {"pixels": pixels, "mean": first / n, "std": math.sqrt(variance) or 1.0}

    def transform(
        self, state: Mapping[str, Any], images: NDArray[np.uint8], out: Array | None = None
    ) -> Array:
        x: Array = np.empty(images.shape, np.float32) if out is None else out
        np.copyto(x, images)
        x -= state["mean"]
        x *= 1 / state["std"]
        return x

    def affine(
        self, state: Mapping[str, Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        pixels, mean, std = state["pixels"], state["mean"], state["std"]
        return np.full(pixels, 1 / std), np.full(pixels, -mean / std)


@dataclasses.dataclass(frozen=True)
class FittedNormalizer:
    """A normalizer and what it learned: this travels in the bundle.

    Attributes:
        name: resolved, with its version: `scale.v1`.
        plugin: the options.
        state: what `fit` returned.
    """

    name: str
    plugin: Normalizer
    state: dict[str, Any]

    @classmethod
    def fit(
        cls, name: str, options: Mapping[str, Any], blocks: Iterable[NDArray[np.uint8]]
    ) -> FittedNormalizer:
        """Build the normalizer called `name` and fit it on training rows.

        Raises:
            ConfigError: an unknown name or option.
            DataError: there are no rows.
        """
        plugin: Normalizer = plugins.build("normalizer", name, options)
        return cls(plugins.resolve("normalizer", name).name, plugin, plugin.fit(blocks))

    def affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """(scale, shift), each (pixels,) float64, or None if it does not fold."""
        return self.plugin.affine(self.state)

    def transform(self, images: NDArray[np.uint8], out: Array | None = None) -> Array:
        """Network inputs (B, pixels) float32 from images (B, pixels) uint8."""
        return self.plugin.transform(self.state, images, out)

    def to_onnx(self, pixels: Value) -> Value:
        """Network inputs (N, pixels) float32 from values 0 … 255 of the same shape and type."""
        return self.plugin.to_onnx(self.state, pixels)

    def to_json(self) -> dict[str, Any]:
        options = dataclasses.asdict(self.plugin)  # type: ignore[call-overload]
        return {"name": self.name, "options": options, "state": self.state}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FittedNormalizer:
        """What `to_json` wrote, with the plugin of exactly that name and version.

        Raises:
            ConfigError: no installed package has it, or it does not know an option any more.
        """
        plugin: Normalizer = plugins.build("normalizer", data["name"], data["options"])
        return cls(data["name"], plugin, dict(data["state"]))
