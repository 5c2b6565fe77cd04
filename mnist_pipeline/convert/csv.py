"""CSV files as Kaggle writes MNIST: a header `label,pixel0,…,pixel783`, then one row an image."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.convert.idx import GZIP_LEVEL
from mnist_pipeline.data.parquet import Rows

_ROWS_AT_ONCE = 256  # their text stays in the CPU's cache


def _cells(end: str) -> NDArray[np.uint32]:
    """(256,) uint32: the four bytes of each value and what ends its cell, NUL where it is short."""
    texts = [f"{value}{end}".encode().ljust(4, b"\0") for value in range(256)]
    return np.frombuffer(b"".join(texts), np.uint32)


class CsvWriter:
    """One CSV file; without labels it has no label column."""

    def __init__(
        self, path: Path, contract: ImageContract, *, labelled: bool, compress: bool
    ) -> None:
        self._labelled = labelled
        self._cell, self._last_cell = _cells(","), _cells("\n")
        self._open = contextlib.ExitStack()
        self._file: IO[bytes] | gzip.GzipFile = self._open.enter_context(path.open("wb"))
        if compress:
            packed = gzip.GzipFile("", "wb", GZIP_LEVEL, self._file, mtime=0)
            self._file = self._open.enter_context(packed)
        names = [f"pixel{k}" for k in range(contract.pixels)]
        self._file.write(",".join(["label", *names] if labelled else names).encode() + b"\n")

    def write(self, rows: Rows) -> None:
        for start in range(0, len(rows.images), _ROWS_AT_ONCE):
            table = rows.images[start : start + _ROWS_AT_ONCE]
            if self._labelled:
                assert rows.labels is not None
                table = np.column_stack([rows.labels[start : start + _ROWS_AT_ONCE], table])
            text = np.take(self._cell, table)
            text[:, -1] = self._last_cell[table[:, -1]]
            self._file.write(text.tobytes().translate(None, delete=b"\0"))

    def close(self) -> None:
        self._open.close()
