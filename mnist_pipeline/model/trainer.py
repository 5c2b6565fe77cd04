"""The training loop: batches in, gradients, updates, evaluations; a model out, or an error."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.model.arrays import Array, FlatArrays, Parameters
from mnist_pipeline.model.augment import Distorter
from mnist_pipeline.model.batches import BLOCK, Batches, Block, Images, Labels
from mnist_pipeline.model.networks import Model, Predictor
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.optimizers import Optimizer
from mnist_pipeline.model.recipe import Recipe as Recipe
from mnist_pipeline.model.threads import single_threaded_blas
from mnist_pipeline.model.watch import Watch

SAMPLE = 2048
"""Training rows on which the training accuracy is estimated."""

PROBE = 512
"""Rows of that sample on which dead units are counted."""

EVALUATIONS = 50
"""How often a training is evaluated whose epochs are single steps (full batch)."""

SECONDS_A_REPORT = 0.1


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a training stands, for a live display.

    Attributes:
        step: steps done, of `total_steps`.
        epoch: the epoch of that step, from 1.
        loss: mean training loss since the last evaluation.
        validation_accuracy: of the last evaluation; None before it or without validation rows.
        learning_rate: of that step.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    validation_accuracy: float | None
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes:
        parameters: trained, those of unlit pixels zeroed; with early stopping the best ones.
        history: one object an evaluation: `step`, `epoch`, `loss` (training mean since the last),
            `accuracy` (on a sample of training rows), `validation_accuracy`, `validation_loss`
            (None without validation rows), `learning_rate`.
        steps: how many were run.
        lit: (pixels,), False where an input was dark in every training row seen, see `Batches.lit`.
    """

    parameters: Parameters
    history: list[dict[str, Any]]
    steps: int
    lit: NDArray[np.bool_]


def ignore(progress: Progress) -> None:
    """The progress report nobody reads."""


def train(
    model: Model,
    images: Images,
    labels: Labels,
    normalizer: FittedNormalizer,
    recipe: Recipe,
    *,
    classes: int,
    shape: tuple[int, int] | None = None,
    validation: tuple[Images, Labels] | None = None,
    progress: Callable[[Progress], None] = ignore,
    dtype: DTypeLike = np.float32,
) -> TrainingResult:
    """Train a model from its random start. Same arguments, same bits.

    Args:
        model: what to train.
        images: (N, pixels) uint8.
        labels: (N,) integers in [0, classes).
        normalizer: fitted on these rows.
        recipe: how.
        classes: how many there are.
        shape: (height, width) of an image, for augmentation; a square if it is left out.
        validation: (images, labels) to evaluate on; never trained on.
        progress: called at every evaluation and about ten times a second in between.
        dtype: of the computation; float64 only to check the calculus.

    Raises:
        DataError: there are no rows, or labels outside the classes.
        ConfigError: early stopping without validation rows.
        TrainingError: it diverged, died, or passed its deadline.
    """
    labels = _checked(images, labels, classes)
    if validation is not None and len(validation[0]) == 0:
        validation = None
    if recipe.early_stopping and validation is None:
        raise ConfigError(
            "early stopping needs validation rows, and there are none",
            key="train.early_stopping",
            remedy="raise data.validation_fraction, or set train.early_stopping = 0",
        )
    shape = shape or (math.isqrt(images.shape[1]),) * 2
    # NaN and infinity are the watch's business; NumPy's warnings would only repeat it.
    with single_threaded_blas(), np.errstate(all="ignore"):
        return _train(
            model, images, labels, normalizer, recipe, classes, shape, validation, progress, dtype
        )


