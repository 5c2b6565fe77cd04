"""PNG pictures (ISO/IEC 15948): grey ones written, and other people's read with suspicion."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract

Fault = tuple[str, str]  # reason and detail

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """An (H, W) uint8 image as a grey PNG."""
    height, width = image.shape
    # every line is preceded by its filter type, 0: none
    lines = np.zeros((height, width + 1), np.uint8)
    lines[:, 1:] = image
    return _head(height, width) + _chunk(b"IDAT", zlib.compress(lines.tobytes())) + _END


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


@functools.cache
def _head(height: int, width: int) -> bytes:
    return _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


_END = _chunk(b"IEND", b"")


def read_png(blob: bytes | None, contract: ImageContract) -> NDArray[np.uint8] | Fault:
    """The picture, (pixels,) uint8, or what is wrong with it."""
    if blob is None:
        return "image_missing", "the picture has no bytes"
    if len(blob) < 33 or not blob.startswith(_SIGNATURE + b"\0\0\0\x0dIHDR"):
        return "undecodable_image", "the bytes are no PNG"
    # Looked at first, so a picture that claims a billion pixels is never given the memory.
    width, height, depth = struct.unpack(">IIB", blob[16:25])
    if (height, width) != (contract.height, contract.width):
        return "image_wrong_size", f"{height} × {width} pixels"
    if _END not in blob:  # Pillow is content with all the pixels, though their checksum is missing
        return "undecodable_image", "the picture is cut short"
    from PIL import Image  # here, because only pictures need it

    try:
        with Image.open(io.BytesIO(blob), formats=["PNG"]) as picture:
            if getattr(picture, "is_animated", False):
                return "undecodable_image", "an animation, not one picture"
            if picture.mode == "L" and "transparency" not in picture.info:
                return np.asarray(picture, dtype=np.uint8).reshape(-1)
            rgba = np.asarray(picture.convert("RGBA"), dtype=np.uint8).reshape(-1, 4)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        return "undecodable_image", str(error).partition(" <")[0][:100]  # no object's address
    if depth > 8 or (rgba[:, 1:3] != rgba[:, :1]).any() or (rgba[:, 3] < 255).any():
        return "undecodable_image", "not 8 bits of grey: 16 bits, colour or transparency"
    return rgba[:, 0]
