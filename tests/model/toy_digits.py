"""A small problem that every sound network learns, and nobody has to download."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PIXELS, CLASSES = 64, 4


def toy_digits(rows: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (rows, 64) of noise with a bright 8-pixel bar at 16 × label; labels (rows,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, rows)
    images = rng.integers(0, 120, (rows, PIXELS), dtype=np.uint8)
    for offset in range(8):
        images[np.arange(rows), 16 * labels + offset] += 100
    return images, labels