def _train(
    model: Model,
    images: Images,
    labels: Labels,
    normalizer: FittedNormalizer,
    recipe: Recipe,
    classes: int,
    shape: tuple[int, int],
    validation: tuple[Images, Labels] | None,
    report: Callable[[Progress], None],
    dtype: DTypeLike,
) -> TrainingResult:
    # A generator each: more dropout must not change the order of rows.
    seeds = np.random.SeedSequence(recipe.seed).spawn(5)
    initialisation, shuffling, dropout, sampling, augmentation = map(np.random.default_rng, seeds)
    batches = Batches(
        images,
        labels,
        normalizer,
        batch_size=recipe.batch_size,
        rng=shuffling,
        dtype=dtype,
        distort=Distorter(recipe.augment, shape, BLOCK, augmentation) if recipe.augment else None,
    )
    parameters = FlatArrays.of(model.initialise(images.shape[1], classes, initialisation), dtype)
    gradients = parameters.zeros_like()
    optimizer = Optimizer(
        recipe.optimizer,
        parameters,
        gradients,
        l2=recipe.l2,
        momentum=recipe.momentum,
        beta1=recipe.beta1,
        beta2=recipe.beta2,
    )
    total_steps = recipe.iterations or (recipe.epochs or 0) * batches.steps_per_epoch
    interval = batches.steps_per_epoch
    if interval == 1:
        interval = max(1, total_steps // EVALUATIONS)
    watch = Watch(recipe, total_steps=total_steps, classes=classes)
    # Drawn, not every n-th row: files have a rhythm (in MNIST's, even rows are twice as hard).
    chosen = np.sort(sampling.permutation(batches.rows)[:SAMPLE])
    sample = images[chosen], labels[chosen]
    probe = normalizer.transform(sample[0][:: SAMPLE // PROBE]).astype(dtype)
    history: list[dict[str, Any]] = []
    best = _Best()
    losses: list[float] = []  # since the last evaluation
    step, next_report = 0, 0.0

    for step, batch in zip(range(1, total_steps + 1), batches, strict=False):
        learning_rate = recipe.learning_rate_at(step, total_steps)
        loss = _gradient(model, parameters, gradients, batch, recipe.label_smoothing, dropout)
        watch.check_gradient(step, loss, gradients.buffer)
        watch.check_loss(step, loss)
        optimizer.update(learning_rate)
        watch.check_deadline(step)
        losses.append(loss)

        evaluated = step % interval == 0 or step == total_steps
        if not evaluated and time.monotonic() < next_report:
            continue
        next_report = time.monotonic() + SECONDS_A_REPORT  # the clock paces reports, nothing else
        epoch, mean_loss = math.ceil(step / batches.steps_per_epoch), sum(losses) / len(losses)
        if evaluated:
            watch.check_parameters(step, parameters.buffer)
            watch.check_units(step, model.dead_units(parameters.views, probe))
            predictor = model.compile(parameters.views, normalizer)
            history.append(
                {
                    "step": step,
                    "epoch": epoch,
                    "loss": mean_loss,
                    "learning_rate": learning_rate,
                    **_evaluation(predictor, sample, validation),
                }
            )
            losses.clear()
        accuracy = history[-1]["validation_accuracy"] if history else None
        report(Progress(step, total_steps, epoch, mean_loss, accuracy, learning_rate))
        if evaluated and recipe.early_stopping:
            best.offer(history[-1], parameters.buffer)
            if best.evaluations_since >= recipe.early_stopping:
                break

    if best.parameters is not None:
        parameters.buffer[...] = best.parameters
    lit = batches.lit(step)
    trained = {name: view.copy() for name, view in parameters.views.items()}
    return TrainingResult(model.zero_unlit(trained, lit, normalizer), history, step, lit)


def _gradient(
    model: Model,
    parameters: FlatArrays,
    gradients: FlatArrays,
    batch: Iterable[Block],
    label_smoothing: float,
    rng: np.random.Generator,
) -> float:
    """The mean loss over a batch; its gradient goes into `gradients`."""
    mean_loss, total = 0.0, None
    for share, x, labels in batch:
        loss = model.loss_and_gradients(
            parameters.views, x, labels, gradients.views, label_smoothing=label_smoothing, rng=rng
        )
        if share == 1:  # the whole batch at once: nothing to sum
            return loss
        mean_loss += share * loss
        gradients.buffer *= share
        total = gradients.buffer.copy() if total is None else np.add(total, gradients.buffer, total)
    gradients.buffer[...] = total
    return mean_loss


def _evaluation(
    predictor: Predictor,
    sample: tuple[Images, Labels],
    validation: tuple[Images, Labels] | None,
) -> dict[str, float | None]:
    """Accuracies and the validation loss, by the same road that every later prediction takes."""
    accuracy = float(np.mean(predictor(sample[0]).argmax(axis=1) == sample[1]))
    if validation is None:
        return {"accuracy": accuracy, "validation_accuracy": None, "validation_loss": None}
    images, labels = validation
    p = predictor(images)
    at_label = p[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "accuracy": accuracy,
        "validation_accuracy": float(np.mean(p.argmax(axis=1) == labels)),
        # A float32 probability can be 0; the smallest one above it keeps the mean finite.
        "validation_loss": float(-np.log(np.maximum(at_label, _SMALLEST)).mean()),
    }


_SMALLEST = float(np.finfo(np.float32).tiny)


class _Best:
    """The parameters of the best evaluation: highest validation accuracy, then lowest loss."""

    def __init__(self) -> None:
        self.parameters: Array | None = None
        self.evaluations_since = 0
        self._score = (-math.inf, -math.inf)

    def offer(self, evaluation: Mapping[str, Any], parameters: Array) -> None:
        score = (evaluation["validation_accuracy"], -evaluation["validation_loss"])
        self.evaluations_since += 1
        if score > self._score:
            self._score, self.parameters = score, parameters.copy()
            self.evaluations_since = 0


def _checked(images: Images, labels: Labels, classes: int) -> Labels:
    """The labels, contiguous, after a look at what would otherwise fail in the middle."""
    if len(images) == 0:
        raise DataError("there are no rows to train on", remedy="add data with labels")
    if len(images) != len(labels):
        raise DataError(
            "images and labels are not of the same number",
            images=len(images),
            labels=len(labels),
            remedy="give every image its label",
        )
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise DataError(
            "a label lies outside the classes",
            expected=f"0 to {classes - 1}",
            found=lowest if lowest < 0 else highest,
            remedy="validate the rows before training on them",
        )
    return np.ascontiguousarray(labels, np.intp)
