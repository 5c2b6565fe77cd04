from __future__ import annotations

import numpy as np
import pytest

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import DataError, IntegrityError
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.normalize import FittedNormalizer, Scale
from mnist_pipeline.model.perceptrons import Mlp
from mnist_pipeline.model.predictor import VIEWS, Predictor
from mnist_pipeline.store.bundles import bundle_files, bundle_from

CONTRACT = ImageContract()
SPEC = Mlp((12,))
SCALE = FittedNormalizer("scale.v1", Scale(), {"pixels": 784})
IMAGES = np.random.default_rng(3).integers(0, 256, (40, 784), dtype=np.uint8)


def bundle(views: int) -> Bundle:
    parameters = SPEC.initialise(784, 10, np.random.default_rng(0))
    return Bundle(CONTRACT, SCALE, "mlp.v1", SPEC, parameters, views)


def moved(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Pixel by pixel, as a person would write it down."""
    result = np.zeros_like(images).reshape(-1, 28, 28)
    pictures = images.reshape(-1, 28, 28)
    for y in range(28):
        for x in range(28):
            if 0 <= y - down < 28 and 0 <= x - right < 28:
                result[:, y, x] = pictures[:, y - down, x - right]
    return result.reshape(images.shape)


@pytest.mark.parametrize("views", VIEWS)
def test_the_mean_over_shifted_images(views: int) -> None:
    plain = bundle(1).predictor
    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    kept = [m for m in moves if abs(m[0]) + abs(m[1]) <= {1: 0, 5: 1, 9: 2}[views]]
    assert len(kept) == views
    expected = np.mean([plain(moved(IMAGES, *move)).astype(float) for move in kept], axis=0)
    np.testing.assert_allclose(bundle(views).predictor(IMAGES), expected, atol=1e-6)


def test_views_belong_to_every_answer() -> None:
    answers = [bundle(views).predict(IMAGES).probabilities for views in VIEWS]
    assert not np.allclose(answers[0], answers[1], atol=1e-4)
    assert not np.allclose(answers[1], answers[2], atol=1e-4)


def test_an_image_has_the_same_bits_at_every_place() -> None:
    predictor = bundle(9).predictor
    whole = predictor(IMAGES)
    for row in (0, 17, 39):
        assert np.array_equal(predictor(IMAGES[row : row + 1]), whole[row : row + 1])
    assert np.array_equal(predictor(np.asfortranarray(IMAGES)), whole)
    assert predictor(IMAGES[:0]).shape == (0, 10)


def test_wrong_images_are_refused() -> None:
    with pytest.raises(DataError, match="do not fit the model"):
        bundle(5).predictor(IMAGES[:, :100])


@pytest.mark.parametrize("views", VIEWS)
def test_they_are_stored_in_the_bundle(views: int) -> None:
    files = bundle_files(bundle(views))
    found = bundle_from(files)
    assert found.views == views
    assert np.array_equal(found.predictor(IMAGES), bundle(views).predictor(IMAGES))
    # Without views a bundle is the bytes that it was before there were any.
    assert (b'"prediction": {},' in files["model.json"]) == (views == 1)


@pytest.mark.parametrize("wrong", [b'{"views": 3}', b'{"views": null}', b'{"blur": 1}', b"[]"])
def test_what_nobody_knows_is_refused(wrong: bytes) -> None:
    files = bundle_files(bundle(5))
    before = b'{\n    "views": 5\n  }'
    assert before in files["model.json"]
    files["model.json"] = files["model.json"].replace(before, wrong)
    with pytest.raises(IntegrityError, match="a bundle is damaged"):
        bundle_from(files)


def test_n_views_ask_the_network_n_times() -> None:
    asked = []
    predictor = bundle(1).predictor
    call = Predictor.__call__

    class Counting(Predictor):
        def __init__(self) -> None:
            self.pixels, self.classes, self.batch_size = 784, 10, predictor.batch_size

        def __call__(self, images: np.ndarray) -> np.ndarray:
            asked.append(len(images))
            return call(predictor, images)

    from mnist_pipeline.model.predictor import Shifted

    Shifted(Counting(), 5, (28, 28))(IMAGES)
    assert asked == [40] * 5
