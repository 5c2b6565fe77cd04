"""Digits drawn from strokes: any number of them, from a seed, without data or fonts.

`strokes.py` knows the ways of writing, `curves.py` makes points of them, `hand.py` draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.records import PartInput, Records, Role
from mnist_pipeline.contract.spec import DIGITS, ImageContract
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.plugins import option
from mnist_pipeline.refs import digest_of
from mnist_pipeline.sources.hand import DRAWN_BLOCK, SIDE, draw_digits

_VERSION = 3  # of the drawing: raise it whenever the same seed gives other pixels
_SEEDED_BLOCK = 1_000  # digits from one generator; a multiple of ten
_BLOCKS_A_READ = 8


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """Digits drawn from strokes: as many as wanted, from a seed; no data needed."""

    n: int = option(10_000, "how many digits to draw")
    seed: int = option(0, "the same seed draws the same digits")

    def __post_init__(self) -> None:
        for key, value, least in (("n", self.n, 1), ("seed", self.seed, 0)):
            if value < least:
                raise ConfigError(
                    f"the source 'synthetic' cannot take {key} = {value}",
                    expected=f"a whole number of at least {least}",
                    remedy=f"give {key} such a number, as in synthetic:n=10000,seed=7",
                )

    def parts(self) -> list[PartInput]:
        return [SyntheticPart(self.n, self.seed)]


@dataclasses.dataclass(frozen=True)
class SyntheticPart:
    """The one part of `Synthetic`.

    Block b of 1,000 digits comes from `default_rng([seed, b])`, so the first digits of a larger n
    are those of a smaller one.
    """

    n: int
    seed: int
    name: str = "synthetic"
    role: Role = "train"
    paths: tuple[Path, ...] = ()

    def identity(self) -> str:
        return digest_of(
            {"plugin": "synthetic", "version": _VERSION, "n": self.n, "seed": self.seed}
        )

    def read(self, contract: ImageContract) -> Iterator[Records]:
        found = (contract.height, contract.width, contract.classes)
        if found != (SIDE, SIDE, DIGITS):
            raise ConfigError(
                "the source 'synthetic' draws nothing but the ten digits on 28 × 28 pixels",
                expected=f"28 × 28, classes {', '.join(DIGITS)}",
                found=f"{found[0]} × {found[1]}, classes {', '.join(found[2])}",
                remedy="use another source for this contract",
            )
        step = _SEEDED_BLOCK * _BLOCKS_A_READ
        for start in range(0, self.n, step):
            end = min(start + step, self.n)
            blocks = [
                _seeded_block(self.seed, first // _SEEDED_BLOCK, min(_SEEDED_BLOCK, end - first))
                for first in range(start, end, _SEEDED_BLOCK)
            ]
            yield Records(
                images=np.concatenate([images for images, _ in blocks]),
                labels=np.concatenate([labels for _, labels in blocks]),
                places=np.arange(start, end, dtype=np.int64),
                source=self.name,
            )


def _seeded_block(seed: int, block: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first `count` digits of a block: images (count, 784) uint8, labels (count,) int64."""
    rng = np.random.default_rng([seed, block])
    # Every ten digits in a row are the ten classes in some order: balanced wherever one stops.
    tens = np.tile(np.arange(10, dtype=np.int64), (_SEEDED_BLOCK // 10, 1))
    labels = rng.permuted(tens, axis=1).ravel()
    # Whole drawn blocks only: the random numbers of a digit depend on the size of its block.
    whole = -(-count // DRAWN_BLOCK) * DRAWN_BLOCK
    return draw_digits(labels[:whole], rng)[:count], labels[:count]
