"""A valid file, made and mutated: the same format and seed give the same bytes.

`case("csv", 7)` is the seventh mutated CSV file. What every format shares is here: rows to start
from, and damage that knows nothing of the format.
"""

from __future__ import annotations

import dataclasses
import gzip
import importlib
import io
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMATS = ("idx", "csv", "parquet")
PIXELS = 784

Rows = list[bytes | None]
"""What a file holds: a row's label and pixels, 785 bytes, or None where it has to be rejected."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A mutated input.

    Attributes:
        what: how it was mutated, in words.
        files: contents by name.
        source: the plugin, and after it the path below the folder with its options.
        rows: what an independent reading finds in it; None if it finds that it cannot be read.
        sure: whether the pipeline must come to the same. If not, it may also refuse the input,
            and where `rows` is None it may find what it likes, as long as its counts add up.
    """

    what: str
    files: dict[str, bytes]
    source: tuple[str, str]
    rows: Rows | None
    sure: bool = True


def case(form: str, seed: int) -> Case:
    """The mutated input of a format that belongs to a seed."""
    rng = np.random.default_rng([FORMATS.index(form), seed])
    made: Case = importlib.import_module(f"{form}_cases").make(rng)
    return made


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def pick(rng: np.random.Generator, choices: Any) -> Any:
    """One of several things, of any type."""
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


def digits(rng: np.random.Generator, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, 784), a fifth of their pixels inked as in MNIST, and labels (N,), both uint8."""
    images = rng.integers(0, 256, (count, PIXELS), np.uint8)
    images[rng.random(images.shape) < 0.8] = 0
    return images, (np.arange(count) % 10).astype(np.uint8)


def rows_of(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Rows:
    """Images and their labels as `Rows`; a label that is no class rejects its row."""
    return [
        bytes([label]) + image.tobytes() if label < 10 else None
        for image, label in zip(images, labels.tolist(), strict=True)
    ]


def span(rng: np.random.Generator, size: int, longest: int) -> slice:
    """A stretch of some bytes within `size`, often a short one."""
    length = min(size, int(longest ** rng.random()))
    start = int(rng.integers(size - length + 1))
    return slice(start, start + length)


def damage(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[bytes, str]:
    """One change that knows nothing of the format; `other` is a file to splice with."""
    kinds = ["flip", "flip", "flips", "overwrite", "zeros", "cut", "cut", "head cut", "append"]
    kind = pick(rng, [*kinds, "insert", "delete", "repeat", "swap", "splice"])
    out = bytearray(data)
    piece = span(rng, len(data), 4096)
    noise = rng.integers(0, 256, piece.stop - piece.start, np.uint8).tobytes()
    if kind in ("flip", "flips") and data:
        for at in rng.integers(0, len(data), 1 if kind == "flip" else int(rng.integers(2, 60))):
            out[at] ^= 1 << int(rng.integers(8))
    elif kind == "overwrite":
        out[piece] = noise
    elif kind == "cut":
        at = len(data) - int((len(data) + 1) ** rng.random())
        del out[max(at, 0) :]
    elif kind == "head cut":
        del out[: piece.stop - piece.start]
    elif kind == "insert":
        out[piece.start : piece.start] = noise
    elif kind == "delete":
        del out[piece]
    elif kind == "repeat":
        out[piece.start : piece.start] = data[piece] * int(rng.integers(1, 4))
    elif kind == "swap":
        second = span(rng, len(data), 4096)
        first, second = sorted((piece, second), key=lambda part: part.start)
        if first.stop <= second.start:
            middle = data[first.stop : second.start]
            out[first.start : second.stop] = data[second] + middle + data[first]
    elif kind == "splice":
        joint = int(rng.integers(len(data) + 1))
        out[joint:] = other[min(joint, len(other)) :] if chance(rng, 0.5) else other
    elif kind == "zeros":
        out[piece] = bytes(piece.stop - piece.start)
    else:
        out += noise
    return bytes(out), kind


def packed(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[bytes, str]:
    """Gzipped, and then perhaps damaged as only gzip can be."""
    out = gzip.compress(data, compresslevel=int(rng.integers(1, 10)), mtime=0)
    kind = pick(rng, ["whole"] * 4 + ["members", "padding", "garbage", "trailer", "damage", "head"])
    if kind == "members":
        at = int(rng.integers(len(data) + 1))
        out = gzip.compress(data[:at], mtime=0) + gzip.compress(data[at:], mtime=0)
    elif kind == "padding":
        out += bytes(int(rng.integers(1, 600)))
    elif kind == "garbage":
        out += rng.integers(0, 256, int(rng.integers(1, 600)), np.uint8).tobytes()
    elif kind == "trailer":
        out = out[: -int(rng.integers(1, 9))]
        out += pick(rng, [b"", bytes(8), b"\xff" * 8])
    elif kind == "damage":
        out, how = damage(rng, out, gzip.compress(other, mtime=0))
        kind = f"its {how}"
    elif kind == "head":
        changed = bytearray(out)
        changed[int(rng.integers(2, 10))] = int(rng.integers(256))
        out = bytes(changed)
    return out, f"gzip {kind}"


def unpacked(data: bytes) -> bytes | None:
    """What a plain or gzipped file holds; None if its gzip is damaged."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read()
    except (OSError, EOFError, zlib.error):
        return None
