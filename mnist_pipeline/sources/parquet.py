"""Parquet files with a column of images in any layout that `data/layouts.py` reads.

Every file is opened by itself: the dataset API unifies schemas in silence. Page checksums are
verified where the file has them, or a flipped bit in an uncompressed page reads as wrong pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mnist_pipeline.contract.records import (
    NO_LABEL,
    PartInput,
    Records,
    Reject,
    Role,
    unreadable,
)
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.layouts import ImageColumns, find_image_column
from mnist_pipeline.data.parquet import batches_of, open_parquet
from mnist_pipeline.errors import ConfigError, DataError, did_you_mean, shortened
from mnist_pipeline.plugins import option
from mnist_pipeline.sources.files import BLOCK_ROWS, FilePart, files_at

_TEST_SPLIT = re.compile(r"test-[0-9]{5}-of-[0-9]{5}\.parquet")

# Bytes read ahead a column: without it a whole column of a row group is held in memory.
_READ_BUFFER = 1 << 16
_LONGEST_PAYLOAD = 4096
_MOST_BYTES = 1 << 23  # a block of records, while it is still in its file's layout

# What a footer may claim whatever the size of its file, and a row group however few its rows.
_FEW_ROWS = 1 << 16
_FEW_BYTES = 1 << 24
_BYTES_A_PIXEL = 16  # float64 and what Parquet puts beside it


@dataclasses.dataclass(frozen=True)
class ParquetPart(FilePart):
    """One Parquet file; `label` is None for unlabelled images."""

    image: str | None = None
    label: str | None = "label"
    scale: float | None = None

    def read(self, contract: ImageContract) -> Iterator[Records]:
        with explained(self.path):
            file = open_parquet(self.path, buffer_size=_READ_BUFFER)
        with file:
            images = find_image_column(file.schema_arrow, contract, self.image, file=self.path)
            labels = [] if self.label is None else [self.label]
            _check_label(self.path, file.schema_arrow, labels)
            _check_claims(self.path, file, {*labels, *images.names}, contract)
            step = _rows_at_once(images, file.schema_arrow)
            batches = _joined(batches_of(file, step, [*labels, *images.names]), step)
            rows = 0
            while True:
                with explained(self.path):
                    batch = next(batches, None)
                if batch is None:
                    break
                yield self._records(batch, rows, images, contract)
                rows += len(batch)
            if rows == 0 or rows != file.metadata.num_rows:
                raise DataError(
                    f"{self.name} {'has no rows' if rows == 0 else 'lacks rows'}",
                    file=str(self.path),
                    expected=f"{file.metadata.num_rows:,} rows" if rows else "at least one row",
                    found=f"{rows:,} rows",
                    remedy="write the file again, or leave it out",
                )

    def _records(
        self, batch: pa.RecordBatch, first: int, images: ImageColumns, contract: ImageContract
    ) -> Records:
        """One batch whose first row is row `first` of the file."""
        try:
            decoded = images.decode(batch, contract, self.scale)
        except ConfigError as error:  # the scale: what decodes a batch knows no file
            error.facts["file"] = str(self.path)
            raise
        faults: dict[int, tuple[str, str]] = {}
        labels = None
        if self.label is not None:
            labels, unreadable_labels = _labels(batch.column(self.label))
            for row in np.flatnonzero(unreadable_labels).tolist():
                detail = f"column {self.label} is {batch.column(self.label)[row]}"
                faults[row] = ("label_out_of_range", detail)
        for row, reason, detail in decoded.faults():
            faults.setdefault(row, (reason, f"column {shortened(images.names[0])}: {detail}"))
        places = np.arange(first, first + len(batch), dtype=np.int64)
        if not faults:
            return Records(decoded.images, labels, places, self.name)
        rows = sorted(faults)
        found = payloads(batch.select(images.names), rows)
        rejects = tuple(
            Reject(self.name, first + row, *faults[row], payload)
            for row, payload in zip(rows, found, strict=True)
        )
        keep = np.ones(len(batch), dtype=np.bool_)
        keep[rows] = False
        labels = labels if labels is None else labels[keep]
        return Records(decoded.images[keep], labels, places[keep], self.name, rejects)


@dataclasses.dataclass(frozen=True)
class Parquet:
    """Parquet files with one row an image: raw bytes, lists, tensors, PNGs or pixel columns.

    Files named as on Hugging Face's hub, `test-00000-of-00001.parquet`, hold the test rows.
    """

    path: str = option(
        dataclasses.MISSING,
        "a file, a folder of *.parquet, or a pattern, here or in a bucket (s3://…)",
        locates=True,
        bucket=True,
    )
    image: str | None = option(None, "the image column (pixel0 for pixel columns); if not the only")
    label: str = option("label", "the label column")
    scale: float | None = option(None, "for float pixels: what a value is multiplied by")
    labelled: bool = option(True, "whether rows have labels")

    def __post_init__(self) -> None:
        # Checked before anything is opened: NaN could not even be part of a part's key.
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise ConfigError(
                f"the source 'parquet' cannot take scale = {self.scale}",
                expected="a positive number",
                remedy="give 255 if 1.0 is full ink, 1 if 255.0 is",
            )

    def parts(self) -> list[PartInput]:
        label = self.label if self.labelled else None
        parts: list[PartInput] = [
            ParquetPart(path, self.image, label, self.scale, role=_role(path.name))
            for path in files_at(self.path, (".parquet",))
        ]
        return sorted(parts, key=lambda part: (part.role != "train", part.name))


def _role(name: str) -> Role:
    """Whether a file is the test split of a data set: by its name alone, wherever it lies."""
    return "exam" if _TEST_SPLIT.fullmatch(name) else "train"


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Arrow's errors, of which there are many classes, as one that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(path, error) from None
        raise DataError(
            f"{path.name} is damaged or is not a Parquet file",
            file=str(path),
            cause=str(error).strip().splitlines()[0][:200] if str(error).strip() else None,
            remedy="fetch or write the file again",
        ) from None


def _rows_at_once(images: ImageColumns, schema: pa.Schema) -> int:
    """How many rows pyarrow is asked for, so that what it makes of them stays small."""
    if len(images.names) > 1:  # every batch costs something a column
        return BLOCK_ROWS
    kind = schema.field(images.names[0]).type
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    while pa.types.is_nested(kind) and not pa.types.is_struct(kind):
        kind = kind.value_type
    if pa.types.is_primitive(kind):
        return BLOCK_ROWS * 8 // int(kind.bit_width)
    # A few long values that all rows of a small file share would be copied for each of them.
    return BLOCK_ROWS if pa.types.is_fixed_size_binary(kind) else BLOCK_ROWS // 64


def _joined(batches: Iterator[pa.RecordBatch], step: int) -> Iterator[pa.RecordBatch]:
    """Batches of at most `step` rows put together into larger ones, not into heavy ones."""
    block: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        block.append(batch)
        rows += len(batch)
        if rows + step > BLOCK_ROWS or (len(block) + 1) * batch.nbytes > _MOST_BYTES:
            yield block[0] if len(block) == 1 else pa.concat_batches(block)
            block, rows = [], 0
    if block:
        yield pa.concat_batches(block)


def _check_label(path: Path, schema: pa.Schema, labels: list[str]) -> None:
    for label in labels:
        if label not in schema.names:
            near = [shortened(name) for name in schema.names[:8]]
            shown = ", ".join(near)
            raise DataError(
                f"{path.name} has no label column {label!r}",
                file=str(path),
                columns=shown + (", …" if len(schema.names) > 8 else ""),
                remedy=f"name it (label=…; {did_you_mean(label, near)}), or set labelled=false",
            )
        kind = schema.field(label).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise DataError(
                f"the label column {label!r} of {path.name} holds no numbers",
                file=str(path),
                expected="integers",
                found=shortened(kind),
                remedy="write each label as the index of its class",
            )


def _check_claims(
    path: Path, file: pq.ParquetFile, columns: set[str], contract: ImageContract
) -> None:
    """Refuses a footer that claims far more than images of this size can be.

    Nulls, copies and zeros pack so well that a kilobyte may honestly unpack to gigabytes, or to
    rows for hours. What is claimed of a single column is not looked at: where that is damaged,
    pyarrow aborts the process that asks (26.0.1, an exception that its bindings do not expect).
    """
    metadata, size = file.metadata, path.stat().st_size
    if metadata.num_rows > max(_FEW_ROWS, size):
        raise _claim(path, f"{metadata.num_rows:,} rows in {size:,} bytes", "a byte a row")
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for group in groups if columns.issuperset(file.schema_arrow.names) else ():
        pixels = contract.pixels * group.num_rows
        if group.total_byte_size > _FEW_BYTES + _BYTES_A_PIXEL * pixels:
            found = f"{group.total_byte_size:,} bytes for {group.num_rows:,} rows"
            raise _claim(path, found, f"{pixels:,} pixels of at most {_BYTES_A_PIXEL} bytes")


def _claim(path: Path, found: str, expected: str) -> DataError:
    return DataError(
        f"{path.name} claims to hold more than images of this size can be",
        file=str(path),
        expected=expected,
        found=found,
        remedy="check that it is the right file, and not damaged; keep its images in one size",
    )


def _labels(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Labels, `NO_LABEL` where there is none (null or NaN), and a mask of those that are no label.

    As in CSV, a label is a whole number from 0 to 255; whether it is in the contract is judged
    later. Floats are what pandas makes of integers among which one was missing.
    """
    values = column.fill_null(0).to_numpy(zero_copy_only=False)
    present = column.is_valid().to_numpy(zero_copy_only=False) & (values == values)  # NaN ≠ NaN
    readable = (values >= 0) & (values <= 255) & (values == np.floor(values))
    labels = np.full(len(values), NO_LABEL, dtype=np.int64)
    np.copyto(labels, values, where=present & readable, casting="unsafe")
    return labels, present & ~readable


def payloads(batch: pa.RecordBatch, rows: list[int]) -> Iterator[bytes]:
    """What stood in the image columns of a few rows, cut to size."""
    if batch.num_columns > 1:
        cells = [column.cast(pa.string()) for column in batch.take(pa.array(rows)).columns]
        join = pc.binary_join_element_wise(
            *cells, ",", null_handling="replace", null_replacement=""
        )
        yield from (text.as_py().encode()[:_LONGEST_PAYLOAD] for text in join)
        return
    column = batch.column(0)
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    for row in rows:
        cell = column[row]
        cell = cell["bytes"] if isinstance(cell, pa.StructScalar) and cell.is_valid else cell
        if not cell.is_valid:
            yield b""
        elif isinstance(cell, pa.ListScalar):
            yield str(cell.values[:_LONGEST_PAYLOAD].to_pylist()).encode()[:_LONGEST_PAYLOAD]
        else:
            yield bytes(memoryview(cell.as_buffer())[:_LONGEST_PAYLOAD])
