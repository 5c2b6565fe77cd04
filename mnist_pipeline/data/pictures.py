"""Pictures of rows that were turned away, as far as their raw bytes can be read as one."""

from __future__ import annotations

import io
import re
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract

LARGEST_SIDE, SHOWN_SIDE = 1024, 84
"""A PNG whose header claims more pixels a side is not decoded; one of more is made smaller."""

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
_INTEGER = re.compile(rb"[ \t]*[+-]?[0-9]{1,9}[ \t]*")


def picture_of(payload: bytes, contract: ImageContract) -> NDArray[np.uint8] | None:
    """What a rejected row looked like: (H, W) uint8, or None if nobody can tell.

    A payload is what a source could save of a row: a PNG, a line of numbers, or the pixels.
    """
    if payload.startswith(_PNG):
        return _from_png(payload)
    if b"," in payload and (picture := _from_numbers(payload, contract)) is not None:
        return picture
    if len(payload) == contract.pixels:
        return np.frombuffer(payload, np.uint8).reshape(contract.height, contract.width)
    return None


def _from_numbers(payload: bytes, contract: ImageContract) -> NDArray[np.uint8] | None:
    """A picture of numbers with commas between, if at least half of the pixels are numbers.

    The first of a text line is taken for its label, as Kaggle writes it, unless there are just as
    many as pixels; what is no number, or is missing at the end, stays background.
    """
    cells = payload.strip(b"[] \r\n").split(b",")
    if len(cells) != contract.pixels and not payload.startswith(b"["):
        del cells[0]
    values = [int(cell) if _INTEGER.fullmatch(cell) else -1 for cell in cells[: contract.pixels]]
    if sum(value >= 0 for value in values) < contract.pixels / 2:
        return None
    values += [0] * (contract.pixels - len(values))
    picture = np.clip(values, 0, 255).astype(np.uint8)
    return picture.reshape(contract.height, contract.width)


def _from_png(payload: bytes) -> NDArray[np.uint8] | None:
    """A PNG of any modest size, in grey, and no larger than it need be to be recognised."""
    # Looked at first, so a picture that claims a billion pixels is never given the memory.
    width, height = struct.unpack(">II", payload[16:24].ljust(8, b"\xff"))
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        return None
    from PIL import Image  # here, because only pictures need it

    try:
        with Image.open(io.BytesIO(payload), formats=["PNG"]) as picture:
            grey = picture.convert("L")
            grey.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
            return np.asarray(grey, np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error):
        return None
