from __future__ import annotations

import math

import numpy as np
import pytest
from toy_digits import CLASSES, PIXELS, toy_digits

from mnist_pipeline.errors import TrainingError
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer, Scale
from mnist_pipeline.model.perceptrons import Mlp, Softmax
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train
from mnist_pipeline.model.watch import Watch
from mnist_pipeline.refs import canonical_json

SCALE = FittedNormalizer("scale.v1", Scale(), {"pixels": PIXELS})


def watch(total_steps: int = 400, warmup: float = 0.0) -> Watch:
    return Watch(Recipe(epochs=1, warmup=warmup), total_steps=total_steps, classes=10)


def feed(losses: list[float], warmup: float = 0.0) -> int:
    """How many losses were taken before the watch raised."""
    judge = watch(len(losses), warmup)
    for step, loss in enumerate(losses, start=1):
        try:
            judge.check_loss(step, loss)
        except TrainingError:
            return step
    return len(losses)


def test_a_loss_that_stays_above_guessing_is_noticed() -> None:
    assert feed([2.5] * 100 + [4.0] * 300) < 200


def test_a_loss_that_jumps_and_settles_above_guessing_is_noticed() -> None:
    assert feed([2.3, 1.0] * 100 + [50.0] * 10 + [3.0] * 190) < 260


def test_a_loss_that_is_high_but_falling_is_left_alone() -> None:
    assert feed([12 - 0.02 * step for step in range(400)]) == 400


def test_noise_around_guessing_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    assert feed(list(math.log(10) + rng.normal(0, 0.3, 400))) == 400


def test_the_beginning_and_the_warmup_are_left_alone() -> None:
    assert feed([9.0] * 80 + [1.0] * 320) == 400
    assert feed([9.0] * 200 + [1.0] * 200, warmup=0.5) == 400
    assert feed([9.0] * 400, warmup=0.5) > 200


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_gradient_that_is_not_finite_is_noticed_wherever_it_is(bad: float) -> None:
    gradient = np.zeros(1000, np.float32)
    watch().check_gradient(1, 2.3, gradient)
    gradient[617] = bad
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="not finite") as caught:
        watch().check_gradient(1, bad, gradient)
    canonical_json(caught.value.to_json())  # NaN would not pass


def test_a_single_class_is_learnt_in_peace() -> None:
    images, labels = toy_digits(500)
    recipe = Recipe(epochs=20, batch_size=50)
    assert train(Softmax(), images, labels * 0, SCALE, recipe, classes=1).history[-1]["loss"] == 0


@pytest.mark.parametrize("model", [Mlp((16,)), Mlp((16, 16))], ids=str)
@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_training_with_a_mad_learning_rate_fails_with_advice(model: Model, rate: float) -> None:
    images, labels = toy_digits(2000)
    recipe = Recipe(optimizer="sgd", learning_rate=rate, schedule="constant", epochs=10)
    with pytest.raises(TrainingError) as caught:
        train(model, images, labels, SCALE, recipe, classes=CLASSES)
    assert "learning_rate" in caught.value.remedy
    assert f"{rate / 10:g}" in caught.value.remedy
    assert 1 <= caught.value.facts["step"] <= caught.value.facts["total_steps"]


def test_a_training_whose_units_died_fails() -> None:
    class StillBorn(Mlp):
        def initialise(self, pixels: int, classes: int, rng: np.random.Generator):  # type: ignore[no-untyped-def]
            parameters = super().initialise(pixels, classes, rng)
            parameters["b1"] -= 100
            return parameters

    images, labels = toy_digits(2000)
    with pytest.raises(TrainingError, match="100% of a layer's units are silent"):
        train(StillBorn((16,)), images, labels, SCALE, Recipe(epochs=10), classes=CLASSES)


def test_labels_without_meaning_are_not_called_divergence() -> None:
    images, _ = toy_digits(3000)
    labels = np.random.default_rng(1).integers(0, CLASSES, 3000)
    for model in (Softmax(), Mlp((16,))):
        recipe = Recipe(epochs=3, batch_size=32)
        result = train(model, images, labels, SCALE, recipe, classes=CLASSES)
        assert [line["epoch"] for line in result.history] == [1, 2, 3]
