"""Images unlike those that a model of MNIST learned from, for test and benchmark of drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Images = NDArray[np.uint8]  # (N, 784)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def thickened(images: Images) -> Images:
    """Strokes a pixel wider to every side: each pixel the largest of its 3 × 3 neighbours."""
    squares = np.pad(images.reshape(-1, 28, 28), ((0, 0), (1, 1), (1, 1)))
    shifted = [squares[:, r : r + 28, c : c + 28] for r in range(3) for c in range(3)]
    return np.maximum.reduce(shifted).reshape(-1, 784)


def half_blank(images: Images) -> Images:
    """Every second image lost."""
    result = images.copy()
    result[::2] = 0
    return result


def uci_digits(side: int) -> Images:
    """The 1,797 digits of 8 × 8 pixels that come with scikit-learn, scaled up to `side` pixels.

    Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998: other writers, paper
    forms, another way from ink to pixels.
    """
    from sklearn.datasets import load_digits

    small = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    scaled = [
        Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) for image in small
    ]
    return np.stack([centred(np.asarray(image)) for image in scaled])


def letters(count: int, rng: np.random.Generator) -> Images:
    """Capitals in Pillow's own font, turned, of two weights, in a box of 20 pixels as MNIST's."""
    font = ImageFont.load_default(24)
    return np.stack([_letter(ALPHABET[k % 26], font, rng) for k in range(count)])


def _letter(letter: str, font: ImageFont.ImageFont, rng: np.random.Generator) -> Images:
    canvas = Image.new("L", (60, 60))
    weight = int(rng.integers(0, 2))
    ImageDraw.Draw(canvas).text((18, 18), letter, font=font, fill=255, stroke_width=weight)
    canvas = canvas.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BILINEAR)
    canvas = canvas.crop(canvas.getbbox())
    scale = 20 / max(canvas.size)
    size = (max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale)))
    return centred(np.asarray(canvas.resize(size, Image.Resampling.BILINEAR)))


def centred(picture: NDArray[np.uint8]) -> Images:
    """A picture (H, W) in the middle of 28 × 28 pixels, (784,)."""
    frame = np.zeros((28, 28), np.uint8)
    row, column = ((28 - side) // 2 for side in picture.shape)
    frame[row : row + picture.shape[0], column : column + picture.shape[1]] = picture
    return frame.reshape(-1)


Bad = Callable[[Images, np.random.Generator], Images]

BAD: dict[str, Bad] = {
    "inverted": lambda x, _: 255 - x,
    "thick strokes": lambda x, _: thickened(x),
    "half of them blank": lambda x, _: half_blank(x),
    "UCI digits, 28 × 28": lambda x, rng: rng.permutation(uci_digits(28))[: len(x)],
    "UCI digits, 20 × 20 and a margin": lambda x, rng: rng.permutation(uci_digits(20))[: len(x)],
    "another alphabet": lambda x, rng: letters(len(x), rng),
}
"""By kind: from a clean sample to as many bad images (of UCI's at most 1,797)."""


def resamples(images: Images, n: int, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Rows of clean samples, drawn with replacement, without end."""
    while True:
        yield rng.integers(0, len(images), n)
