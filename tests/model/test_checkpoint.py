"""A training that goes on from any of its checkpoints ends with the bytes of an undisturbed one."""

from __future__ import annotations

import dataclasses
import random
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from toy_digits import CLASSES, toy_digits

from mnist_pipeline.errors import TrainingError
from mnist_pipeline.model.augment import Augmentation
from mnist_pipeline.model.checkpoint import Checkpoint, Checkpoints
from mnist_pipeline.model.cnn import Cnn
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.perceptrons import Mlp, Softmax
from mnist_pipeline.model.progress import Progress, TrainingResult
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train
from mnist_pipeline.store.checkpoints import StoredCheckpoints
from mnist_pipeline.store.objects import Store

IMAGES, LABELS = toy_digits(900)
VALIDATION = toy_digits(100, seed=1)
NOISY = VALIDATION[0], np.roll(VALIDATION[1], 1)  # nothing to learn: soon no better any more
SPECKS = np.zeros_like(IMAGES)  # a single lit pixel in each row, and few rows with one at the rim
SPECKS[np.arange(900), 27] = 200
SPECKS[:8, 27], SPECKS[np.arange(8), np.arange(0, 64, 8)] = 0, 200
BENT = Augmentation(rotation=5, shift=0.5, elastic=0.3)


class BrokenOffError(Exception):
    pass


class InMemory:
    """Checkpoints through the store's bytes and back; all of them are kept."""

    def __init__(self, *, load_from: int | None = None, all_of: InMemory | None = None) -> None:
        self.stores = {} if all_of is None else all_of.stores
        self._load_from = load_from

    def load(self) -> Checkpoint | None:
        return None if self._load_from is None else self.stores[self._load_from].load()

    def save(self, checkpoint: Checkpoint) -> None:
        kept = StoredCheckpoints(Store.open("memory://"), "name")
        kept.save(checkpoint)
        self.stores.setdefault(checkpoint.step, kept)


def run(
    model: Model,
    recipe: Recipe,
    *,
    normalizer: str = "scale",
    rows: int = 330,
    images: NDArray[np.uint8] = IMAGES,
    **options: Any,
) -> TrainingResult:
    fitted = FittedNormalizer.fit(normalizer, {}, [images[:rows]])
    options = {"validation": VALIDATION, **options}
    return train(model, images[:rows], LABELS[:rows], fitted, recipe, classes=CLASSES, **options)


def assert_same(one: TrainingResult, two: TrainingResult) -> None:
    assert one.steps == two.steps
    assert one.history == two.history
    assert list(one.parameters) == list(two.parameters)
    for name, array in one.parameters.items():
        assert array.tobytes() == two.parameters[name].tobytes(), name
    np.testing.assert_array_equal(one.lit, two.lit)


