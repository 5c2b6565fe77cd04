"""Deskew: right by its formula, and an image's bits are its own."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mnist_pipeline import plugins
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.model import deskew
from mnist_pipeline.model.batches import Loader, Order
from mnist_pipeline.model.deskew import ROWS, Deskew, straighten
from mnist_pipeline.model.normalize import FittedNormalizer, Scale, Standardize
from mnist_pipeline.model.perceptrons import Mlp
from mnist_pipeline.model.predictor import BATCH
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train

Images = NDArray[np.uint8]
Digits = tuple[Images, NDArray[np.uint8]]


def picture(lit: dict[tuple[int, int], int], side: int = 28) -> Images:
    """One image (1, side²) from {(line, column): pixel}."""
    image = np.zeros((side, side), np.uint8)
    for place, value in lit.items():
        image[place] = value
    return image.reshape(1, -1)


def leaning_bar(lean: float) -> Images:
    """A stroke two columns wide, ten lines high, that moves `lean` columns a line."""
    cells = ((y, 14 + round(lean * (y - 13.5)) + x) for y in range(9, 19) for x in range(2))
    return picture(dict.fromkeys(cells, 255))


def slant(image: Images) -> float:
    """α = μ₁₁/μ₀₂ of one square image, by definition; 0 without height."""
    side = math.isqrt(image.size)
    p = image.reshape(side, side).astype(np.float64)
    if not p.any():
        return 0.0
    y, x = np.mgrid[:side, :side]
    from_x, from_y = x - np.average(x, weights=p), y - np.average(y, weights=p)
    mu11, mu02 = (p * from_x * from_y).sum(), (p * from_y**2).sum()
    return float(mu11 / mu02) if mu02 > 1e-9 else 0.0


def by_definition(image: Images) -> NDArray[np.float64]:
    """The straightened image before rounding: pixel by pixel, in float64."""
    side = math.isqrt(image.size)
    p = image.reshape(side, side).astype(np.float64)
    alpha = min(max(slant(image), -1.0), 1.0)
    mean_y = np.average(np.arange(side), weights=p.sum(axis=1)) if p.any() else 0.0
    result = np.zeros((side, side))
    for y in range(side):
        for x in range(side):
            source = x + alpha * (y - mean_y)
            left = math.floor(source)
            for column, weight in ((left, left + 1 - source), (left + 1, source - left)):
                if 0 <= column < side:
                    result[y, x] += weight * p[y, column]
    return result.reshape(1, -1)


# A shift is rounded to 1/256 of a column, so by 1/512 at most, a grey value to an integer.
TOLERANCE = 255 / 512 + 0.5 + 1e-9


def test_drawn_digits_as_the_formula_says(digits: Digits) -> None:
    images = digits[0][:60]
    expected = np.concatenate([by_definition(image[np.newaxis]) for image in images])
    np.testing.assert_allclose(straighten(images), expected, atol=TOLERANCE)
    assert (straighten(images) != images).any(axis=1).mean() > 0.9


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lit=st.dictionaries(
        st.tuples(st.integers(0, 8), st.integers(0, 8)), st.integers(1, 255), max_size=12
    )
)
def test_any_few_pixels_as_the_formula_says(lit: dict[tuple[int, int], int]) -> None:
    image = picture(lit, side=9)
    np.testing.assert_allclose(straighten(image), by_definition(image), atol=TOLERANCE)


@pytest.mark.parametrize("lean", [-0.9, -0.5, -0.2, 0.3, 0.6, 0.9])
def test_a_leaning_stroke_stands_upright_where_it_stood(lean: float) -> None:
    image = leaning_bar(lean)
    upright = straighten(image)
    assert abs(slant(image) - lean) < 0.1
    assert abs(slant(upright)) < 0.01
    before, after = (a.reshape(28, 28).astype(np.float64) for a in (image, upright))
    assert after.sum() == pytest.approx(before.sum(), rel=0.01)
    np.testing.assert_allclose(after.sum(axis=1), before.sum(axis=1), atol=2)
    columns = np.arange(28)
    centre = [np.average(columns, weights=a.sum(axis=0)) for a in (before, after)]
    assert centre[1] == pytest.approx(centre[0], abs=0.01)


@pytest.mark.parametrize(
    "lit",
    [
        {},
        {(3, 20): 255},
        {(27, 27): 1},
        {(5, x): 10 * x for x in range(1, 20)},  # one line: it has no height to lean
        {(y, 9): 7 + y for y in range(28)},  # one column: upright already
        {(y, x): 255 for y in range(28) for x in range(28)},
    ],
    ids=["blank", "one pixel", "last pixel", "one line", "one column", "full"],
)
def test_what_does_not_lean_stays_as_it_is(lit: dict[tuple[int, int], int]) -> None:
    np.testing.assert_array_equal(straighten(picture(lit)), picture(lit))


def test_the_shear_ends_at_45_degrees() -> None:
    flat = picture({(10, 2): 200, (11, 25): 200})  # 23 columns a line
    at_half = {(10, 2): 100, (10, 3): 100, (11, 24): 100, (11, 25): 100}  # ȳ = 10.5: half a column
    np.testing.assert_array_equal(straighten(flat), picture(at_half))


def test_ink_that_leaves_the_frame_does_not_come_back_elsewhere() -> None:
    # A heavy steep stroke decides the shear; the corners it moves farthest hold the rest.
    corners = {(0, 27): 255, (27, 0): 255, (0, 0): 255, (27, 27): 255}
    image = picture({**{(y, y): 255 for y in range(4, 24)}, **corners})
    between = np.concatenate([np.zeros_like(image), image, np.zeros_like(image)])
    upright = straighten(between)
    assert not upright[[0, 2]].any()
    np.testing.assert_allclose(upright[1:2], by_definition(image), atol=TOLERANCE)
    assert upright[1].sum(dtype=int) < image.sum(dtype=int)


# --- an image's bits are its own ---


def noise(rows: int) -> Images:
    """Images of random pixels, some mostly dark: every shear, every edge."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (rows, 784), dtype=np.uint8)
    images[rng.random(images.shape) > rng.random((rows, 1)) ** 4] = 0
    return images


