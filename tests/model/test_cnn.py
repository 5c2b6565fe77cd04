"""The convolutional network: its gradient, its start, its options."""

from __future__ import annotations

import numpy as np
import pytest
from gradient_checks import check_dropout, check_gradients
from numpy.typing import NDArray
from test_spatial import correlated, pooled

from mnist_pipeline import plugins
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.model import spatial
from mnist_pipeline.model.arrays import Parameters
from mnist_pipeline.model.cnn import Cnn

Float = NDArray[np.float64]

SMALL = [  # on 6×6 pixels
    Cnn(stages=((2,),), hidden=(6,)),
    Cnn(stages=((2, 3),), hidden=(4,)),
    Cnn(stages=((2,), (3,)), hidden=(5, 4)),
    Cnn(stages=((3,),), kernel=2, padding=1, hidden=(6,)),  # 7×7 before the pooling: an odd side
    Cnn(stages=((2,),), kernel=3, padding=0, hidden=(6,)),
    Cnn(stages=((2,),), kernel=1, padding=0, hidden=(6,)),
    Cnn(stages=((2,),), kernel=5, padding=2, hidden=(6,), dropout=0.4),
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
    check_gradients(model, start(model), rng(2).normal(size=(5, 36)), smoothing, atol=2e-7)


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
    check_dropout(SMALL[-1], start(SMALL[-1]), rng(2).normal(size=(9, 36)))


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
