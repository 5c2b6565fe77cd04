"""Drift of real digits: clean samples of MNIST are quiet, other images alarm."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drift_samples import BAD, resamples
from score_samples import mnist, write
from small import train_words, write_idx

from mnist_pipeline.cli import main
from mnist_pipeline.data.drift import ALARM

pytestmark = pytest.mark.integration

ROWS = 1000  # the fewest of which anything is said, and so the noisiest


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a model of 20,000 of MNIST's training images, examined on 5,000 others."""
    folder = tmp_path_factory.mktemp("drift")
    images, labels = mnist("train")
    rows = np.random.default_rng(0).permutation(len(images))
    write_idx(folder / "idx", "train", images[rows[:20_000]], labels[rows[:20_000]])
    write_idx(folder / "idx", "t10k", images[rows[20_000:25_000]], labels[rows[20_000:25_000]])
    settings = ["--set", "model.kind=mlp", "--set", "model.hidden=[128]"]
    assert main([*train_words(folder / "idx", folder / "workspace"), *settings]) == 0
    return folder / "workspace"


def test_clean_samples_do_not_alarm(reader: Path, score: Any, tmp_path: Path) -> None:
    images = mnist("t10k")[0]
    for rows in itertools.islice(resamples(images, ROWS, np.random.default_rng(1)), 20):
        write(tmp_path / "clean.parquet", images[rows])
        code, data = score(tmp_path / "clean.parquet", "--max-drift", "0.1", workspace=reader)
        assert code == 0
        assert data["drift"]["n"] == ROWS


@pytest.mark.parametrize("kind", BAD)
def test_other_images_alarm(kind: str, reader: Path, score: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    clean = rng.permutation(mnist("t10k")[0])[:ROWS]
    write(tmp_path / "bad.parquet", BAD[kind](clean, rng))
    code, data = score(tmp_path / "bad.parquet", "--max-drift", str(ALARM), workspace=reader)
    assert code == 3
    assert data["drift"]["score"] > ALARM
    assert data["scored"] == ROWS
