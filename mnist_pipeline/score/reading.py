"""Reading: input files opened alone, row groups streamed, damage told as what it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mnist_pipeline.data import parquet
from mnist_pipeline.score.inputs import InputFile, stamp_of
from mnist_pipeline.sources.parquet import explained

BATCH_ROWS = 8192
_READ_BUFFER = 1 << 16  # bytes read ahead a column: without it whole column chunks are held


@contextlib.contextmanager
def opened(file: InputFile, stamp: str | None = None) -> Iterator[pq.ParquetFile]:
    """An input file, opened alone, its page checksums verified.

    Args:
        file: which one.
        stamp: see `InputFile.source`.

    Raises:
        DataError: it is no Parquet file, is damaged, or has changed.
    """
    with file.source(stamp) as source:
        with explained(Path(file.relative)):
            found = parquet.open_parquet(source, buffer_size=_READ_BUFFER)
        with found:
            yield found


def identify(file: InputFile) -> tuple[str, str]:
    """The sha256 of a file's bytes, and the stamp that it had before these were read.

    Raises:
        DataError: it cannot be read.
    """
    with explained(Path(file.relative)), file.source() as source:
        stamp = stamp_of(source)
        return file.digest(), stamp


def batches_of(
    found: pq.ParquetFile, file: InputFile, columns: list[str], groups: range
) -> Iterator[pa.RecordBatch]:
    """The batches of some row groups, only `columns`, in that order.

    Raises:
        DataError: the file is damaged.
    """
    batches = parquet.batches_of(found, BATCH_ROWS, columns, groups)
    while True:
        with explained(Path(file.relative)):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch.select(columns)