def test_the_same_bits_alone_among_others_and_anywhere() -> None:
    images = noise(ROWS + 100)
    together = straighten(images)
    for row in range(0, len(images), 43):
        np.testing.assert_array_equal(straighten(images[row : row + 1])[0], together[row])
    for offset in (1, 7, 100, ROWS - 1):
        np.testing.assert_array_equal(straighten(images[offset:]), together[offset:])
    order = np.random.default_rng(1).permutation(len(images))
    np.testing.assert_array_equal(straighten(images[order]), together[order])


def test_a_prediction_has_the_same_bits_alone_among_others_and_anywhere() -> None:
    images = noise(2 * BATCH + 50)
    normalizer = FittedNormalizer.fit("deskew", {"values": "standardize"}, [images])
    model = Mlp((37,))
    parameters = model.initialise(784, 10, np.random.default_rng(1))
    predictor = model.compile(parameters, normalizer)
    together = predictor(images)
    for row in range(0, len(images), 61):
        np.testing.assert_array_equal(predictor(images[row : row + 1])[0], together[row])
    for offset in (1, 6, 12, 100, BATCH - 1):
        np.testing.assert_array_equal(predictor(images[offset:]), together[offset:])
    order = np.random.default_rng(1).permutation(len(images))
    np.testing.assert_array_equal(predictor(images[order]), together[order])
    x = normalizer.transform(images)
    a = np.maximum(x @ parameters["W1"].T + parameters["b1"], 0) @ parameters["W2"].T
    e = np.exp(a + parameters["b2"])
    np.testing.assert_allclose(together, e / e.sum(axis=1, keepdims=True), atol=1e-5)


def test_any_memory_layout_and_nothing_is_written_to() -> None:
    images = noise(20)
    images.flags.writeable = False
    expected = straighten(images)
    for same in (np.asfortranarray(images), np.repeat(images, 2, axis=0)[::2]):
        np.testing.assert_array_equal(straighten(same), expected)


@pytest.mark.parametrize("side", [1, 2, 28, 29, 40])
def test_the_sums_are_exact(side: int) -> None:
    weights = deskew._monomials(side)
    assert weights.dtype == (np.float32 if side < 30 else np.float64)
    exact = weights.astype(np.int64)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, side * side), dtype=np.uint8)
    images[0] = 255
    for column in range(5):  # the largest partial sums that can occur
        images[2 * column + 1] = 255 * (exact[:, column] > 0)
        images[2 * column + 2] = 255 * (exact[:, column] < 0)
    sums = images.astype(weights.dtype) @ weights
    np.testing.assert_array_equal(sums, images.astype(np.int64) @ exact)


