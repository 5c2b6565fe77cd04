"""The two built-in recipes on the real digits; the test images are looked at by one of them only.

MNIST's training images alternate between easy and hard writers: every tenth row, for instance, is
three times as hard from row 0 as from row 5. Validation rows are therefore drawn.
"""

from __future__ import annotations

import gzip
import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_pipeline import plugins
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.progress import TrainingResult
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train

pytestmark = [pytest.mark.slow, pytest.mark.integration]

Data = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def read_idx(part: str) -> Data:
    if "MNIST_DATA_DIR" not in os.environ:
        pytest.skip("MNIST_DATA_DIR does not name a folder with MNIST's IDX files")
    folder = Path(os.environ["MNIST_DATA_DIR"])
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784),
        np.frombuffer(labels, np.uint8, offset=8),
    )


def train_preset(name: str, training: Data, validation: Data | None) -> tuple[Any, TrainingResult]:
    """A compiled predictor and the training's result, from a preset's own numbers."""
    text = resources.files("mnist_pipeline").joinpath(f"presets/{name}.toml").read_text()
    preset = tomllib.loads(text)
    normalizer = FittedNormalizer.fit(preset["normalize"].pop("kind"), {}, [training[0]])
    model = plugins.build("model", preset["model"].pop("kind"), preset["model"])
    result = train(
        model,
        *training,
        normalizer,
        Recipe(**preset["train"]),
        classes=10,
        validation=validation,
    )
    return model.compile(result.parameters, normalizer), result


def test_fast_reads_98_percent_of_unseen_training_images() -> None:
    images, labels = read_idx("train")
    order = np.random.default_rng(0).permutation(len(images))
    held, kept = order[:6000], order[6000:]
    _, result = train_preset("fast", (images[kept], labels[kept]), (images[held], labels[held]))
    assert result.history[-1]["validation_accuracy"] >= 0.98
    assert not result.lit.all()


def test_tutorial_reads_what_the_tutorial_read() -> None:
    images, labels = read_idx("train")
    predict, result = train_preset("tutorial", (images[:41_000], labels[:41_000]), None)
    test_images, test_labels = read_idx("t10k")
    accuracy = np.mean(predict(test_images).argmax(axis=1) == test_labels)
    assert 0.82 <= accuracy <= 0.87
    assert result.steps == 500
    losses = [record["loss"] for record in result.history]
    assert losses == sorted(losses, reverse=True)