SHORT = Recipe(epochs=3, batch_size=64, learning_rate=0.01)  # 6 steps an epoch, the last one short
CASES: dict[str, tuple[Model, Recipe, dict[str, Any]]] = {
    "sgd": (Softmax(), dataclasses.replace(SHORT, optimizer="sgd", l2=0.01), {}),
    "momentum": (Mlp((8,)), dataclasses.replace(SHORT, optimizer="momentum"), {}),
    "adam": (Mlp((8,)), dataclasses.replace(SHORT, optimizer="adam", l2=0.01), {}),
    "adamw": (
        Mlp((8,)),
        dataclasses.replace(SHORT, optimizer="adamw", l2=0.1, warmup=0.2, schedule="one_cycle"),
        {},
    ),
    "average": (Mlp((8,)), dataclasses.replace(SHORT, average=0.9), {}),
    "dropout": (Mlp((9, 7), dropout=0.3), SHORT, {}),
    "augmentation": (Mlp((8,)), dataclasses.replace(SHORT, augment=BENT), {}),
    "deskew": (Mlp((8,)), SHORT, {"normalizer": "deskew"}),
    "deskew and augmentation": (
        Mlp((8,)),
        dataclasses.replace(SHORT, augment=BENT),
        {"normalizer": "deskew"},
    ),
    "cnn": (
        Cnn(stages=((3,), (4,)), hidden=(5,), dropout=0.3),
        dataclasses.replace(SHORT, average=0.8, augment=BENT, label_smoothing=0.1),
        {"normalizer": "standardize"},
    ),
    "full batch": (
        Mlp((8,), init="uniform"),
        dataclasses.replace(SHORT, epochs=None, iterations=110, batch_size=0),
        {},
    ),
    "two lanes": (
        Mlp((8,), dropout=0.2),
        dataclasses.replace(SHORT, batch_size=600, augment=BENT),
        {"rows": 900},
    ),
    "ends within an epoch": (
        Mlp((8,)),
        dataclasses.replace(SHORT, epochs=None, iterations=15),
        {"validation": None},
    ),
    "within the first epoch": (  # which pixels were lit is that of the rows seen so far
        Mlp((8,)),
        dataclasses.replace(SHORT, epochs=None, iterations=4),
        {},
    ),
    "what was lit before": (
        Mlp((4,)),
        dataclasses.replace(SHORT, epochs=1, augment=Augmentation(shift=1.5)),
        {"images": SPECKS},
    ),
    "what was lit before, in two lanes": (
        Cnn(stages=((3,),)),
        dataclasses.replace(SHORT, epochs=1),
        {"images": SPECKS, "normalizer": "deskew"},
    ),
    "early stopping": (
        Softmax(),
        dataclasses.replace(SHORT, epochs=40, early_stopping=2),
        {"validation": NOISY},
    ),
    "early stopping of the average": (
        Mlp((8,)),
        dataclasses.replace(SHORT, epochs=40, early_stopping=2, average=0.9),
        {"validation": NOISY},
    ),
}


@pytest.mark.parametrize(("model", "recipe", "options"), CASES.values(), ids=CASES)
def test_from_any_step_to_the_same_bytes(
    model: Model, recipe: Recipe, options: dict[str, Any]
) -> None:
    undisturbed = run(model, dataclasses.replace(recipe, checkpoint_every=0), **options)
    every = InMemory()
    assert_same(
        run(model, dataclasses.replace(recipe, checkpoint_every=1), checkpoints=every, **options),
        undisturbed,
    )
    total = undisturbed.steps
    saved = sorted(every.stores)
    assert saved[0] == 1
    assert saved[-1] in (total - 1, total)  # early stopping does not know that it is the last
    tested = {*saved[:4], *saved[-4:], *random.Random(0).sample(saved, min(6, len(saved)))}
    for step in tested:
        checkpoints = InMemory(load_from=step, all_of=every)
        assert_same(run(model, recipe, checkpoints=checkpoints, **options), undisturbed)


class Stored:
    """Checkpoints in one store, as the pipeline has them."""

    def __init__(self) -> None:
        self._kept = StoredCheckpoints(Store.open("memory://"), "name")

    def load(self) -> Checkpoint | None:
        return self._kept.load()

    def save(self, checkpoint: Checkpoint) -> None:
        self._kept.save(checkpoint)


class Failing(Stored):
    """Breaks off at the n-th saving, before or after it is done."""

    def __init__(self, kept: Stored, at: int, *, before: bool) -> None:
        self._kept = kept._kept
        self._left, self._before = at, before

    def save(self, checkpoint: Checkpoint) -> None:
        self._left -= 1
        if self._left == 0 and self._before:
            raise BrokenOffError
        super().save(checkpoint)
        if self._left == 0:
            raise BrokenOffError


@pytest.mark.parametrize("name", ["adamw", "cnn", "deskew and augmentation", "early stopping"])
def test_interrupted_again_and_again(name: str) -> None:
    model, recipe, options = CASES[name]
    undisturbed = run(model, recipe, **options)
    rng = random.Random(1)
    interruptions = 0
    for _ in range(3):
        kept = Stored()
        while True:
            # Another rhythm each time: it is no part of what is trained.
            paced = dataclasses.replace(recipe, checkpoint_every=rng.randint(1, 4))
            failing = Failing(kept, rng.randint(1, 4), before=rng.random() < 0.5)
            try:
                result = run(model, paced, checkpoints=failing, **options)
            except BrokenOffError:
                interruptions += 1
            else:
                break
        assert_same(result, undisturbed)
    assert interruptions > 5


