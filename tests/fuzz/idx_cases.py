"""Mutated pairs of IDX files, and an independent reading of them."""

from __future__ import annotations

import functools
import gzip
import math
import struct

import numpy as np
from mutations import Case, Rows, chance, damage, digits, packed, pick, rows_of, unpacked

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
SOURCE = ("idx", "")
EXTREMES = (0, 1, 27, 28, 29, 784, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


@functools.cache
def base(count: int, seed: int) -> tuple[bytes, bytes]:
    """A valid pair of files."""
    images, labels = digits(np.random.default_rng([count, seed]), count)
    return header(count, 28, 28) + images.tobytes(), header(count) + labels.tobytes()


def header(*sizes: int, kind: int = 8, dimensions: int | None = None) -> bytes:
    dimensions = len(sizes) if dimensions is None else dimensions
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, kind, dimensions, *sizes)


def make(rng: np.random.Generator) -> Case:
    count = pick(rng, [1, 10, 24, 24, 60, 60]) if chance(rng, 0.97) else 9_000
    pair = list(base(count, int(rng.integers(3))))
    others = base(pick(rng, [10, 24, 60]), 5)
    words = []
    for _ in range(pick(rng, [0, 1, 1, 1, 1, 2, 3])):
        which = int(chance(rng, 0.4))
        change = pick(rng, [damage, damage, _header, _pair, _values, _values, _values])
        if change in (_pair, _values):
            pair, word = change(rng, pair, others)
        else:
            pair[which], word = change(rng, pair[which], others[which])
        words.append(word)
    names = [IMAGES, LABELS]
    for which in range(2):
        if chance(rng, 0.25):
            pair[which], word = packed(rng, pair[which], others[which])
            words.append(word)
            if chance(rng, 0.7):  # what counts are the first bytes, not the name
                names[which] += ".gz"
    if chance(rng, 0.03):
        pair, word = _bomb(rng)
        words.append(word)
    return Case("; ".join(words), dict(zip(names, pair, strict=True)), SOURCE, _read(*pair))


def _header(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[bytes, str]:
    """Another header before the same values, or two headers' fields mixed."""
    words = [int(rng.integers(-2, 3)) + pick(rng, EXTREMES) for _ in range(3)]
    sizes = [min(max(word, 0), 2**32 - 1) for word in words]
    dimensions = 3 if data[3:4] == b"\x03" else 1
    end = 4 + 4 * dimensions
    kind = pick(rng, ["size", "magic", "dimensions", "type", "sizes"])
    if kind == "size":
        at = 4 * int(rng.integers(1, 1 + dimensions))
        return data[:at] + struct.pack(">I", sizes[0]) + data[at + 4 :], f"header {kind}"
    if kind == "magic":
        return rng.integers(0, 256, 4, np.uint8).tobytes() + data[4:], f"header {kind}"
    if kind == "dimensions":
        claimed = pick(rng, [0, 1, 2, 3, 4, 255])
        extra = [pick(rng, EXTREMES) for _ in range(min(claimed, 4))]
        return header(*extra, dimensions=claimed) + data[end:], f"header {kind}"
    if kind == "type":
        return data[:2] + bytes([pick(rng, [0, 7, 9, 11, 12, 13, 14])]) + data[3:], "header type"
    return header(*sizes[:dimensions]) + data[end:], f"header {kind}"


def _pair(
    rng: np.random.Generator, pair: list[bytes], others: tuple[bytes, bytes]
) -> tuple[list[bytes], str]:
    """Files that do not belong together."""
    kind = pick(rng, ["swapped", "other labels", "other images", "labels twice", "empty"])
    if kind == "swapped":
        return pair[::-1], kind
    if kind == "other labels":
        return [pair[0], others[1]], kind
    if kind == "other images":
        return [others[0], pair[1]], kind
    if kind == "labels twice":
        return [pair[1], pair[1]], kind
    return [b"", pair[1]] if chance(rng, 0.5) else [pair[0], b""], kind


def _values(
    rng: np.random.Generator, pair: list[bytes], others: tuple[bytes, bytes]
) -> tuple[list[bytes], str]:
    """Labels that are no class, images twice."""
    images, labels = bytearray(pair[0]), bytearray(pair[1])
    for at in rng.integers(8, max(9, len(labels)), int(rng.integers(1, 9))).tolist():
        if at < len(labels):
            labels[at] = pick(rng, [9, 10, 11, 127, 128, 255])
    if chance(rng, 0.5) and len(images) >= 16 + 2 * 784:
        images[16:800] = images[-784:]
    return [bytes(images), bytes(labels)], "values"


def _bomb(rng: np.random.Generator) -> tuple[list[bytes], str]:
    """A small gz that unpacks to 64 MB: of which its header knows nothing, or which it claims."""
    count = pick(rng, [10, 80_000, 2**20])
    images = header(count, 28, 28) + bytes(64 << 20)
    labels = header(count) + bytes(count)
    return [gzip.compress(images, 9, mtime=0), gzip.compress(labels, 9, mtime=0)], "bomb"


def _read(images: bytes, labels: bytes) -> Rows | None:
    """The rows of a pair by the letter of the format."""
    values = []
    for packed_data, dimensions in (images, 3), (labels, 1):
        data = unpacked(packed_data)
        end = 4 + 4 * dimensions
        if data is None or len(data) < end or data[:4] != bytes([0, 0, 8, dimensions]):
            return None
        sizes = struct.unpack(f">{dimensions}I", data[4:end])
        if len(data) != end + math.prod(sizes) or sizes[1:] not in ((), (28, 28)):
            return None
        values.append(np.frombuffer(data, np.uint8, offset=end).reshape(sizes))
    return rows_of(*values) if 0 < len(values[0]) == len(values[1]) else None