# --- as a normalizer ---


@pytest.mark.parametrize("images", [np.zeros((3, 783), np.uint8), np.zeros((0, 6), np.uint8)])
def test_images_that_are_not_square_are_refused(images: Images) -> None:
    with pytest.raises(DataError, match="square") as caught:
        straighten(images)
    assert caught.value.facts == {"pixels": images.shape[1]}
    assert "scale" in caught.value.remedy


def test_values_are_those_of_the_other_normalizers(digits: Digits) -> None:
    images = digits[0]
    upright = straighten(images)
    scaled = FittedNormalizer.fit("deskew", {}, [images])
    np.testing.assert_array_equal(scaled.transform(images), Scale().transform({}, upright))
    assert scaled.affine() is None
    standardized = FittedNormalizer.fit("deskew", {"values": "standardize"}, [images])
    assert standardized.state == Standardize().fit([upright])
    x = standardized.transform(images)
    assert x.dtype == np.float32
    assert abs(x.mean(dtype=np.float64)) < 1e-6
    assert x.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("values", ["scale", "standardize"])
def test_fit_and_transform_keep_the_promises_of_the_seam(digits: Digits, values: str) -> None:
    images = digits[0]
    fitted = FittedNormalizer.fit("deskew", {"values": values}, [images])
    for cuts in ([100], [0, 1, 1, 599], [300, 300]):
        blocks = [images[a:b] for a, b in itertools.pairwise([0, *cuts, 600])]
        assert FittedNormalizer.fit("deskew", {"values": values}, iter(blocks)) == fitted
    for nothing in ([], [images[:0]]):
        with pytest.raises(DataError, match="no training rows"):
            fitted.plugin.fit(nothing)
    again = FittedNormalizer.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    assert again.name == "deskew.v1"
    out = np.empty(images.shape, np.float32)
    assert again.transform(images, out) is out
    np.testing.assert_array_equal(out, fitted.transform(images))


def test_other_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="values"):
        plugins.build("normalizer", "deskew", {"values": "percent"})
    assert all(info.help for info in plugins.describe(Deskew))


def test_inputs_are_judged_dark_after_the_straightening() -> None:
    """Leaning strokes light pixels that lie dark once they are upright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    tilted, upright = leaning_bar(0.8), leaning_bar(0.0)
    images = np.concatenate([tilted, upright])[labels] // rng.integers(1, 3, (400, 1), np.uint8)
    normalizer = FittedNormalizer.fit("deskew", {"values": "standardize"}, [images])
    result = train(Mlp((8,)), images, labels, normalizer, Recipe(epochs=1), classes=2)
    expected = straighten(images).any(axis=0)
    np.testing.assert_array_equal(result.lit, expected)
    assert (images.any(axis=0) & ~expected).any()
    assert not result.parameters["W1"][:, ~expected].any()
    assert result.parameters["W1"][:, expected].all()


def test_zeroing_unlit_inputs_changes_no_prediction() -> None:
    images = leaning_bar(0.8)
    normalizer = FittedNormalizer.fit("deskew", {"values": "standardize"}, [images])
    model = Mlp((6,))
    parameters = model.initialise(784, 10, np.random.default_rng(0))
    zeroed = model.zero_unlit(parameters, straighten(images)[0] > 0, normalizer)
    old, new = (model.compile(p, normalizer)(images) for p in (parameters, zeroed))
    np.testing.assert_allclose(new, old, atol=1e-5)


@pytest.mark.parametrize("turned", [False, True], ids=["as they are", "turned"])
def test_batches_straighten_in_every_epoch_after_augmentation(digits: Digits, turned: bool) -> None:
    images = digits[0]

    def turn(raw: Images, out: Images) -> Images:
        np.copyto(out, raw[:, ::-1])
        return out

    given_images = images[:, ::-1] if turned else images
    normalizer = FittedNormalizer.fit("deskew", {}, [images])
    loader = Loader(
        images,
        np.arange(600),
        normalizer,
        dtype=np.float32,
        distort=turn if turned else None,
    )
    order = Order(600, 200, np.random.default_rng(0))
    seen: list[int] = []
    for step in range(1, 7):
        for x, rows in loader.blocks(order.batch(step)):
            np.testing.assert_array_equal(x, normalizer.transform(given_images[rows]))
            seen += rows.tolist()
        np.testing.assert_array_equal(loader.lit, straighten(given_images[seen]).any(axis=0))
