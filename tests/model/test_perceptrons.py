from __future__ import annotations

import numpy as np
import pytest
from gradient_checks import check_dropout, check_gradients
from toy_digits import CLASSES, PIXELS, toy_digits

from mnist_pipeline import plugins
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.model.arrays import Parameters
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.perceptrons import Mlp, Softmax

MODELS: list[Model] = [
    Softmax(),
    Mlp((6,)),
    Mlp((5, 4), init="xavier"),
    Mlp((5,), init="uniform"),
    Mlp((8, 6), dropout=0.3),
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def start(model: Model) -> Parameters:
    """The model's start in float64, and away from zero, where a ReLU has no derivative."""
    parameters = model.initialise(7, 3, rng())
    return {
        n: a.astype(np.float64) + 0.1 * rng(1).normal(size=a.shape) for n, a in parameters.items()
    }


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_against_finite_differences(model: Model, smoothing: float) -> None:
    check_gradients(model, start(model), rng(2).normal(size=(9, 7)), smoothing, atol=1e-7)


def test_dropout_is_drawn_from_the_generator_and_changes_the_loss() -> None:
    model = Mlp((8, 6), dropout=0.3)
    check_dropout(model, start(model), rng(2).normal(size=(9, 7)))


def test_names_shapes_and_order_of_parameters() -> None:
    parameters = Mlp((20, 30)).initialise(784, 10, rng())
    assert {name: array.shape for name, array in parameters.items()} == {
        "W1": (20, 784),
        "b1": (20,),
        "W2": (30, 20),
        "b2": (30,),
        "W3": (10, 30),
        "b3": (10,),
    }
    assert list(parameters) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    assert all(array.dtype == np.float32 for array in parameters.values())
    assert list(Softmax().initialise(784, 10, rng())) == ["W1", "b1"]


def test_the_three_starts() -> None:
    he = Mlp((500,)).initialise(784, 10, rng())
    assert he["W1"].std() == pytest.approx(np.sqrt(2 / 784), rel=0.01)
    assert he["W2"].std() == pytest.approx(np.sqrt(2 / 500), rel=0.05)
    assert not he["b1"].any()

    xavier = Mlp((500,), init="xavier").initialise(784, 10, rng())
    assert np.abs(xavier["W1"]).max() == pytest.approx(np.sqrt(6 / 1284), rel=1e-3)
    assert xavier["W1"].std() == pytest.approx(np.sqrt(2 / 1284), rel=0.01)
    assert not xavier["b1"].any()

    uniform = Mlp((500,), init="uniform").initialise(784, 10, rng())
    for array in uniform.values():
        assert np.abs(array).max() <= 0.5
    assert uniform["W1"].std() == pytest.approx(1 / np.sqrt(12), rel=0.01)
    assert uniform["b1"].std() == pytest.approx(1 / np.sqrt(12), rel=0.1)


def test_the_same_generator_gives_the_same_start() -> None:
    for model in MODELS:
        one, two = model.initialise(50, 4, rng(7)), model.initialise(50, 4, rng(7))
        assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": []}, "softmax"),
        ({"hidden": [128, 0]}, "not 0"),
        ({"hidden": [-1]}, "not -1"),
        ({"hidden": [10**9]}, "65,536"),
        ({"hidden": "many"}, "hidden"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"init": "hee"}, "init"),
        ({"hiden": [3]}, "hiden"),
    ],
)
def test_nonsense_is_a_configuration_error(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.build("model", "mlp", options)
    assert words in caught.value.headline
    assert caught.value.remedy


def test_options_arrive_through_the_plugin_system() -> None:
    mlp = plugins.build("model", "mlp.v1", {"hidden": [32, 16], "init": "xavier", "dropout": 0.25})
    assert mlp == Mlp((32, 16), "xavier", 0.25)
    assert plugins.build("model", "softmax", {}) == Softmax()
    assert all(info.help for info in plugins.describe(Mlp))


@pytest.mark.parametrize("name", ["scale", "standardize"])
@pytest.mark.parametrize("model", [Softmax(), Mlp((6,))], ids=str)
def test_zero_unlit_silences_dark_pixels_and_changes_no_prediction(model: Model, name: str) -> None:
    images, _ = toy_digits(200)
    dark = np.array([0, 5, 63])
    images[:, dark] = 0
    normalizer = FittedNormalizer.fit(name, {}, [images])
    parameters = {
        n: rng(1).normal(size=a.shape).astype(np.float32)
        for n, a in model.initialise(PIXELS, CLASSES, rng()).items()
    }
    before = {n: a.copy() for n, a in parameters.items()}
    lit = images.any(axis=0)
    zeroed = model.zero_unlit(parameters, lit, normalizer)

    assert not zeroed["W1"][:, dark].any()
    np.testing.assert_array_equal(zeroed["W1"][:, lit], before["W1"][:, lit])
    assert all(np.array_equal(parameters[n], before[n]) for n in parameters)
    old, new = model.compile(parameters, normalizer), model.compile(zeroed, normalizer)
    np.testing.assert_allclose(new(images), old(images), atol=1e-5)
    specks = images.copy()
    specks[:, dark] = 255
    assert np.abs(old(specks) - old(images)).max() > 1e-3
    if name == "scale":
        np.testing.assert_array_equal(new(specks), new(images))


def test_dead_units_counts_the_worst_layer() -> None:
    model = Mlp((4, 2))
    parameters = model.initialise(3, 2, rng())
    x = np.ones((10, 3), np.float32)
    parameters["W1"][...], parameters["W2"][...] = 1, 1
    assert model.dead_units(parameters, x) == 0
    parameters["b1"][:3] = -100
    assert model.dead_units(parameters, x) == 0.75
    parameters["b2"][...] = -100
    assert model.dead_units(parameters, x) == 1
    assert Softmax().dead_units(Softmax().initialise(3, 2, rng()), x) == 0
