"""What the convolutional network predicts once it is compiled, is stored, comes out of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_cnn import SMALL, Float, depth, forward, rng, start

from mnist_pipeline.cli import main
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.model.arrays import Parameters
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.cnn import Cnn
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.predictor import BATCH, Predictor
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train
from mnist_pipeline.store.bundles import bundle_files, bundle_from, check_golden, golden_file

Digits = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def images_of(count: int, side: int = 8) -> NDArray[np.uint8]:
    """Random images, a third of the pixels lit."""
    images = rng(5).integers(0, 256, (count, side * side), dtype=np.uint8)
    images[rng(6).random(images.shape) > 0.3] = 0
    return images


def trained(
    model: Cnn, images: NDArray[np.uint8], normalizer: FittedNormalizer, classes: int = 3
) -> Parameters:
    """Random parameters, calibrated on the images in two blocks."""
    noise = rng(7)
    parameters = {
        name: (array + 0.2 * noise.standard_normal(array.shape)).astype(np.float32)
        for name, array in model.initialise(images.shape[1], classes, rng()).items()
    }
    half = len(images) // 2
    blocks = (normalizer.transform(block) for block in (images[:half], images[half:]))
    return model.calibrate(parameters, blocks)


def moments_of(parameters: Parameters) -> list[tuple[Float, Float]]:
    return [
        (parameters[f"mean{n}"].astype(np.float64), parameters[f"variance{n}"].astype(np.float64))
        for n in range(1, depth(parameters))
    ]


@pytest.mark.parametrize("model", SMALL, ids=str)
@pytest.mark.parametrize("name", ["scale", "standardize", "deskew"])
def test_the_compiled_network_is_the_literal_one_with_its_moments(model: Cnn, name: str) -> None:
    images = images_of(20, side=6)
    normalizer = FittedNormalizer.fit(name, {}, [images])
    parameters = trained(model, images, normalizer)
    expected = forward(
        model, parameters, normalizer.transform(images).astype(np.float64), moments_of(parameters)
    )
    probabilities = model.compile(parameters, normalizer)(images)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert expected.std() > 0.05


def test_calibrated_moments_of_one_block_are_those_that_training_normalizes_with() -> None:
    model, x = SMALL[2], rng(2).normal(size=(40, 36))
    parameters = start(model)
    calibrated = model.calibrate(parameters, [x])
    assert list(calibrated)[: len(parameters)] == list(parameters)
    assert all(np.array_equal(calibrated[name], parameters[name]) for name in parameters)
    assert calibrated["lit"].all()
    np.testing.assert_allclose(
        forward(model, parameters, x, moments_of(calibrated)), forward(model, parameters, x)
    )


def test_calibrated_moments_are_over_all_blocks() -> None:
    """The first layer sees the same inputs whatever the blocks: its moments are those of all."""
    model, x = SMALL[0], rng(2).normal(size=(40, 36))
    x[:20] += 3  # so that the blocks' means differ
    parameters = start(model)
    whole = model.calibrate(parameters, [x])
    parts = model.calibrate(parameters, (x[start : start + 10] for start in range(0, 40, 10)))
    np.testing.assert_allclose(parts["mean1"], whole["mean1"])
    np.testing.assert_allclose(parts["variance1"], whole["variance1"])


PLACES = Cnn(stages=((8,), (6,)), kernel=5, padding=2, hidden=(20,))


def wide_predictor(images: NDArray[np.uint8]) -> Predictor:
    normalizer = FittedNormalizer.fit("standardize", {}, [images])
    return PLACES.compile(trained(PLACES, images[:100], normalizer, classes=10), normalizer)


def check_places() -> None:
    """An image has the same bits alone, among others and anywhere; also run by other kernels."""
    images = images_of(2 * BATCH + 50, side=28)
    predictor = wide_predictor(images)
    together = predictor(images)
    for row in (0, 7, 150, BATCH - 1, BATCH, len(images) - 1):
        np.testing.assert_array_equal(predictor(images[row : row + 1])[0], together[row])
    for offset in (1, 6, 12, BATCH - 1):
        np.testing.assert_array_equal(predictor(images[offset:]), together[offset:])
    order = rng().permutation(len(images))
    np.testing.assert_array_equal(predictor(images[order]), together[order])


def test_an_image_has_the_same_bits_alone_among_others_and_anywhere() -> None:
    check_places()


@pytest.mark.slow
@pytest.mark.parametrize("core", ["Haswell", "Zen", "SkylakeX", "Sandybridge", "Prescott"])
def test_an_image_has_the_same_bits_anywhere_with_the_kernels_of(core: str) -> None:
    here = str(Path(__file__).parent)
    paths = [here, str(Path(here).parent), *sys.path]
    subprocess.run(
        [sys.executable, "-c", "import test_cnn_predictions as t; t.check_places()"],
        env=os.environ | {"OPENBLAS_CORETYPE": core, "PYTHONPATH": os.pathsep.join(paths)},
        check=True,
    )


@pytest.mark.parametrize("name", ["scale", "standardize", "deskew"])
def test_a_speck_where_nothing_was_ever_lit_changes_nothing(name: str) -> None:
    images = images_of(30)
    dark = np.array([0, 5, 63, 36])
    images[:, dark] = 0
    if name == "deskew":  # which moves pixels about: let there be a single one that does not lean
        images[...] = 0
        images[:, 9] = np.arange(30)
    normalizer = FittedNormalizer.fit(name, {}, [images])
    model = Cnn(stages=((4,), (5,)))
    parameters = trained(model, images, normalizer)
    blank = normalizer.transform(np.zeros((1, 64), np.uint8))
    lit = (normalizer.transform(images) != blank).any(axis=0)
    assert not lit[dark].any()
    masked = model.zero_unlit(parameters, lit, normalizer)
    assert parameters["lit"].all()
    old, new = model.compile(parameters, normalizer), model.compile(masked, normalizer)
    np.testing.assert_array_equal(new(images), old(images))
    if name != "deskew":
        specks = images.copy()
        specks[:, dark] = 255
        assert np.abs(old(specks) - old(images)).max() > 1e-3
        np.testing.assert_array_equal(new(specks), new(images))


def test_a_compiled_predictor_is_independent_of_later_training() -> None:
    images = images_of(10)
    normalizer = FittedNormalizer.fit("scale", {}, [images])
    model = Cnn(stages=((4,), (5,)))
    parameters = trained(model, images, normalizer)
    predictor = model.compile(parameters, normalizer)
    before = predictor(images)
    for array in parameters.values():
        array *= 0
    np.testing.assert_array_equal(predictor(images), before)


# --- in the store, in the pipeline ---


def small_bundle(images: NDArray[np.uint8], name: str) -> Bundle:
    contract = ImageContract(8, 8, ("a", "b", "c"))
    normalizer = FittedNormalizer.fit(name, {}, [images])
    model = Cnn(stages=((4, 3), (5,)), hidden=(6,))
    return Bundle(contract, normalizer, "cnn.v1", model, trained(model, images, normalizer))


@pytest.mark.parametrize("name", ["scale", "standardize", "deskew"])
def test_a_bundle_survives_the_store(name: str) -> None:
    images = images_of(40)
    bundle = small_bundle(images, name)
    files = bundle_files(bundle)
    again = bundle_from(files)
    assert bundle_files(again) == files
    assert again.spec == bundle.spec
    golden = golden_file(bundle, images, np.zeros(40, np.uint8))
    check_golden(again, golden)
    answers = again.predict(images.reshape(-1, 8, 8))
    np.testing.assert_array_equal(answers.probabilities, bundle.predict(images).probabilities)
    np.testing.assert_array_equal(answers.labels, answers.probabilities.argmax(axis=1))
    again.parameters["mean1"][...] += 1
    damaged = Bundle(again.contract, again.normalizer, "cnn.v1", again.spec, again.parameters)
    with pytest.raises(IntegrityError, match="golden"):
        check_golden(damaged, golden)


def test_it_learns_digits(digits: Digits) -> None:
    images, labels = digits
    normalizer = FittedNormalizer.fit("standardize", {}, [images[:400]])
    model = Cnn(stages=((4,), (8,)))
    recipe = Recipe(epochs=5, batch_size=16, learning_rate=0.01)
    result = train(
        model,
        images[:400],
        labels[:400],
        normalizer,
        recipe,
        classes=10,
        validation=(images[400:], labels[400:]),
    )
    assert result.history[-1]["validation_accuracy"] > 0.6
    p = model.compile(result.parameters, normalizer)(images[400:])
    assert np.mean(p.argmax(axis=1) == labels[400:]) == result.history[-1]["validation_accuracy"]
    assert not result.parameters["lit"].all()


@pytest.mark.parametrize(
    "normalize", ["standardize", pytest.param("deskew", marks=pytest.mark.slow)]
)
def test_the_whole_pipeline_publishes_it_and_knows_it_again(
    normalize: str, idx_folder: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [
        "model.kind=cnn",
        "model.stages=[[4],[6],[8]]",
        f"normalize.kind={normalize}",
        "train.epochs=2",
        "train.learning_rate=0.02",
        "train.batch_size=32",
        "gate.min_accuracy=0",
        "gate.min_recall=0",
    ]
    words = ["--source", f"idx:{idx_folder}", "--engine", "plain"]
    words += [word for setting in settings for word in ("--set", setting)]

    def ask(*arguments: str) -> Any:
        code = main([*arguments, "--workspace", str(workspace), "--json"])
        out = capsys.readouterr().out
        assert code == 0, out
        return json.loads(out)

    assert ask("train", *words)["status"] == "promoted"
    assert ask("models", "verify", "digits@champion")
    assert ask("train", *words)["status"] == "unchanged"
