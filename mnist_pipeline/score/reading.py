"""Reading: input files opened alone, row groups streamed, damage told as what it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mnist_pipeline.contract.records import unreadable
from mnist_pipeline.errors import DataError
from mnist_pipeline.score.inputs import InputFile

BATCH_ROWS = 8192
_READ_BUFFER = 1 << 16  # bytes read ahead a column: without it whole column chunks are held


@contextlib.contextmanager
def opened(path: Path, file: InputFile) -> Iterator[pq.ParquetFile]:
    """An input file, opened alone, its page checksums verified."""
    with _explained(file):
        parquet = pq.ParquetFile(path, page_checksum_verification=True, buffer_size=_READ_BUFFER)
    with parquet:
        yield parquet


def batches_of(
    parquet: pq.ParquetFile, file: InputFile, columns: list[str], groups: range
) -> Iterator[pa.RecordBatch]:
    """The batches of some row groups, only `columns`, in that order.

    Raises:
        DataError: the file is damaged.
    """
    with _explained(file):
        batches = parquet.iter_batches(
            BATCH_ROWS, row_groups=list(groups), columns=columns, use_threads=False
        )
    while True:
        with _explained(file):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch.select(columns)


@contextlib.contextmanager
def _explained(file: InputFile) -> Iterator[None]:
    """Arrow's errors, of which there are many classes, as one that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(Path(file.relative), error) from None
        raise DataError(
            f"{file.relative} is damaged or is not a Parquet file",
            file=file.relative,
            cause=str(error).strip().partition("\n")[0][:200] or None,
            remedy="fetch or write the file again",
        ) from None
