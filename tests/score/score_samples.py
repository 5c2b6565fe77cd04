"""Parquet files of drawn digits in the layouts that people write, for the tests of `score`."""

from __future__ import annotations

import functools
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray


def raw(images: np.ndarray) -> pa.Array:
    """Images as fixed_size_binary(784)."""
    return pa.array([image.tobytes() for image in images], pa.binary(784))


def write(path: Path, images: np.ndarray, *, row_group: int = 1024, **columns: Any) -> Path:
    """A file with `image` and further columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, "image": raw(images)}), path, row_group_size=row_group)
    return path


def answers(output: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a file of answers."""
    rows: list[dict[str, Any]] = pq.read_table(output / name, partitioning=None).to_pylist()
    return rows


@functools.cache
def mnist(part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """MNIST's images (N, 784) and labels (N,) of `train` or `t10k`; without them the test skips."""
    folder = os.environ.get("MNIST_DATA_DIR", "")
    if not folder:
        pytest.skip("MNIST_DATA_DIR does not name a folder with MNIST's four files")
    images = gzip.decompress((Path(folder) / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((Path(folder) / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784),
        np.frombuffer(labels, np.uint8, offset=8),
    )
