"""The canonical Parquet file: how accepted rows are stored, written and read back.

Why this layout: `fixed_size_binary` reads more than ten times faster than lists or 784 columns
(Parquet has no uint8), lz4 costs least to read, and page checksums turn a flipped bit into an error
instead of wrong pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mnist_pipeline.contract.facts import DIGEST_BYTES
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import IntegrityError

ROW_GROUP = 8_192
ARROW_ERRORS = (pa.ArrowException, UnicodeDecodeError, OSError)
"""What pyarrow raises for a file that is cut, damaged, or not Parquet."""
_MOST_BYTES_OF_LISTS = 3_000_000  # pyarrow's own limit is a million elements


def canonical_schema(contract: ImageContract, *, labelled: bool) -> pa.Schema:
    """The columns of a part; the contract's fingerprint travels in the metadata."""
    label = [pa.field("label", pa.uint8(), nullable=False)] if labelled else []
    return pa.schema(
        [
            pa.field("row_id", pa.int64(), nullable=False),
            *label,
            pa.field("image", pa.binary(contract.pixels), nullable=False),
            pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("place", pa.int64(), nullable=False),
        ],
        metadata={"mnist_pipeline.contract": contract.fingerprint},
    )


def bytes_column(values: NDArray[np.uint8]) -> pa.FixedSizeBinaryArray:
    """(N, width) uint8 as a fixed_size_binary(width) column, without a copy."""
    count, width = values.shape
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, [None, buffer])


def bytes_view(column: pa.FixedSizeBinaryArray) -> NDArray[np.uint8]:
    """A fixed_size_binary column without nulls as (N, width) uint8, without a copy."""
    count, width = len(column), column.type.byte_width
    if count == 0:
        return np.zeros((0, width), np.uint8)
    flat = np.frombuffer(column.buffers()[1], np.uint8, count * width, column.offset * width)
    return flat.reshape(count, width)


@dataclasses.dataclass(frozen=True)
class Rows:
    """A block of accepted rows.

    Attributes:
        row_ids: (N,) int64, the position within the part.
        labels: (N,) uint8, or None for unlabelled data.
        images: (N, pixels) uint8.
        digests: (N, 16) uint8.
        places: (N,) int64.
        source: the base name of the file they came from.
    """

    row_ids: NDArray[np.int64]
    labels: NDArray[np.uint8] | None
    images: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    places: NDArray[np.int64]
    source: str


class CanonicalWriter:
    """Writes blocks of rows to one canonical file; use it as a context manager.

    The file is complete only after the block was left without an exception: write to a scratch
    name and move it into the store afterwards.
    """

    def __init__(self, path: Path, contract: ImageContract, *, labelled: bool) -> None:
        self._schema = canonical_schema(contract, labelled=labelled)
        self._writer = pq.ParquetWriter(path, self._schema, **_writer_options())
        self.rows = 0

    def write(self, rows: Rows) -> None:
        """Appends a block, as row groups of at most `ROW_GROUP` rows."""
        columns: dict[str, Any] = {
            "row_id": rows.row_ids,
            "label": rows.labels,
            "image": bytes_column(rows.images),
            "digest": bytes_column(rows.digests),
            "source": pa.repeat(pa.scalar(rows.source), len(rows.images)),
            "place": rows.places,
        }
        arrays = [pa.array(columns[name]) for name in self._schema.names]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(table, row_group_size=ROW_GROUP)
        self.rows += len(rows.images)

    def __enter__(self) -> CanonicalWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()


def _writer_options() -> dict[str, Any]:
    return {
        "compression": "lz4",
        "use_dictionary": ["source"],
        "write_statistics": False,
        "write_page_checksum": True,
    }


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a small table with this project's settings (zstd, page checksums)."""
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,  # with one, and with statistics, an index costs three times as much
        write_statistics=False,
        write_page_checksum=True,
    )


