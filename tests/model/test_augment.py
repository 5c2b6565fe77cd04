from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from mnist_pipeline.errors import ConfigError
from mnist_pipeline.model.augment import Augmentation, Distorter

EVERYTHING = Augmentation(rotation=15, scale=0.2, shear=0.2, shift=3, elastic=1.2)


def blobs(rows: int, height: int, width: int) -> Any:
    """Smooth random pictures (rows, height · width) uint8 with ink up to the edges."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (rows, height // 4 + 2, width // 4 + 2)).astype(float)
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, 2 : height + 2, 1 : width + 1]
    return fine.astype(np.uint8).reshape(rows, -1)


def bend(how: Augmentation, images: Any, shape: tuple[int, int] = (28, 28), seed: int = 0) -> Any:
    distort = Distorter(how, shape, len(images), np.random.default_rng(seed))
    return distort(images, np.empty_like(images))


def bilinear(picture: Any, y: Any, x: Any) -> Any:
    """The plain definition, in float64, of an image (H, W) that is black outside."""
    padded = np.pad(picture.astype(float), 200)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = y - top, x - left
    top, left = top + 200, left + 200
    above = padded[top, left] * (1 - right) + padded[top, left + 1] * right
    below = padded[top + 1, left] * (1 - right) + padded[top + 1, left + 1] * right
    return above * (1 - down) + below * down


def test_nothing_is_bent_by_default() -> None:
    assert not Augmentation()
    assert not Augmentation(smoothness=3)
    for field in dataclasses.fields(Augmentation):
        if field.name != "smoothness":
            assert Augmentation(**{field.name: 0.1})
    images = blobs(40, 28, 28)
    assert np.array_equal(bend(Augmentation(shift=1e-9), images), images)


@pytest.mark.parametrize("shape", [(28, 28), (20, 33)])
@pytest.mark.parametrize("rows", [1, 16, 37])
def test_affine_maps_are_what_the_formulas_say(shape: tuple[int, int], rows: int) -> None:
    how = dataclasses.replace(EVERYTHING, elastic=0.0)
    images = blobs(rows, *shape)
    bent = bend(how, images, shape, seed=3).reshape(rows, *shape)
    rng = np.random.default_rng(3)

    def uniform(most: float) -> Any:
        return rng.uniform(-most, most, rows)

    turn, wide, high = uniform(math.radians(15)), uniform(0.2), uniform(0.2)
    shear, down, right = uniform(0.2), uniform(3), uniform(3)
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    y, x = np.indices(shape)
    for i in range(rows):
        rotation = np.array(
            [[np.cos(turn[i]), -np.sin(turn[i])], [np.sin(turn[i]), np.cos(turn[i])]]
        )
        shearing = np.array([[1, shear[i]], [0, 1]])
        A = rotation @ shearing @ np.diag(np.exp([wide[i], high[i]]))
        position = np.stack([x - middle[0], y - middle[1]], axis=-1) @ A.T + middle
        position += [right[i], down[i]]
        expected = bilinear(images[i].reshape(shape), position[..., 1], position[..., 0])
        # a 256th of a pixel in either direction, a step of ink at the most
        np.testing.assert_allclose(bent[i], expected, atol=2.6)


def test_elastic_displacements_are_smooth_and_as_large_as_told() -> None:
    # A ramp tells where its ink came from: ink = 4·x + 60 in the middle of the picture.
    ramp = np.tile(np.arange(28) * 4 + 60, (28, 1)).astype(np.uint8).reshape(1, -1)
    moved = bend(Augmentation(elastic=1.0), ramp.repeat(2000, axis=0)).reshape(-1, 28, 28)
    displacement = (moved.astype(float) - ramp.reshape(28, 28))[:, 6:22, 6:22] / 4
    assert np.abs(displacement.mean()) < 0.05
    assert 0.6 < displacement.std() < 1.1  # less in the middle than at the edges
    neighbours = np.diff(displacement, axis=2)
    assert neighbours.std() < 0.3 * displacement.std()
    rough = bend(Augmentation(elastic=1.0, smoothness=2), ramp.repeat(500, axis=0))
    roughness = np.diff(rough.reshape(-1, 28, 28).astype(float)[:, 6:22, 6:22], axis=2).std() / 4
    assert roughness > 1.5 * neighbours.std()


def test_a_field_smoother_than_the_image_still_bends() -> None:
    images = blobs(4, 28, 28)
    assert not np.array_equal(bend(Augmentation(elastic=1, smoothness=100), images), images)


def test_the_seed_decides_and_every_call_differs() -> None:
    images = blobs(50, 28, 28)
    distort = Distorter(EVERYTHING, (28, 28), 64, np.random.default_rng(1))
    first = distort(images, np.empty_like(images)).copy()
    second = distort(images, np.empty_like(images))
    assert np.array_equal(first, bend(EVERYTHING, images, seed=1))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, bend(EVERYTHING, images, seed=2))


def test_a_buffer_used_before_leaves_nothing_behind() -> None:
    distort = Distorter(EVERYTHING, (28, 28), 64, np.random.default_rng(1))
    full = np.full((64, 784), 255, np.uint8)
    distort(full, np.empty_like(full))
    blank = np.zeros((40, 784), np.uint8)
    assert not distort(blank, np.empty_like(blank)).any()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rotation", -1.0),
        ("rotation", 181.0),
        ("scale", 2.0),
        ("shear", math.nan),
        ("shift", -0.5),
        ("elastic", math.inf),
        ("smoothness", 0.0),
    ],
)
def test_values_out_of_range_name_the_key(key: str, value: float) -> None:
    with pytest.raises(ConfigError) as caught:
        Augmentation(**{key: value})
    assert caught.value.facts["key"] == f"train.augment.{key}"
