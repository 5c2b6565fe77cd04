from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from toy_digits import CLASSES, PIXELS, toy_digits

from mnist_pipeline.errors import ConfigError, DataError, TrainingError
from mnist_pipeline.model.augment import Augmentation
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer, Scale
from mnist_pipeline.model.perceptrons import Mlp, Softmax
from mnist_pipeline.model.progress import Progress, TrainingResult
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train

SCALE = FittedNormalizer("scale.v1", Scale(), {"pixels": PIXELS})
IMAGES, LABELS = toy_digits(3000)
VALIDATION = toy_digits(500, seed=1)
TUTORIAL = Recipe(
    optimizer="sgd", learning_rate=0.1, schedule="constant", iterations=500, batch_size=0
)


def run(model: Model, recipe: Recipe, **options: Any) -> TrainingResult:
    options = {"validation": VALIDATION, **options}
    return train(model, IMAGES, LABELS, SCALE, recipe, classes=CLASSES, **options)


def same(one: TrainingResult, two: TrainingResult) -> bool:
    return all(np.array_equal(one.parameters[n], two.parameters[n]) for n in one.parameters)


@pytest.mark.parametrize("model", [Softmax(), Mlp((16,)), Mlp((16, 16), dropout=0.1)], ids=str)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_every_optimizer_teaches_every_model(model: Model, optimizer: Any) -> None:
    rates = {"sgd": 0.5, "momentum": 0.1}
    recipe = Recipe(optimizer=optimizer, learning_rate=rates.get(optimizer, 0.01), epochs=8)
    last = run(model, recipe).history[-1]
    assert last["validation_accuracy"] > 0.95
    assert last["accuracy"] > 0.95
    assert last["loss"] < 0.3


def tutorial_step(
    W1: Any, b1: Any, W2: Any, b2: Any, X: Any, labels: Any, rate: float
) -> tuple[Any, Any, Any, Any]:
    """One step of the classic tutorial, as it is written there: a column an image."""
    m = X.shape[1]
    Z1 = W1.dot(X) + b1
    A1 = np.maximum(Z1, 0)
    Z2 = W2.dot(A1) + b2
    A2 = np.exp(Z2) / sum(np.exp(Z2))
    Y = np.zeros((labels.max() + 1, labels.size))
    Y[labels, np.arange(labels.size)] = 1
    dZ2 = A2 - Y
    dW2 = 1 / m * dZ2.dot(A1.T)
    db2 = 1 / m * np.sum(dZ2, axis=1, keepdims=True)
    dZ1 = W2.T.dot(dZ2) * (Z1 > 0)
    dW1 = 1 / m * dZ1.dot(X.T)
    db1 = 1 / m * np.sum(dZ1, axis=1, keepdims=True)
    return W1 - rate * dW1, b1 - rate * db1, W2 - rate * dW2, b2 - rate * db2