def read_table(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """Reads a small table back, its checksums verified.

    Raises:
        IntegrityError: the file is damaged, or its columns are not those of `schema`.
    """
    try:
        file = open_parquet(path)
        table = file.read(use_threads=False)
        if schema is not None and not table.schema.equals(schema):
            raise pa.ArrowInvalid("it has other columns")
        _check_count(file, len(table))
        return table
    except ARROW_ERRORS as error:
        raise _damaged(path, error) from None


def read_head(path: Path, schema: pa.Schema, rows: int) -> pa.Table:
    """The first rows of a table, at most so many; the rest is not read.

    Raises:
        IntegrityError: the file is damaged, or its columns are not those of `schema`.
    """
    try:
        batches = open_parquet(path).iter_batches(rows, use_threads=False)
        batch = next(batches, pa.RecordBatch.from_pylist([], schema))
        if not batch.schema.equals(schema):
            raise pa.ArrowInvalid("it has other columns")
        return pa.Table.from_batches([batch])
    except ARROW_ERRORS as error:
        raise _damaged(path, error) from None


def open_parquet(source: Path | io.RawIOBase, *, buffer_size: int = 0) -> pq.ParquetFile:
    """A Parquet file opened alone and by name (or as what reads like one), checksums on.

    pyarrow gives memory for all the elements that a list in the footer claims to have before it
    reads the first of them: 0.7 GB for one flipped bit. In parquet.thrift
    (https://github.com/apache/parquet-format) no such element takes fewer than three bytes.
    """
    opened = source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source)
    with opened as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        footer = int.from_bytes(file.read(4) or b"", "little")
    most = min(footer, size, _MOST_BYTES_OF_LISTS) // 3
    return pq.ParquetFile(
        source,
        page_checksum_verification=True,
        buffer_size=buffer_size,
        thrift_container_size_limit=max(1, most),
    )


def batches_of(
    file: pq.ParquetFile, size: int, columns: list[str], groups: range | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a file or of some of its row groups, at most `size` at once.

    An iterator of Arrow's for every few row groups: a single one would hold a page of every row
    group it has passed, 1.3 MB each (measured).
    """
    chosen: list[int] = []
    rows = 0
    groups = range(file.num_row_groups) if groups is None else groups
    for group in groups:
        chosen.append(group)
        rows += file.metadata.row_group(group).num_rows
        if rows >= ROW_GROUP or group == groups[-1]:
            yield from file.iter_batches(
                size, row_groups=chosen, columns=columns, use_threads=False
            )
            chosen, rows = [], 0


def read_rows(
    path: Path, contract: ImageContract, *, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """The batches of a canonical file, only some of its columns.

    Raises:
        IntegrityError: the file is damaged or was written under another contract.
    """
    try:
        file = open_parquet(path)
        schema = file.schema_arrow
        found = (schema.metadata or {}).get(b"mnist_pipeline.contract", b"").decode()
        if found != contract.fingerprint:
            raise IntegrityError(
                "a part was written under another contract",
                file=path.name,
                expected=contract.fingerprint[:12],
                found=found[:12] or "none",
                remedy="ingest its source again",
            )
        # Checksums cover the pages, not the footer: a bit flipped there may change a type.
        if not schema.equals(canonical_schema(contract, labelled="label" in schema.names)):
            raise pa.ArrowInvalid("its columns are not those of a canonical file")
        yield from _batches(file, columns)
    except ARROW_ERRORS as error:
        raise _damaged(path, error) from None


def read_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """What `read_table` reads, in bounded memory.

    Raises:
        IntegrityError: the file is damaged, or its columns are not those of `schema`.
    """
    try:
        file = open_parquet(path)
        if not file.schema_arrow.equals(schema):
            raise pa.ArrowInvalid("it has other columns")
        yield from _batches(file, schema.names)
    except ARROW_ERRORS as error:
        raise _damaged(path, error) from None


def _batches(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    rows = 0
    for batch in file.iter_batches(ROW_GROUP, columns=columns, use_threads=False):
        rows += len(batch)
        yield batch
    _check_count(file, rows)


def _check_count(file: pq.ParquetFile, rows: int) -> None:
    """Holds the rows read against the footer's total: no checksum covers a row group's count."""
    if rows != file.metadata.num_rows:
        raise pa.ArrowInvalid(f"{rows} rows, expected {file.metadata.num_rows}")


def _damaged(path: Path, error: Exception) -> IntegrityError:
    return IntegrityError(
        "a Parquet file in the workspace is damaged",
        file=path.name,
        cause=str(error).partition("\n")[0],
        remedy="restore it from a backup; `mnist-pipeline train --verify` makes parts anew",
    )
