"""Contact sheets: many small images as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SPACE = 2


def contact_sheet(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None,
    classes: Sequence[str],
    *,
    columns: int = 20,
) -> NDArray[np.uint8]:
    """One row for each class, top to bottom in the order of `classes`: its first images.

    A class of which there are fewer leaves the rest of its row empty. Without labels the images
    follow each other as text does, in as many rows.

    Args:
        images: (N, height, width) uint8, or (N, pixels) of square images.
        labels: (N,) integers, the index of each image's class, or None.
        classes: their names.
        columns: images a row, at least 1.

    Returns:
        (H, W) uint8: images as they are, white on black, two pixels between them.
    """
    if images.ndim == 2:
        side = math.isqrt(images.shape[1])
        images = images.reshape(len(images), side, side)
    _, height, width = images.shape
    step_down, step_right = height + _SPACE, width + _SPACE
    sheet = np.zeros((len(classes) * step_down + _SPACE, columns * step_right + _SPACE), np.uint8)
    for row in range(len(classes)):
        if labels is None:
            shown = images[row * columns : (row + 1) * columns]
        else:
            shown = images[np.flatnonzero(labels == row)[:columns]]
        top = _SPACE + row * step_down
        for column, image in enumerate(shown):
            left = _SPACE + column * step_right
            sheet[top : top + height, left : left + width] = image
    return sheet
