"""What a normalizer promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.errors import DataError
from mnist_pipeline.model.normalize import FittedNormalizer, Normalizer
from mnist_pipeline.testing.promises import Promises, samples

TOLERANCE = 1e-4
"""How far folding in float64 may be from transforming in float32, in the largest input's units."""


def check_normalizer(normalizer: Normalizer) -> None:
    """Fits and transforms drawn digits, and looks at what comes out.

    Raises:
        BrokenPromiseError: which promise does not hold.
    """
    promises = Promises("normalizer", normalizer)
    promises.options()
    images, _ = samples()
    before = images.copy()
    with promises.working("fit"):
        state = normalizer.fit(iter([images]))
        cut = normalizer.fit(iter([images[:7], images[7:7], images[7:]]))
    promises(isinstance(state, dict), "fit returns a dict", type(state).__name__)
    with promises.working("storing what fit returns as JSON"):
        stored = json.loads(json.dumps(state, allow_nan=False))
    promises(cut == state, "fit does not depend on how rows are cut into blocks")
    _check_empty(promises, normalizer)

    def transform(images: NDArray[np.uint8], out: Any = None) -> Any:
        with promises.working("transform"):
            return normalizer.transform(stored, images, out)

    x = transform(images)
    is_array = isinstance(x, np.ndarray) and x.shape == images.shape
    found = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else x
    promises(is_array and x.dtype == np.float32, "transform returns (B, pixels) float32", found)
    promises(np.isfinite(x).all(), "transform returns finite numbers")
    promises(np.array_equal(before, images), "images are left as they were")
    _check_rows(promises, transform, images, x)
    _check_affine(promises, FittedNormalizer("", normalizer, stored), images, x)


def _check_empty(promises: Promises, normalizer: Normalizer) -> None:
    try:
        with promises.working("fit without rows (but for a DataError)"):
            normalizer.fit(iter([]))
    except DataError:
        return
    raise promises.broken("fit raises a DataError where there are no rows")


def _check_rows(
    promises: Promises,
    transform: Callable[..., Any],
    images: NDArray[np.uint8],
    x: NDArray[np.float32],
) -> None:
    out = np.full(x.shape, np.nan, np.float32)
    promises(transform(images, out) is out, "transform writes into `out` and returns it")
    promises(np.array_equal(out, x), "transform gives the same with `out` as without")
    promises(np.array_equal(transform(images), x), "transform gives the same every time")
    for row in (2, len(images) - 1):
        alone = transform(np.ascontiguousarray(images[row : row + 1]))
        promises(np.array_equal(alone[0], x[row]), "each row comes from its own image alone")
    wide = np.zeros((len(images), 2 * images.shape[1]), np.uint8)
    wide[:, ::2] = images
    promises(np.array_equal(transform(wide[:, ::2]), x), "images may lie in memory in any way")
    promises(transform(images[:0]).shape == (0, x.shape[1]), "no images give no inputs")


def _check_affine(
    promises: Promises,
    fitted: FittedNormalizer,
    images: NDArray[np.uint8],
    x: NDArray[np.float32],
) -> None:
    with promises.working("affine"):
        affine: Any = fitted.affine()
    if affine is None:
        return
    pixels = images.shape[1]
    shaped = isinstance(affine, tuple) and len(affine) == 2
    shaped = shaped and all(np.shape(a) == (pixels,) and a.dtype == np.float64 for a in affine)
    promises(shaped, "affine returns None, or scale and shift, (pixels,) float64 each")
    scale, shift = affine
    off = float(np.abs(images * scale + shift - x).max())
    close = off <= TOLERANCE * max(1.0, float(np.abs(x).max()))
    promises(close, "transform(p) = scale·p + shift, as affine says", f"off by {off:.3g}")
