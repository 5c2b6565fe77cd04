"""IDX files as MNIST names them, written without knowing how many rows will come."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import Rows

GZIP_LEVEL = 6


class IdxWriter:
    """A file of images and, where they have labels, the file of these."""

    def __init__(
        self, folder: Path, stem: str, contract: ImageContract, *, labelled: bool, compress: bool
    ) -> None:
        folder.mkdir(exist_ok=True)
        end = ".gz" if compress else ""
        shape = (contract.height, contract.width)
        self._files = contextlib.ExitStack()
        self._images = _IdxFile(folder / f"{stem}-images-idx3-ubyte{end}", shape, compress)
        self._files.callback(self._images.close)
        self._labels = None
        if labelled:
            self._labels = _IdxFile(folder / f"{stem}-labels-idx1-ubyte{end}", (), compress)
            self._files.callback(self._labels.close)

    def write(self, rows: Rows) -> None:
        self._images.write(rows.images)
        if self._labels is not None:
            assert rows.labels is not None
            self._labels.write(rows.labels)

    def close(self) -> None:
        self._files.close()


class _IdxFile:
    """An IDX file (http://yann.lecun.com/exdb/mnist/) of rows of `shape`.

    Its header tells the number of rows, which shows at the end: it is written once to hold the
    place, and once more when it is known. In a gzipped file it is a member of its own (RFC 1952,
    2.2: members are simply put one after the other), stored, so that its size does not change.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], compress: bool) -> None:
        self._shape = shape
        self._compress = compress
        self._rows = 0
        self._file: IO[bytes] = path.open("wb")
        self._file.write(self._header())
        self._body: IO[bytes] | gzip.GzipFile = self._file
        if compress:
            self._body = gzip.GzipFile("", "wb", GZIP_LEVEL, self._file, mtime=0)

    def write(self, values: NDArray[np.uint8]) -> None:
        self._body.write(np.ascontiguousarray(values).data)
        self._rows += len(values)

    def close(self) -> None:
        with self._file:
            if self._body is not self._file:
                self._body.close()
            self._file.seek(0)
            self._file.write(self._header())

    def _header(self) -> bytes:
        sizes = (self._rows, *self._shape)
        plain = bytes([0, 0, 0x08, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)
        return gzip.compress(plain, compresslevel=0, mtime=0) if self._compress else plain
