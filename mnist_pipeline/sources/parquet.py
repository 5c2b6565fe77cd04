"""Parquet files with a column of images in any layout that `data/layouts.py` reads.

Every file is opened by itself: the dataset API unifies schemas in silence. Page checksums are
verified where the file has them, or a flipped bit in an uncompressed page reads as wrong pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
    unreadable,
)
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.layouts import ImageColumns, find_image_column
from mnist_pipeline.errors import ConfigError, DataError, did_you_mean
from mnist_pipeline.plugins import option
from mnist_pipeline.sources.files import BLOCK_ROWS, FilePart, files_at

# Bytes read ahead a column: without it a whole column of a row group is held in memory.
_READ_BUFFER = 1 << 16
_LONGEST_PAYLOAD = 4096


@dataclasses.dataclass(frozen=True)
class ParquetPart(FilePart):
    """One Parquet file; `label` is None for unlabelled images."""

    image: str | None = None
    label: str | None = "label"
    scale: float | None = None

    def read(self, contract: ImageContract) -> Iterator[Records]:
        with _explained(self.path):
            file = pq.ParquetFile(
                self.path, page_checksum_verification=True, buffer_size=_READ_BUFFER
            )
        with file:
            images = find_image_column(file.schema_arrow, contract, self.image, file=self.path)
            labels = [] if self.label is None else [self.label]
            _check_label(self.path, file.schema_arrow, labels)
            batches = file.iter_batches(
                batch_size=BLOCK_ROWS, columns=[*labels, *images.names], use_threads=False
            )
            rows = 0
            while True:
                with _explained(self.path):
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
            faults.setdefault(row, (reason, f"column {images.names[0]}: {detail}"))
        places = np.arange(first, first + len(batch), dtype=np.int64)
        if not faults:
            return Records(decoded.images, labels, places, self.name)
        rows = sorted(faults)
        found = payloads(batch.select(images.names).take(pa.array(rows)))
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
    """Parquet files with one row an image: raw bytes, lists, tensors, PNGs or pixel columns."""

    path: str = option(
        dataclasses.MISSING, "a file, a folder of *.parquet, or a pattern", locates=True
    )
    image: str | None = option(None, "the image column (pixel0 for pixel columns); if not the only")
    label: str = option("label", "the label column")
    scale: float | None = option(None, "for float pixels: what a value is multiplied by")
    labelled: bool = option(True, "whether rows have labels")

    def parts(self) -> list[PartInput]:
        label = self.label if self.labelled else None
        return [
            ParquetPart(path, self.image, label, self.scale)
            for path in files_at(self.path, (".parquet",))
        ]


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
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


def _check_label(path: Path, schema: pa.Schema, labels: list[str]) -> None:
    for label in labels:
        if label not in schema.names:
            shown = ", ".join(schema.names[:8])
            raise DataError(
                f"{path.name} has no label column {label!r}",
                file=str(path),
                columns=shown + (", …" if len(schema.names) > 8 else ""),
                remedy=f"name it (label=…; {did_you_mean(label, schema.names[:8])}), or set "
                "labelled=false",
            )
        kind = schema.field(label).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise DataError(
                f"the label column {label!r} of {path.name} holds no numbers",
                file=str(path),
                expected="integers",
                found=str(kind),
                remedy="write each label as the index of its class",
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


def payloads(rows: pa.RecordBatch) -> Iterator[bytes]:
    """What stood in the image columns of a few rows, cut to size."""
    if rows.num_columns > 1:
        cells = [column.cast(pa.string()) for column in rows.columns]
        join = pc.binary_join_element_wise(
            *cells, ",", null_handling="replace", null_replacement=""
        )
        yield from (text.as_py().encode()[:_LONGEST_PAYLOAD] for text in join)
        return
    column = rows.column(0)
    for cell in column.storage if isinstance(column, pa.ExtensionArray) else column:
        cell = cell["bytes"] if isinstance(cell, pa.StructScalar) and cell.is_valid else cell
        if not cell.is_valid:
            yield b""
        elif isinstance(cell, pa.ListScalar):
            yield str(cell.values[:_LONGEST_PAYLOAD].to_pylist()).encode()[:_LONGEST_PAYLOAD]
        else:
            yield bytes(memoryview(cell.as_buffer())[:_LONGEST_PAYLOAD])
