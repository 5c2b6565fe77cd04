"""Parquet files of drawn digits in the layouts that people write, for the tests of `score`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


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
