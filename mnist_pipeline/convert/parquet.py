"""Parquet files with a column `label` and the images in one of the layouts in use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import ROW_GROUP, Rows, bytes_column
from mnist_pipeline.data.png import png_bytes

Images = NDArray[np.uint8]


def _bytes(images: Images, _contract: ImageContract) -> dict[str, pa.Array]:
    return {"image": bytes_column(images)}


def _list(images: Images, contract: ImageContract) -> dict[str, pa.Array]:
    ends = np.arange(0, images.size + 1, contract.pixels, dtype=np.int32)
    return {"image": pa.ListArray.from_arrays(ends, pa.array(images.ravel()))}


def _columns(images: Images, _contract: ImageContract) -> dict[str, pa.Array]:
    values = np.ascontiguousarray(images.T)
    return {f"pixel{k}": pa.array(column) for k, column in enumerate(values)}


def _tensor(images: Images, contract: ImageContract) -> dict[str, pa.Array]:
    kind = pa.fixed_shape_tensor(pa.uint8(), [contract.height, contract.width])
    lists = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), contract.pixels)
    return {"image": pa.ExtensionArray.from_storage(kind, lists)}


def _png(images: Images, contract: ImageContract) -> dict[str, pa.Array]:
    pictures = images.reshape(-1, contract.height, contract.width)
    blobs = pa.array([png_bytes(picture) for picture in pictures], pa.binary())
    paths = pa.nulls(len(blobs), pa.string())
    return {"image": pa.StructArray.from_arrays([blobs, paths], names=["bytes", "path"])}


LAYOUTS: dict[str, Callable[[Images, ImageContract], dict[str, pa.Array]]] = {
    "bytes": _bytes,  # fixed_size_binary(784): the smallest, and by far the fastest to read
    "list": _list,  # list<uint8>
    "columns": _columns,  # pixel0, pixel1, …
    "tensor": _tensor,  # arrow.fixed_shape_tensor, 28 × 28
    "png": _png,  # struct<bytes, path>, as Hugging Face's data sets have it
}
"""(N, pixels) uint8 as the columns of each layout; `data/layouts.py` reads them all."""


class ParquetWriter:
    """One Parquet file, with page checksums."""

    def __init__(self, path: Path, contract: ImageContract, *, labelled: bool, layout: str) -> None:
        self._contract = contract
        self._labelled = labelled
        self._columns = LAYOUTS[layout]
        table = self._table(np.zeros((0, contract.pixels), np.uint8), np.zeros(0, np.uint8))
        self._writer = pq.ParquetWriter(
            path,
            table.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=layout not in ("bytes", "png"),  # pixels stored as numbers repeat
            write_statistics=False,
            write_page_checksum=True,
        )

    def write(self, rows: Rows) -> None:
        self._writer.write_table(self._table(rows.images, rows.labels), row_group_size=ROW_GROUP)

    def close(self) -> None:
        self._writer.close()

    def _table(self, images: Images, labels: NDArray[np.uint8] | None) -> pa.Table:
        columns = self._columns(np.ascontiguousarray(images), self._contract)
        if self._labelled:
            columns = {"label": pa.array(labels), **columns}
        fields = [pa.field(name, array.type, nullable=False) for name, array in columns.items()]
        return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
