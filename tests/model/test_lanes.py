"""Shares of a batch: the gradient of the whole, and the same bits whoever computes them."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from toy_digits import CLASSES, PIXELS, toy_digits

from mnist_pipeline.model.arrays import CHUNK, FlatArrays
from mnist_pipeline.model.augment import Augmentation
from mnist_pipeline.model.batches import Loader, Rows
from mnist_pipeline.model.cnn import Cnn
from mnist_pipeline.model.lanes import Lane, batch_gradient
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer, Scale
from mnist_pipeline.model.optimizers import FLUSH_EVERY, Optimizer
from mnist_pipeline.model.perceptrons import Mlp, Softmax
from mnist_pipeline.model.progress import TrainingResult
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.threads import Hands
from mnist_pipeline.model.trainer import train

SCALE = FittedNormalizer("scale.v1", Scale(), {"pixels": PIXELS})
IMAGES, LABELS = toy_digits(1500)
VALIDATION = toy_digits(200, seed=1)
CNN = Cnn(stages=((4,), (5,)), dropout=0.2)


def run(model: Model, recipe: Recipe, **options: Any) -> TrainingResult:
    options = {"validation": VALIDATION, **options}
    return train(model, IMAGES, LABELS, SCALE, recipe, classes=CLASSES, **options)


def assert_same(one: TrainingResult, two: TrainingResult) -> None:
    assert list(one.parameters) == list(two.parameters)
    for name, array in one.parameters.items():
        np.testing.assert_array_equal(array, two.parameters[name], err_msg=name)
    assert one.history == two.history
    np.testing.assert_array_equal(one.lit, two.lit)


# --- one thread or two ---

BENT = Augmentation(rotation=5, shift=0.5, elastic=0.3)


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        (Mlp((32,), dropout=0.2), Recipe(epochs=4, batch_size=1024)),
        (Mlp((32,)), Recipe(epochs=3, batch_size=1024, optimizer="adamw", l2=0.01, average=0.9)),
        (Mlp((32,), dropout=0.2), Recipe(iterations=4, batch_size=0, augment=BENT)),
        (CNN, Recipe(epochs=1, batch_size=64, label_smoothing=0.1)),
        (CNN, Recipe(epochs=1, batch_size=499, augment=BENT, optimizer="momentum")),  # last: 3 rows
        (CNN, Recipe(iterations=3, batch_size=0)),
    ],
    ids=["mlp", "mlp adamw", "mlp full batch", "cnn", "cnn bent", "cnn full batch"],
)
def test_the_same_bits_with_one_thread_and_with_two(model: Model, recipe: Recipe) -> None:
    assert model.lanes(min(recipe.batch_size or 1500, 1500)) == 2
    assert_same(run(model, recipe, threads=1), run(model, recipe, threads=2))


def test_a_last_batch_of_one_row_leaves_the_second_lane_idle() -> None:
    options = {"classes": CLASSES, "validation": VALIDATION}
    for threads in (1, 2):
        rows = IMAGES[:1025], LABELS[:1025]
        recipe = Recipe(epochs=2, batch_size=1024)
        result = train(Mlp((8,)), *rows, SCALE, recipe, threads=threads, **options)
        assert result.steps == 4
        assert np.isfinite(result.history[-1]["loss"])


def test_small_batches_are_not_cut() -> None:
    assert Mlp((8,)).lanes(128) == Softmax().lanes(128) == 1
    assert CNN.lanes(16) == 1


# --- the gradient ---


def lanes_of(model: Model, count: int, block: int) -> tuple[FlatArrays, list[Lane]]:
    """Parameters in float64, and lanes whose gradients begin as rubbish."""
    parameters = FlatArrays.of(
        model.initialise(PIXELS, CLASSES, np.random.default_rng(0)), np.float64
    )
    lanes = []
    for seed in range(count):
        gradients = parameters.zeros_like()
        gradients.buffer[...] = np.nan
        loader = Loader(IMAGES, LABELS, SCALE, dtype=np.float64, block=block)
        lanes.append(Lane(loader, gradients, np.random.default_rng(seed)))
    return parameters, lanes


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("block", [1024, 64, 7])
@pytest.mark.parametrize(
    "rows", [np.random.default_rng(0).permutation(1500)[:801], slice(0, 1500)], ids=["drawn", "all"]
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_lanes_and_blocks_make_the_gradient_of_the_whole_batch(
    count: int, block: int, rows: Rows | slice, smoothing: float
) -> None:
    model = Mlp((6,))
    parameters, lanes = lanes_of(model, count, block)
    whole = parameters.zeros_like()
    expected = model.loss_and_gradients(
        parameters.views,
        SCALE.transform(IMAGES[rows]).astype(np.float64),
        LABELS[rows],
        whole.views,
        label_smoothing=smoothing,
        rng=np.random.default_rng(0),
    )
    with Hands(count) as hands:
        loss = batch_gradient(model, parameters, lanes, rows, smoothing, hands)
    assert loss == pytest.approx(expected, rel=1e-6)
    scale = np.abs(whole.buffer).max()
    np.testing.assert_allclose(lanes[0].gradients.buffer, whole.buffer, atol=1e-6 * scale)


def test_each_lane_draws_its_own_dropout() -> None:
    model = Mlp((6,), dropout=0.5)
    parameters, lanes = lanes_of(model, 2, 64)
    before = [lane.rng.bit_generator.state for lane in lanes]
    with Hands(2) as hands:
        batch_gradient(model, parameters, lanes, slice(0, 100), 0.0, hands)
    for lane, state in zip(lanes, before, strict=True):
        assert lane.rng.bit_generator.state != state
    fewer = Mlp((6,))
    parameters, lanes = lanes_of(fewer, 2, 64)
    before = [lane.rng.bit_generator.state for lane in lanes]
    with Hands(2) as hands:
        batch_gradient(fewer, parameters, lanes, slice(0, 100), 0.0, hands)
    assert [lane.rng.bit_generator.state for lane in lanes] == before


# --- hands ---


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 10])
def test_work_comes_back_in_the_order_of_the_items(count: int, size: int) -> None:
    with Hands(count) as hands:
        assert hands.map(lambda item: item * item, list(range(size))) == [
            item * item for item in range(size)
        ]


def test_two_hands_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)  # passed only by two that wait together
    with Hands(2) as hands:
        names = hands.map(lambda item: (meeting.wait(), threading.current_thread().name)[1], [0, 1])
    assert names[0] == threading.current_thread().name != names[1]


class BoomError(RuntimeError):
    pass


@pytest.mark.parametrize("failing", [[0], [1], [0, 1]], ids=["first", "second", "both"])
def test_an_exception_in_either_thread_surfaces_when_both_are_done(failing: Sequence[int]) -> None:
    done = []

    def work(item: int) -> None:
        if item in failing:
            raise BoomError(item)
        time.sleep(0.05)
        done.append(item)

    with Hands(2) as hands:
        with pytest.raises(BoomError) as caught:
            hands.map(work, [0, 1])
        assert caught.value.args == (failing[0],)
        assert sorted([*done, *failing]) == [0, 1]
        assert hands.map(str, [0, 1]) == ["0", "1"]  # and they go on to work


@dataclasses.dataclass(frozen=True)
class Clumsy(Mlp):
    """Drops what the second thread gives it."""

    def loss_and_gradients(self, *arguments: Any, **options: Any) -> float:
        if threading.current_thread() is not threading.main_thread():
            raise BoomError("in the second lane")
        return super().loss_and_gradients(*arguments, **options)


def test_an_exception_in_the_second_lane_ends_the_training() -> None:
    with pytest.raises(BoomError, match="second lane"):
        run(Clumsy((4,)), Recipe(epochs=1, batch_size=1024), threads=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


def test_numpy_is_quiet_in_both_threads() -> None:
    def divide(_: int) -> float:
        return float((np.ones(3) / np.zeros(3)).sum())

    with Hands(2) as hands, np.errstate(all="ignore"):
        assert hands.map(divide, [0, 1]) == [np.inf, np.inf]


# --- the optimizer ---


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_two_hands_update_as_one_does(name: Any) -> None:
    def start() -> tuple[FlatArrays, FlatArrays, Optimizer]:
        parameters = FlatArrays({"W": (2 * CHUNK + 17, 1), "b": (CHUNK + 5,)}, np.float32)
        parameters.buffer[...] = np.random.default_rng(0).standard_normal(parameters.buffer.size)
        gradients = parameters.zeros_like()
        return parameters, gradients, Optimizer(name, parameters, gradients, l2=0.01)

    mine, theirs = start(), start()
    noise = np.random.default_rng(1)
    with Hands(2) as hands:
        for step in range(3):
            g = noise.standard_normal(mine[1].buffer.size).astype(np.float32)
            for (_, gradients, optimizer), some in ((mine, None), (theirs, hands)):
                gradients.buffer[...] = g
                if step == 2:  # the one that flushes the moments
                    optimizer.step = FLUSH_EVERY - 1
                optimizer.update(0.01, some)
    np.testing.assert_array_equal(mine[0].buffer, theirs[0].buffer)
    for one, two in zip(mine[2].moments, theirs[2].moments, strict=True):
        np.testing.assert_array_equal(one, two)
