"""A champion of drawn digits, for nights that every change of the code has to get through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from homes import Home, settle
from poisons import Rows

from mnist_pipeline.sources.synthetic import draw_digits

SETTINGS = ("train.epochs=6", "model.hidden=[64]", "gate.min_accuracy=0.5", "gate.min_recall=0.2")


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Home:
    labels = (np.arange(3_000) % 10).astype(np.uint8)
    images = draw_digits(labels, np.random.default_rng(3))

    def rows(start: int, end: int) -> Rows:
        return images[start:end], labels[start:end]

    folder = tmp_path_factory.mktemp("nights") / "home"
    return settle(folder, rows(0, 2_100), rows(2_100, 2_400), rows(2_400, 3_000), SETTINGS)


@pytest.fixture
def home(settled: Home, tmp_path: Path) -> Home:
    return settled.copied(tmp_path / "home")
