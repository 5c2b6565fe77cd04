"""Scoring's arithmetic against a plain float64 forward pass, on all of MNIST's test images.

The reference shares nothing with the program but the stored files: it reads the unfolded weights
and what the normalizer remembers, and computes as the textbook has it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from score_samples import mnist, write
from small import train_words, write_idx

from mnist_pipeline.cli import main

pytestmark = pytest.mark.integration

Floats = NDArray[np.float64]


def scale(x: Floats, state: Any) -> Floats:
    return x / 255


def standardize(x: Floats, state: Any) -> Floats:
    return (x - state["mean"]) / state["std"]


def deskew(x: Floats, state: Any) -> Floats:
    return np.stack([upright(image.reshape(28, 28)).reshape(-1) for image in x]) / 255


def upright(image: Floats) -> Floats:
    """An image (28, 28) sheared by α = μ₁₁ / μ₀₂ about its centre of mass, rounded to levels."""
    mass = image.sum()
    if mass == 0:
        return image
    y, x = np.indices((28, 28)) - 14
    centre_x, centre_y = (image * x).sum() / mass, (image * y).sum() / mass
    variance = (image * (y - centre_y) ** 2).sum()
    covariance = (image * (x - centre_x) * (y - centre_y)).sum()
    alpha = np.clip(covariance / variance, -1, 1) if variance > 1e-6 else 0.0
    result = np.zeros_like(image)
    for row in range(28):
        shift = round(256 * alpha * (row - 14 - centre_y))  # in 1/256 of a column
        whole, part = shift // 256, shift % 256
        for column in range(28):
            left, right = column + whole, column + whole + 1
            one = image[row, left] if 0 <= left < 28 else 0
            two = image[row, right] if 0 <= right < 28 else 0
            result[row, column] = math.floor((one * (256 - part) + two * part) / 256 + 0.5)
    return result


def forward(x: Floats, weights: dict[str, Any]) -> Floats:
    """Probabilities (N, 10): linear layers, ReLU between them, softmax; all in float64."""
    depth = len(weights) // 2
    for layer in range(1, depth + 1):
        W, b = (weights[f"{name}{layer}"].astype(np.float64) for name in "Wb")
        x = x @ W.T + b
        if layer < depth:
            x = np.where(x > 0, x, 0)
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


NORMALIZERS: dict[str, Callable[[Floats, Any], Floats]] = {
    "scale": scale,
    "standardize": standardize,
    "deskew": deskew,
}
NETWORKS = {
    "softmax": ["model.kind=softmax"],
    "mlp of 32": ["model.kind=mlp", "model.hidden=[32]"],
    "mlp of 512 and 256": ["model.kind=mlp", "model.hidden=[512, 256]"],
}


@pytest.fixture(scope="module")
def idx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6,000 of MNIST's training images and all of its test images."""
    folder = tmp_path_factory.mktemp("mnist")
    images, labels = mnist("train")
    write_idx(folder, "train", images[:6000], labels[:6000])
    write_idx(folder, "t10k", *mnist("t10k"))
    return folder


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_every_test_image_is_answered_as_in_float64(
    network: str, normalizer: str, idx: Path, workspace: Path, score: Any, tmp_path: Path
) -> None:
    settings = [f"normalize.kind={normalizer}", *NETWORKS[network]]
    words = [word for setting in settings for word in ("--set", setting)]
    assert main([*train_words(idx, workspace), *words]) == 0
    images, truth = mnist("t10k")
    write(tmp_path / "t10k.parquet", images)
    code, data = score(tmp_path / "t10k.parquet", "--probabilities", workspace=workspace)
    assert (code, data["scored"]) == (0, 10_000)
    told = pq.read_table(tmp_path / "answers" / "t10k.parquet")
    probabilities = np.array(told["probabilities"].to_pylist(), np.float64)

    version = workspace / "models" / "digits" / "versions" / "1"
    fitted = json.loads((version / "normalizer.json").read_text())
    assert fitted["name"] == f"{normalizer}.v1"
    x = NORMALIZERS[normalizer](images.astype(np.float64), fitted["state"])
    expected = forward(x, load_file(version / "model.safetensors"))

    assert np.abs(probabilities - expected).max() < 1e-5
    labels = told["label"].to_numpy()
    assert (labels == expected.argmax(axis=1)).all()
    assert told["confidence"].to_numpy() == pytest.approx(expected.max(axis=1), abs=1e-5)
    assert (labels == truth).mean() > 0.8  # a network that knows nothing would agree with anything
