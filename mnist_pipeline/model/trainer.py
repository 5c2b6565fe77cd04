"""Training a network: the one function that everybody calls."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.model.batches import Images, Labels
from mnist_pipeline.model.checkpoint import (
    Checkpoints,
    NoCheckpoints,
)
from mnist_pipeline.model.memory import kept_memory
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.progress import Progress, TrainingResult, ignore
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.threads import Hands, single_threaded_blas
from mnist_pipeline.model.training import Training


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
    checkpoints: Checkpoints | None = None,
    threads: int | None = None,
    started: float | None = None,
    dtype: DTypeLike = np.float32,
) -> TrainingResult:
    """Train a model from its random start. Same arguments, same bits.

    That holds for a training that was stopped anywhere and goes on from its last checkpoint, and
    for any number of threads.

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
        checkpoints: where it leaves its state, and goes on from if there is one.
        threads: how many cores it may use, 1 or 2; None for as many as there are.
        started: when the whole began that has this deadline, by `time.monotonic`; None for now.
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
    training = Training(
        model,
        (images, labels),
        normalizer,
        recipe,
        classes=classes,
        shape=shape or (math.isqrt(images.shape[1]),) * 2,
        validation=validation,
        started=started,
        dtype=dtype,
    )
    # NaN and infinity are the watch's business; NumPy's warnings would only repeat it.
    with single_threaded_blas(), kept_memory(), np.errstate(all="ignore"), Hands(threads) as hands:
        return training.run(hands, progress, checkpoints or NoCheckpoints())


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
