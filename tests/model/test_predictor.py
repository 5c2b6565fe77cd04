"""An image's probabilities: right to the last bits, and the same wherever the image stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_pipeline.errors import DataError
from mnist_pipeline.model.arrays import Array, Parameters
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer, Normalizer
from mnist_pipeline.model.perceptrons import Mlp, Softmax
from mnist_pipeline.model.predictor import BATCH, Predictor

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3 * BATCH + 50, 784), dtype=np.uint8)
MODELS: list[Model] = [Softmax(), Mlp((10,)), Mlp((37,)), Mlp((128,)), Mlp((64, 32))]


def random_parameters(model: Model, classes: int = 10) -> Parameters:
    parameters = model.initialise(784, classes, np.random.default_rng(1))
    noise = np.random.default_rng(2)
    return {
        name: (0.05 * noise.standard_normal(array.shape)).astype(np.float32)
        for name, array in parameters.items()
    }


def fitted(name: str) -> FittedNormalizer:
    return FittedNormalizer.fit(name, {}, [IMAGES])


def by_definition(parameters: Parameters, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The network in float64, on normalized inputs, formula by formula."""
    depth = len(parameters) // 2
    a = x
    for i in range(1, depth + 1):
        a = a @ parameters[f"W{i}"].T.astype(np.float64) + parameters[f"b{i}"]
        a = np.maximum(a, 0) if i < depth else a
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("name", ["scale", "standardize"])
def test_folding_the_normalizer_changes_nothing_but_rounding(model: Model, name: str) -> None:
    parameters, normalizer = random_parameters(model), fitted(name)
    affine = normalizer.affine()
    assert affine is not None
    expected = by_definition(parameters, affine[0] * IMAGES + affine[1])
    probabilities = model.compile(parameters, normalizer)(IMAGES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, atol=2e-6)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_an_image_has_the_same_bits_alone_among_others_and_anywhere(model: Model) -> None:
    predictor = model.compile(random_parameters(model), fitted("scale"))
    together = predictor(IMAGES)
    for row in range(0, len(IMAGES), 97):
        np.testing.assert_array_equal(predictor(IMAGES[row : row + 1])[0], together[row])
    for offset in (1, 2, 5, 6, 7, 12, 100, BATCH - 1):
        np.testing.assert_array_equal(predictor(IMAGES[offset:]), together[offset:])
    order = RNG.permutation(len(IMAGES))
    np.testing.assert_array_equal(predictor(IMAGES[order]), together[order])


@pytest.mark.parametrize("rows", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH])
def test_any_number_of_rows(rows: int) -> None:
    predictor = Softmax().compile(random_parameters(Softmax()), fitted("scale"))
    probabilities = predictor(IMAGES[:rows])
    assert probabilities.shape == (rows, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_any_memory_layout() -> None:
    predictor = Mlp((10,)).compile(random_parameters(Mlp((10,))), fitted("scale"))
    expected = predictor(IMAGES[:100])
    readonly = IMAGES[:100].copy()
    readonly.flags.writeable = False
    wide = np.zeros((100, 1000), np.uint8)
    wide[:, 100:884] = IMAGES[:100]
    every_second = np.repeat(IMAGES[:100], 2, axis=0)[::2]
    for images in (readonly, np.asfortranarray(readonly), wide[:, 100:884], every_second):
        np.testing.assert_array_equal(predictor(images), expected)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((3, 783), np.uint8),
        np.zeros((3, 28, 28), np.uint8),
        np.zeros(784, np.uint8),
        np.zeros((3, 784), np.float32),
        np.zeros((3, 784), np.int64),
    ],
    ids=lambda images: f"{images.dtype}{images.shape}",
)
def test_other_shapes_and_types_are_refused(images: NDArray[Any]) -> None:
    predictor = Softmax().compile(random_parameters(Softmax()), fitted("scale"))
    with pytest.raises(DataError) as caught:
        predictor(images)
    assert caught.value.facts["expected"] == "uint8 (N, 784)"
    assert caught.value.remedy


def test_threads_share_a_predictor() -> None:
    predictor = Mlp((37,)).compile(random_parameters(Mlp((37,))), fitted("scale"))
    expected = predictor(IMAGES)
    with ThreadPoolExecutor(4) as pool:
        for probabilities in pool.map(predictor, [IMAGES] * 8):
            np.testing.assert_array_equal(probabilities, expected)


def test_a_compiled_predictor_is_independent_of_later_training() -> None:
    parameters = random_parameters(Softmax())
    predictor = Softmax().compile(parameters, fitted("scale"))
    before = predictor(IMAGES[:5])
    parameters["W1"] *= 0
    np.testing.assert_array_equal(predictor(IMAGES[:5]), before)


@dataclasses.dataclass(frozen=True)
class SquareRoot(Normalizer):
    """A normalizer that does not fold: x = √(p/255)."""

    def fit(self, blocks: Iterable[NDArray[np.uint8]]) -> dict[str, Any]:
        return {}

    def transform(
        self, state: Mapping[str, Any], images: NDArray[np.uint8], out: Array | None = None
    ) -> Array:
        x = np.empty(images.shape, np.float32) if out is None else out
        np.copyto(x, np.sqrt(images / 255))
        return x


@pytest.mark.parametrize("model", [Softmax(), Mlp((37,))], ids=str)
def test_a_normalizer_that_does_not_fold_runs_in_every_block(model: Model) -> None:
    parameters = random_parameters(model)
    normalizer = FittedNormalizer("square_root.v1", SquareRoot(), {})
    predictor = model.compile(parameters, normalizer)
    together = predictor(IMAGES)
    np.testing.assert_allclose(
        together, by_definition(parameters, np.sqrt(IMAGES / 255)), atol=2e-6
    )
    np.testing.assert_array_equal(predictor(IMAGES[7:9]), together[7:9])


def test_a_plugin_needs_no_more_than_a_function() -> None:
    """`Predictor` around any row-by-row function: here, how bright each half of an image is."""

    def halves(x: Array) -> Array:
        bright = np.stack([x[:, :2].sum(axis=1), x[:, 2:].sum(axis=1)], axis=1) + 1
        return bright / bright.sum(axis=1, keepdims=True)

    images = np.array([[255, 255, 0, 0], [0, 0, 0, 10]], np.uint8)
    probabilities = Predictor(halves, pixels=4, classes=2)(images)
    np.testing.assert_allclose(probabilities, [[511 / 512, 1 / 512], [1 / 12, 11 / 12]], rtol=1e-6)
