"""What small trainings in tests have in common: IDX files, settings, command lines."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mnist_pipeline.sources.synthetic import draw_digits

SETTINGS = (
    "model.kind=softmax",
    "train.epochs=2",
    "train.learning_rate=0.01",
    "gate.min_accuracy=0",
    "gate.min_recall=0",
)
PLACES = ["folder", pytest.param("bucket", marks=pytest.mark.integration)]
"""Where workspaces are, see the fixture `place`."""
SETTING_WORDS = [word for setting in SETTINGS for word in ("--set", setting)]


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


def drawn_digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawn digits, each class in turn: images (N, 784) uint8, labels (N,) uint8."""
    labels = (np.arange(count) % 10).astype(np.uint8)
    return draw_digits(labels, np.random.default_rng(5)), labels


def write_digits(folder: Path, train: int = 400, exam: int = 200) -> None:
    """A folder like MNIST's, of drawn digits."""
    images, labels = drawn_digits(train + exam)
    write_idx(folder, "train", images[:train], labels[:train])
    write_idx(folder, "t10k", images[train:], labels[train:])


def train_words(source: Path, workspace: Path | str, engine: str = "plain") -> list[str]:
    """`mnist-pipeline train` on a folder of IDX files, small, answering in JSON."""
    words = ["train", "--source", f"idx:{source}", "--workspace", str(workspace), "--json"]
    return [*words, "--engine", engine, *SETTING_WORDS]
