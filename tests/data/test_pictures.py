"""Pictures of rejected rows: what can be read is shown, what cannot is no picture."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.pictures import LARGEST_SIDE, SHOWN_SIDE, picture_of

CONTRACT = ImageContract()


@pytest.fixture
def image(digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A drawn 3, (28, 28) uint8."""
    return digits[0][3].reshape(28, 28)


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def cells(image: np.ndarray) -> list[str]:
    return [str(value) for value in image.ravel()]


def test_raw_pixels(image: np.ndarray) -> None:
    assert np.array_equal(picture_of(image.tobytes(), CONTRACT), image)
    assert picture_of(bytes(784), CONTRACT) is not None
    assert picture_of(image.tobytes()[:-1], CONTRACT) is None


def test_a_line_of_csv_with_faults_in_it(image: np.ndarray) -> None:
    row = ["10", *cells(image)]
    row[1 + 400], row[1 + 401], row[1 + 402], row[1 + 403] = "abc", "-7", "300", ""
    found = picture_of(",".join(row).encode() + b"\r\n", CONTRACT)
    expected = image.copy().ravel()
    expected[400:404] = [0, 0, 255, 0]
    assert np.array_equal(found.ravel(), expected)


def test_a_line_without_label_a_list_and_a_line_too_many(image: np.ndarray) -> None:
    assert np.array_equal(picture_of(",".join(cells(image)).encode(), CONTRACT), image)
    assert np.array_equal(picture_of(str(image.ravel().tolist()).encode(), CONTRACT), image)
    line = ",".join(["3", *cells(image), "7"]).encode()
    assert np.array_equal(picture_of(line, CONTRACT), image)


def test_a_short_line_is_a_part_of_a_picture(image: np.ndarray) -> None:
    line = ",".join(["3", *cells(image)[:500]]).encode()
    found = picture_of(line, CONTRACT).ravel()
    assert np.array_equal(found[:500], image.ravel()[:500])
    assert not found[500:].any()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"junk,row",
        b",".join([b"x"] * 785),
        b",".join([b"1"] * 300),
        b"[0.5, 0.25]",
        b"\xff\xfe, broken \x80",
        b"99999999999999999999," * 785,
    ],
)
def test_what_nobody_can_read_is_no_picture(payload: bytes) -> None:
    assert picture_of(payload, CONTRACT) is None


def test_a_png_of_any_kind(image: np.ndarray) -> None:
    assert np.array_equal(picture_of(png(Image.fromarray(image)), CONTRACT), image)
    colour = picture_of(png(Image.new("RGBA", (40, 30), (10, 200, 10, 128))), CONTRACT)
    assert colour.shape == (30, 40)
    assert colour.dtype == np.uint8


def test_a_large_png_comes_small(image: np.ndarray) -> None:
    large = Image.fromarray(image).resize((LARGEST_SIDE, LARGEST_SIDE // 2))
    assert picture_of(png(large), CONTRACT).shape == (SHOWN_SIDE // 2, SHOWN_SIDE)


def test_a_damaged_png_is_no_picture(image: np.ndarray) -> None:
    whole = png(Image.fromarray(image))
    for payload in (whole[:20], whole[:33], whole[:100], whole[:50] + b"\0" * 60 + whole[110:]):
        assert picture_of(payload, CONTRACT) is None


@pytest.mark.parametrize("sides", [(0, 5), (LARGEST_SIDE + 1, 1), (2**31 - 1, 2**31 - 1)])
def test_a_png_that_claims_too_much_is_not_decoded(sides: tuple[int, int]) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", *sides, 8, 0, 0, 0, 0)
    payload = b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header))
    assert picture_of(payload, CONTRACT) is None
