"""Contact sheets: every image where its class and its turn put it."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_pipeline.data.sheet import contact_sheet


def tile(sheet: np.ndarray, row: int, column: int, height: int, width: int) -> np.ndarray:
    top, left = 2 + row * (height + 2), 2 + column * (width + 2)
    return sheet[top : top + height, left : left + width]


@pytest.mark.parametrize("shape", [(28, 28), (5, 3)])
def test_a_row_a_class_and_its_first_images(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (40, *shape), np.uint8)
    labels = np.concatenate([rng.integers(0, 2, 39), [3]])  # a few of 3, none of 2
    sheet = contact_sheet(images, labels, "abcd", columns=6)
    height, width = shape
    assert sheet.shape == (4 * (height + 2) + 2, 6 * (width + 2) + 2)
    assert sheet.dtype == np.uint8
    shown = 0
    for label in range(4):
        for column, k in enumerate(np.flatnonzero(labels == label)[:6]):
            np.testing.assert_array_equal(tile(sheet, label, column, *shape), images[k])
            shown += images[k].astype(int).sum()
    assert sheet.astype(int).sum() == shown  # nothing else is there


def test_flat_images_are_square() -> None:
    images = np.random.default_rng(1).integers(0, 256, (7, 784), np.uint8)
    labels = np.zeros(7, int)
    np.testing.assert_array_equal(
        contact_sheet(images, labels, "0"), contact_sheet(images.reshape(7, 28, 28), labels, "0")
    )


def test_without_labels_images_follow_as_text_does() -> None:
    images = np.arange(1, 8, dtype=np.uint8).repeat(4).reshape(7, 4)
    sheet = contact_sheet(images, None, "01", columns=3)
    found = [[int(tile(sheet, row, column, 2, 2)[0, 0]) for column in range(3)] for row in range(2)]
    assert found == [[1, 2, 3], [4, 5, 6]]


def test_no_images_are_an_empty_sheet() -> None:
    assert not contact_sheet(np.zeros((0, 784), np.uint8), np.zeros(0, int), "0123").any()