@pytest.mark.parametrize("steps", [1, 10])
def test_the_tutorial_recipe_is_the_tutorial(steps: int) -> None:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (2500, 784), dtype=np.uint8)  # more than one block
    labels = rng.integers(0, 10, 2500)
    model = Mlp((10,), init="uniform")
    recipe = dataclasses.replace(TUTORIAL, iterations=steps, seed=3)
    normalizer = FittedNormalizer.fit("scale", {}, [images])
    result = train(model, images, labels, normalizer, recipe, classes=10, dtype=np.float64)

    seed = np.random.SeedSequence(3).spawn(4)[0]
    start = model.initialise(784, 10, np.random.default_rng(seed))
    assert all(np.abs(array).max() <= 0.5 for array in start.values())
    W1, b1, W2, b2 = (start[name].astype(np.float64) for name in ("W1", "b1", "W2", "b2"))
    b1, b2, X = b1[:, np.newaxis], b2[:, np.newaxis], images.T / 255
    for _ in range(steps):
        W1, b1, W2, b2 = tutorial_step(W1, b1, W2, b2, X, labels, 0.10)
    for name, expected in {"W1": W1, "b1": b1[:, 0], "W2": W2, "b2": b2[:, 0]}.items():
        assert np.abs(expected - start[name]).max() > 1e-4
        np.testing.assert_allclose(result.parameters[name], expected, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("batch_size", [128, 2000, 0])
def test_same_arguments_same_bits(batch_size: int) -> None:
    model = Mlp((16,), dropout=0.2)
    recipe = Recipe(epochs=2, batch_size=batch_size, label_smoothing=0.05, l2=1e-4)
    one, two = run(model, recipe), run(model, recipe)
    assert same(one, two)
    assert one.history == two.history
    assert not same(one, run(model, dataclasses.replace(recipe, seed=1)))


def test_watching_and_validating_change_no_bit() -> None:
    recipe = Recipe(epochs=2)
    plain = run(Mlp((16,)), recipe, validation=None)
    assert same(plain, run(Mlp((16,)), recipe, progress=lambda progress: None))


def test_memory_layout_changes_no_bit() -> None:
    recipe = Recipe(epochs=1)
    readonly = np.asfortranarray(IMAGES)
    readonly.flags.writeable = False
    labels = LABELS.astype(np.uint8)
    result = train(Softmax(), readonly, labels, SCALE, recipe, classes=CLASSES)
    assert same(result, run(Softmax(), recipe))


def test_a_large_batch_is_the_mean_of_its_blocks() -> None:
    """One step on 3,000 rows (three blocks) is the step on their exact mean gradient."""
    recipe = dataclasses.replace(TUTORIAL, iterations=1)
    result = run(Softmax(), recipe, dtype=np.float64)
    x = IMAGES / 255
    d = 1 / CLASSES - np.eye(CLASSES)[LABELS]  # softmax regression starts at p = 1/C
    np.testing.assert_allclose(result.parameters["W1"], -0.1 * d.T @ x / len(x), atol=1e-12)
    np.testing.assert_allclose(result.parameters["b1"], -0.1 * d.mean(axis=0), atol=1e-12)


def test_history_has_one_record_an_epoch() -> None:
    result = run(Softmax(), Recipe(epochs=3, batch_size=1000))
    assert [(record["step"], record["epoch"]) for record in result.history] == [
        (3, 1),
        (6, 2),
        (9, 3),
    ]
    assert result.steps == 9
    assert set(result.history[0]) == {
        "step",
        "epoch",
        "loss",
        "learning_rate",
        "accuracy",
        "validation_accuracy",
        "validation_loss",
    }
    losses = [record["validation_loss"] for record in result.history]
    assert losses == sorted(losses, reverse=True)


def test_iterations_may_end_within_an_epoch() -> None:
    result = run(Softmax(), Recipe(iterations=8, batch_size=1000))
    assert result.steps == 8
    assert [record["step"] for record in result.history] == [3, 6, 8]


def test_a_full_batch_training_is_evaluated_fifty_times() -> None:
    result = run(Mlp((10,), init="uniform"), dataclasses.replace(TUTORIAL, iterations=100))
    assert [record["step"] for record in result.history] == list(range(2, 101, 2))


def test_validation_is_what_the_compiled_model_says() -> None:
    result = run(Softmax(), Recipe(epochs=3))
    p = Softmax().compile(result.parameters, SCALE)(VALIDATION[0])
    last = result.history[-1]
    assert last["validation_accuracy"] == np.mean(p.argmax(axis=1) == VALIDATION[1])
    at_label = p[np.arange(len(p)), VALIDATION[1]].astype(float)
    assert last["validation_loss"] == pytest.approx(-np.log(at_label).mean(), rel=1e-6)


def test_without_validation_rows_history_says_none() -> None:
    empty = (np.empty((0, PIXELS), np.uint8), np.empty(0, np.int64))
    for validation in (None, empty):
        last = run(Softmax(), Recipe(epochs=1), validation=validation).history[-1]
        assert last["validation_accuracy"] is None
        assert last["validation_loss"] is None
        assert last["accuracy"] > 0.5


def test_early_stopping_keeps_the_best_parameters() -> None:
    noisy = VALIDATION[0], np.roll(VALIDATION[1], 1)  # nothing to learn: soon no better any more
    recipe = Recipe(epochs=50, batch_size=500, early_stopping=3)
    result = run(Softmax(), recipe, validation=noisy)
    scores = [(r["validation_accuracy"], -r["validation_loss"]) for r in result.history]
    best = scores.index(max(scores))
    assert len(scores) == best + 1 + 3 < 50
    assert result.steps == result.history[-1]["step"]

    # The same training, stopped by hand at its best evaluation, has the same parameters.
    kept = Softmax().compile(result.parameters, SCALE)(noisy[0])
    assert np.mean(kept.argmax(axis=1) == noisy[1]) == scores[best][0]
    last = Softmax().compile(run(Softmax(), Recipe(epochs=50, batch_size=500)).parameters, SCALE)
    assert not np.array_equal(last(noisy[0]), kept)


def test_early_stopping_without_validation_rows_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        run(Softmax(), Recipe(epochs=5, early_stopping=2), validation=None)
    assert caught.value.facts["key"] == "train.early_stopping"


def test_weights_of_pixels_that_were_never_lit_are_zero() -> None:
    images = IMAGES.copy()
    images[:, [3, 40]] = 0
    result = train(Mlp((8,)), images, LABELS, SCALE, Recipe(epochs=1), classes=CLASSES)
    assert set(np.flatnonzero(~result.lit)) == {3, 40}
    assert not result.parameters["W1"][:, ~result.lit].any()
    assert result.parameters["W1"][:, result.lit].all()


def test_l2_shrinks_weights_and_label_smoothing_softens_answers() -> None:
    plain = run(Mlp((16,)), Recipe(epochs=4))
    decayed = run(Mlp((16,)), Recipe(epochs=4, l2=0.05))
    assert np.linalg.norm(decayed.parameters["W1"]) < 0.9 * np.linalg.norm(plain.parameters["W1"])
    recipe = Recipe(epochs=20, learning_rate=0.01, label_smoothing=0.2)
    smooth = run(Mlp((16,)), recipe)
    p = Mlp((16,)).compile(smooth.parameters, SCALE)(VALIDATION[0]).max(axis=1)
    assert np.median(p) == pytest.approx(1 - 0.2 + 0.2 / CLASSES, abs=0.05)


def test_progress_ends_at_the_last_step_and_never_goes_back() -> None:
    seen: list[Progress] = []
    run(Mlp((64,)), Recipe(epochs=4, batch_size=8), progress=seen.append)
    assert [p.step for p in seen] == sorted({p.step for p in seen})
    assert {p.total_steps for p in seen} == {1500}
    assert {375, 750, 1125, 1500} <= {p.step for p in seen}
    assert seen[0].step == 1
    assert seen[0].validation_accuracy is None
    assert seen[-1].validation_accuracy is not None
    assert [p.epoch for p in seen] == [-(-p.step // 375) for p in seen]
    assert all(np.isfinite(p.loss) and p.learning_rate > 0 for p in seen)


def test_a_deadline_fails_the_training() -> None:
    with pytest.raises(TrainingError) as caught:
        run(Softmax(), Recipe(epochs=100_000, deadline=0.2))
    assert "deadline of 0.2 seconds" in caught.value.headline
    assert caught.value.facts["step"] < caught.value.facts["total_steps"] == 2_400_000


def test_an_interrupt_gets_through() -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Softmax(), Recipe(epochs=2), progress=interrupt)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES[:0], LABELS[:0], "no rows"),
        (IMAGES, LABELS[:-1], "not of the same number"),
        (IMAGES, LABELS + 1, "outside the classes"),
        (IMAGES, LABELS - 1, "outside the classes"),
    ],
)
def test_impossible_data_is_refused_at_once(images: Any, labels: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        train(Softmax(), images, labels, SCALE, Recipe(epochs=1), classes=CLASSES)


def test_a_single_row_can_be_trained_on() -> None:
    result = train(Mlp((4,)), IMAGES[:1], LABELS[:1], SCALE, Recipe(epochs=3), classes=CLASSES)
    assert result.steps == 3


def test_augmentation_changes_the_training_and_nothing_else() -> None:
    plain = Recipe(epochs=2, learning_rate=0.01)
    bent = dataclasses.replace(plain, augment=Augmentation(shift=0.5))
    one, two, other = run(Mlp((16,)), bent), run(Mlp((16,)), bent), run(Mlp((16,)), plain)
    assert same(one, two)
    assert not same(one, other)
    assert one.history[-1]["validation_accuracy"] > 0.9
    wide = run(Mlp((16,)), bent, shape=(4, 16))  # the same pixels as a picture of another shape
    assert not same(one, wide)