@pytest.mark.parametrize("at", [1, 2, 3])
def test_interrupted_by_the_display_at_the_end_of_an_epoch(at: int) -> None:
    model, recipe, options = CASES["cnn"]
    undisturbed = run(model, recipe, **options)
    kept = Stored()

    def interrupt(progress: Progress) -> None:
        if progress.step == 6 * at:
            raise KeyboardInterrupt

    paced = dataclasses.replace(recipe, checkpoint_every=6)
    with pytest.raises(KeyboardInterrupt):
        run(model, paced, checkpoints=kept, progress=interrupt, **options)
    loaded = kept.load()
    assert loaded
    assert loaded.step == min(6 * at, 12)  # none at the last step: there is nothing left to do
    seen: list[int] = []
    resumed = run(
        model, recipe, checkpoints=kept, progress=lambda p: seen.append(p.step), **options
    )
    assert_same(resumed, undisturbed)
    assert min(seen) == loaded.step + 1


def test_interrupted_before_the_first_checkpoint() -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    kept = Stored()
    with pytest.raises(KeyboardInterrupt):
        run(Mlp((8,)), SHORT, checkpoints=kept, progress=interrupt)
    assert kept.load() is None
    assert_same(run(Mlp((8,)), SHORT, checkpoints=kept), run(Mlp((8,)), SHORT))


def test_a_training_that_goes_on_may_use_other_threads() -> None:
    model, recipe, options = CASES["two lanes"]
    every = InMemory()
    paced = dataclasses.replace(recipe, checkpoint_every=1)
    undisturbed = run(model, paced, checkpoints=every, threads=1, **options)
    resumed = InMemory(load_from=2, all_of=every)
    assert_same(run(model, recipe, checkpoints=resumed, threads=2, **options), undisturbed)


def test_the_watch_goes_on_where_it_was() -> None:
    """A loss that stays above guessing is noticed at the same step, whoever began to count."""
    recipe = Recipe(
        optimizer="sgd", learning_rate=50.0, schedule="constant", epochs=20, batch_size=64
    )
    labels = np.random.default_rng(9).integers(0, CLASSES, 900)
    fitted = FittedNormalizer.fit("scale", {}, [IMAGES])

    def end(checkpoints: Checkpoints) -> dict[str, Any]:
        paced = dataclasses.replace(recipe, checkpoint_every=1)
        with pytest.raises(TrainingError, match="diverged") as caught:
            train(
                Softmax(), IMAGES, labels, fitted, paced, classes=CLASSES, checkpoints=checkpoints
            )
        return dict(caught.value.facts)

    every = InMemory()
    facts = end(every)
    for step in random.Random(0).sample(sorted(every.stores), 5):
        assert end(InMemory(load_from=step, all_of=every)) == facts


# --- deadlines ---


class Slow(Stored):
    """Takes its time over each checkpoint, as a training does over its steps."""

    def save(self, checkpoint: Checkpoint) -> None:
        time.sleep(0.04)
        super().save(checkpoint)


def test_a_deadline_keeps_a_checkpoint_and_counts_anew() -> None:
    model, recipe, options = CASES["adam"]
    undisturbed = run(model, recipe, **options)
    kept = Slow()
    late = dataclasses.replace(recipe, deadline=0.2, checkpoint_every=1)
    steps: list[int] = []

    def go_on() -> TrainingResult | TrainingError:
        try:
            return run(model, late, checkpoints=kept, **options)
        except TrainingError as error:
            return error

    while isinstance(result := go_on(), TrainingError):
        assert "deadline of 0.2 seconds" in result.headline
        assert result.remedy
        assert result.exit_code == 4
        loaded = kept.load()
        assert loaded
        assert loaded.step == result.facts["step"]
        assert loaded.step > max(steps, default=0)  # every run gets further
        steps.append(loaded.step)
    assert len(steps) > 1
    assert_same(result, undisturbed)


def test_a_deadline_that_passes_before_the_first_step() -> None:
    kept = Stored()
    late = dataclasses.replace(SHORT, deadline=1e-9)
    with pytest.raises(TrainingError) as caught:
        run(Mlp((8,)), late, checkpoints=kept)
    assert caught.value.facts["step"] == 0
    loaded = kept.load()
    assert loaded
    assert loaded.step == 0
    assert_same(run(Mlp((8,)), SHORT, checkpoints=kept), run(Mlp((8,)), SHORT))
