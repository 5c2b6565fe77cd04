"""PNG bytes: what is written reads back, here and in Pillow; what is no grey picture is told."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.png import png_bytes, read_png

CONTRACT = ImageContract()


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (28, 28), np.uint8)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 99), height=st.integers(1, 40), width=st.integers(1, 40))
def test_what_is_written_reads_back(seed: int, height: int, width: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    blob = png_bytes(image)
    assert blob == png_bytes(image.copy())
    with Image.open(io.BytesIO(blob)) as opened:
        opened.verify()
    with Image.open(io.BytesIO(blob)) as opened:
        assert (opened.mode, opened.size) == ("L", (width, height))
        np.testing.assert_array_equal(np.asarray(opened), image)
    found = read_png(blob, ImageContract(height, width))
    np.testing.assert_array_equal(found, image.ravel())


def test_a_view_is_written_as_what_it_shows() -> None:
    image = picture()
    assert png_bytes(image.T) == png_bytes(np.ascontiguousarray(image.T))


def test_an_animation_is_not_one_picture() -> None:
    frames = [Image.fromarray(picture(seed)) for seed in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    assert read_png(file.getvalue(), CONTRACT) == (
        "undecodable_image",
        "an animation, not one picture",
    )


def test_grey_with_a_transparent_level_is_not_grey() -> None:
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "PNG", transparency=int(picture()[0, 0]))
    found = read_png(file.getvalue(), CONTRACT)
    assert isinstance(found, tuple)
    assert found[0] == "undecodable_image"


def test_a_picture_that_is_cut_anywhere_is_refused() -> None:
    blob = png_bytes(picture())
    for size in range(len(blob)):
        found = read_png(blob[:size], CONTRACT)
        assert isinstance(found, tuple)
        assert found[0] == "undecodable_image"
