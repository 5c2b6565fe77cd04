"""The convolutional network: its gradient, its options, what it predicts once it is compiled."""

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
from test_layers import numeric_gradient
from test_spatial import correlated, pooled

from mnist_pipeline import plugins
from mnist_pipeline.cli import main
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import ConfigError, IntegrityError
from mnist_pipeline.model import spatial
from mnist_pipeline.model.arrays import Parameters
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.cnn import Cnn
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.predictor import BATCH, Predictor
from mnist_pipeline.model.trainer import Recipe, train
from mnist_pipeline.store.bundles import bundle_files, bundle_from, check_golden, golden_file

Float = NDArray[np.float64]
Digits = tuple[NDArray[np.uint8], NDArray[np.uint8]]

SMALL = [  # on 6×6 pixels
    Cnn(stages=((2,),)),
    Cnn(stages=((2, 3),), hidden=(4,)),
    Cnn(stages=((2,), (3,)), hidden=(5, 4)),
    Cnn(stages=((3,),), kernel=2, padding=1),  # 7×7 before the pooling: an odd side
    Cnn(stages=((2,),), kernel=3, padding=0),
    Cnn(stages=((2,),), kernel=1, padding=0),
    Cnn(stages=((2,),), kernel=5, padding=2, dropout=0.4),
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def start(model: Cnn, pixels: int = 36, classes: int = 3) -> Parameters:
    """The model's start in float64, and away from zero, where a ReLU has no derivative."""
    parameters = model.initialise(pixels, classes, rng())
    return {
        n: a.astype(np.float64) + 0.1 * rng(1).normal(size=a.shape) for n, a in parameters.items()
    }


def depth(parameters: Parameters) -> int:
    return sum(name.startswith("K") for name in parameters)


def forward(
    model: Cnn, parameters: Parameters, x: Float, moments: list[tuple[Float, Float]] | None = None
) -> Float:
    """Probabilities (N, C), layer by layer as the paper says, by loops.

    Batch normalization uses the moments given, one pair a layer; without them the batch's own.
    """
    side = round(x.shape[1] ** 0.5)
    a = x.T.reshape(side, 1, side, len(x))
    layers = [
        (model.padding, n == len(stage)) for stage in model.stages for n in range(1, len(stage) + 1)
    ]
    layers += [(0, False)] * len(model.hidden)
    for n, (padding, pool) in enumerate(layers, start=1):
        border = [(padding, padding), (0, 0), (padding, padding), (0, 0)]
        z = correlated(np.pad(a, border), parameters[f"K{n}"].astype(np.float64))
        z = pooled(z) if pool else z
        if moments is None:
            mean, variance = z.mean(axis=(0, 2, 3)), z.var(axis=(0, 2, 3))
        else:
            mean, variance = moments[n - 1]
        gamma, beta, mean, variance = (
            v.reshape(1, -1, 1, 1)
            for v in (parameters[f"gamma{n}"], parameters[f"beta{n}"], mean, variance)
        )
        a = np.maximum(gamma * (z - mean) / np.sqrt(variance + spatial.EPSILON) + beta, 0)
    logits = correlated(a, parameters[f"K{len(layers) + 1}"].astype(np.float64))[0, :, 0].T
    e = np.exp(logits + parameters["b"])
    return e / e.sum(axis=1, keepdims=True)


# --- training ---


@pytest.mark.parametrize("model", SMALL, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_against_finite_differences(model: Cnn, smoothing: float) -> None:
    parameters = start(model)
    x, labels = rng(2).normal(size=(5, 36)), rng(3).integers(0, 3, 5)
    gradients = {name: np.full_like(array, np.nan) for name, array in parameters.items()}
    scrap = {name: np.empty_like(array) for name, array in parameters.items()}

    def loss(changed: Parameters, into: Parameters) -> float:
        # The same generator each time: the same values are dropped.
        return model.loss_and_gradients(
            changed, x, labels, into, label_smoothing=smoothing, rng=rng(4)
        )

    loss(parameters, gradients)
    for name in parameters:
        numeric = numeric_gradient(
            lambda a, name=name: loss({**parameters, name: a}, scrap), parameters[name]
        )
        np.testing.assert_allclose(gradients[name], numeric, atol=2e-7, err_msg=name)


@pytest.mark.parametrize("model", SMALL[:-1], ids=str)
def test_the_loss_is_that_of_a_literal_forward_pass(model: Cnn) -> None:
    parameters = start(model)
    x, labels = rng(2).normal(size=(5, 36)), rng(3).integers(0, 3, 5)
    before = x.copy(), {name: array.copy() for name, array in parameters.items()}
    gradients = {name: np.empty_like(array) for name, array in parameters.items()}
    loss = model.loss_and_gradients(
        parameters, x, labels, gradients, label_smoothing=0.0, rng=rng(4)
    )
    p = forward(model, parameters, x)
    assert loss == pytest.approx(-np.log(p[np.arange(5), labels]).mean(), rel=1e-10)
    np.testing.assert_array_equal(x, before[0])
    assert all(np.array_equal(parameters[name], before[1][name]) for name in parameters)


def test_dropout_is_drawn_from_the_generator_and_changes_the_loss() -> None:
    model = SMALL[-1]
    parameters = start(model)
    gradients = {name: np.empty_like(array) for name, array in parameters.items()}
    x, labels = rng(2).normal(size=(9, 36)), rng(3).integers(0, 3, 9)
    losses = [
        model.loss_and_gradients(
            parameters, x, labels, gradients, label_smoothing=0.0, rng=rng(seed)
        )
        for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_names_shapes_and_start_of_parameters() -> None:
    model = Cnn(stages=((8,), (16, 24)), hidden=(50,))
    parameters = model.initialise(784, 10, rng())
    assert {name: array.shape for name, array in parameters.items()} == {
        "K1": (8, 1, 3, 3),
        "gamma1": (8,),
        "beta1": (8,),
        "K2": (16, 8, 3, 3),
        "gamma2": (16,),
        "beta2": (16,),
        "K3": (24, 16, 3, 3),
        "gamma3": (24,),
        "beta3": (24,),
        "K4": (50, 24, 7, 7),
        "gamma4": (50,),
        "beta4": (50,),
        "K5": (10, 50, 1, 1),
        "b": (10,),
    }
    assert all(array.dtype == np.float32 for array in parameters.values())
    assert parameters["K4"].std() == pytest.approx(np.sqrt(2 / (24 * 49)), rel=0.02)
    assert (parameters["gamma2"] == 1).all()
    assert not parameters["beta2"].any()
    again = model.initialise(784, 10, rng())
    assert all(np.array_equal(parameters[name], again[name]) for name in parameters)


# --- options ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stages": []}, "stages"),
        ({"stages": [[8], []]}, "stages"),
        ({"stages": [[8], [0]]}, "at least one channel"),
        ({"stages": [8, 16]}, "stages"),
        ({"stages": "many"}, "stages"),
        ({"hidden": [0]}, "at least one channel"),
        ({"kernel": 0}, "kernel"),
        ({"padding": 3}, "padding"),
        ({"padding": -1}, "padding"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"kernels": 3}, "kernels"),
    ],
    ids=str,
)
def test_nonsense_is_a_configuration_error(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.build("model", "cnn", options)
    assert words in caught.value.headline
    assert caught.value.remedy


def test_options_arrive_through_the_plugin_system() -> None:
    options = {"stages": [[4], [5, 6]], "kernel": 5, "padding": 2, "hidden": [7], "dropout": 0.5}
    model = plugins.build("model", "cnn.v1", options)
    assert model == Cnn(((4,), (5, 6)), 5, 2, (7,), 0.5)
    assert plugins.build("model", "cnn", {}) == Cnn()
    assert all(info.help for info in plugins.describe(Cnn))


@pytest.mark.parametrize(
    ("options", "pixels", "words"),
    [
        ({}, 28 * 20, "square images"),
        ({"stages": [[2]] * 5}, 784, "more stages than the image has pixels for"),
        ({"stages": [[2], [2], [2]], "kernel": 9, "padding": 0}, 784, "more stages"),
        ({"stages": [[2]], "kernel": 9, "padding": 0}, 64, "more stages"),
    ],
    ids=str,
)
def test_images_it_is_not_for_are_refused(
    options: dict[str, object], pixels: int, words: str
) -> None:
    model = plugins.build("model", "cnn", options)
    with pytest.raises(ConfigError, match=words) as caught:
        model.initialise(pixels, 10, rng())
    assert caught.value.remedy


# --- predictions ---


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
        [sys.executable, "-c", "import test_cnn; test_cnn.check_places()"],
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
