"""Small real data for every test: drawn digits, as arrays, as IDX files, in a workspace."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.pipeline import Result, run_pipeline
from mnist_pipeline.sources.synthetic import draw_digits
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.objects import Store

TINY = ("model.kind=softmax", "train.epochs=2", "train.learning_rate=0.01")


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """600 drawn digits: images (600, 784) uint8, labels (600,) uint8."""
    labels = (np.arange(600) % 10).astype(np.uint8)
    return draw_digits(labels, np.random.default_rng(5)), labels


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of uint8 as an IDX file."""
    header = struct.pack(">HBB", 0, 0x08, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_idx(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray) -> None:
    """A pair of IDX files as MNIST names them."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = images.reshape(-1, 28, 28)
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(pictures))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))


@pytest.fixture
def idx_folder(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """A folder like MNIST's: 400 training and 200 test images."""
    images, labels = digits
    folder = tmp_path / "idx"
    write_idx(folder, "train", images[:400], labels[:400])
    write_idx(folder, "t10k", images[400:], labels[400:])
    return folder


Train = Callable[..., Result]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def train(workspace: Path) -> Train:
    """Runs the whole pipeline without Prefect: `train("idx:…", "train.seed=1", force="train")`."""

    def run(source: str | list[str], *settings: str, **options: Any) -> Result:
        sources = [source] if isinstance(source, str) else source
        layers = [parse_setting(setting) for setting in (*TINY, *settings)]
        config = resolve([*layers, {"data": {"sources": sources}}])
        return run_pipeline(Run(Store.open(workspace), config, **options))

    return run
