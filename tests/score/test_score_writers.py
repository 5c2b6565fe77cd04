"""Files by other people's writers: the same answers as to the canonical file, ids carried."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from score_samples import raw

Images = NDArray[np.uint8]
Writer = Callable[[Path, Images, NDArray[np.uint8], list[str]], object]

ROWS = 60
PIXELS = [f"pixel{k}" for k in range(784)]
WORDS = ["--id-column", "uuid", "--keep", "label=truth", "--probabilities"]


def png(image: Images) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.reshape(28, 28)).save(file, "PNG")
    return file.getvalue()


def by_pandas(cells: Callable[[Images], list[Any]], **options: Any) -> Writer:
    def write(path: Path, images: Images, labels: Images, names: list[str]) -> None:
        frame = pd.DataFrame({"uuid": names, "label": labels, "image": cells(images)})
        frame.to_parquet(path, **options)

    return write


def pandas_pixels(dtype: str) -> Writer:
    """As `read_csv` on Kaggle's file gives it, the ids as the frame's index."""

    def write(path: Path, images: Images, labels: Images, names: list[str]) -> None:
        frame = pd.DataFrame(images, columns=PIXELS, dtype=dtype)
        frame.insert(0, "label", labels)
        frame.set_index(pd.Index(names, name="uuid")).to_parquet(path)

    return write


def by_polars(kind: Any, cells: Callable[[Images], Any]) -> Writer:
    def write(path: Path, images: Images, labels: Images, names: list[str]) -> None:
        image = pl.Series("image", cells(images), dtype=kind)
        pl.DataFrame({"uuid": names, "label": labels, "image": image}).write_parquet(path)

    return write


def polars_pixels(path: Path, images: Images, labels: Images, names: list[str]) -> None:
    frame = pl.DataFrame(images, schema=PIXELS).with_columns(uuid=pl.Series(names), label=labels)
    frame.write_parquet(path)


def by_duckdb(image: str) -> Writer:
    """COPY … TO, `image` an expression over the columns `pixels` and `blob`."""

    def write(path: Path, images: Images, labels: Images, names: list[str]) -> None:
        rows = pa.table(
            {
                "uuid": names,
                "label": labels,
                "pixels": pa.array(images.tolist(), pa.list_(pa.uint8())),
                "blob": [i.tobytes() for i in images],
                "png": [png(i) for i in images],
            }
        )
        with duckdb.connect() as connection:
            connection.register("digits", rows)
            query = f"SELECT uuid, label, {image} FROM digits"
            connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")

    return write


def by_pyarrow(cells: Callable[[Images], pa.Array], **options: Any) -> Writer:
    def write(path: Path, images: Images, labels: Images, names: list[str]) -> None:
        table = pa.table({"image": cells(images), "label": labels, "uuid": names})
        pq.write_table(table, path, **options)

    return write


def hugging_face(path: Path, images: Images, labels: Images, names: list[str]) -> None:
    """As `ylecun/mnist` has it: the column first, an int64 label, features in the metadata."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": png(image), "path": None} for image in images], kind)
    features = b'{"info": {"features": {"image": {"_type": "Image"}, "label": {"dtype": "int64"}}}}'
    table = pa.table({"image": column, "label": labels.astype(np.int64), "uuid": names})
    pq.write_table(table.replace_schema_metadata({"huggingface": features}), path)


def raw_bytes(images: Images) -> list[bytes]:
    return [image.tobytes() for image in images]


def squares(images: Images) -> list[Any]:
    return images.reshape(-1, 28, 28).tolist()


EVERY_PIXEL = ", ".join(f"pixels[{k + 1}] AS pixel{k}" for k in range(784))

WRITERS: dict[str, Writer] = {
    "pandas: bytes": by_pandas(raw_bytes),
    "pandas: lists": by_pandas(lambda x: x.tolist()),
    "pandas: arrays": by_pandas(list),
    "pandas: lists of lists": by_pandas(squares),
    "pandas: gzip, many row groups": by_pandas(raw_bytes, compression="gzip", row_group_size=7),
    "pandas: pixel columns of int64": pandas_pixels("int64"),
    "pandas: pixel columns of uint8": pandas_pixels("uint8"),
    "pandas: pixel columns of Int16, nullable": pandas_pixels("Int16"),
    "polars: binary": by_polars(pl.Binary, raw_bytes),
    "polars: lists": by_polars(pl.List(pl.UInt8), lambda x: x.tolist()),
    "polars: arrays": by_polars(pl.Array(pl.UInt8, 784), lambda x: x),
    "polars: square arrays": by_polars(pl.Array(pl.UInt8, (28, 28)), squares),
    "polars: pixel columns": polars_pixels,
    "duckdb: blobs": by_duckdb("blob AS image"),
    "duckdb: lists": by_duckdb("pixels AS image"),
    "duckdb: arrays": by_duckdb("pixels::UTINYINT[784] AS image"),
    "duckdb: lists of lists": by_duckdb(
        "[pixels[28 * r + 1 : 28 * r + 28] FOR r IN range(28)] AS image"
    ),
    "duckdb: pixel columns": by_duckdb(EVERY_PIXEL),
    "duckdb: pictures": by_duckdb("{'bytes': png, 'path': uuid || '.png'} AS image"),
    "pyarrow: large binary, brotli, old pages": by_pyarrow(
        lambda x: pa.array(raw_bytes(x), pa.large_binary()),
        compression="brotli",
        data_page_version="1.0",
        use_dictionary=True,
    ),
    "pyarrow: byte stream split, new pages": by_pyarrow(
        raw,
        data_page_version="2.0",
        use_dictionary=False,
        column_encoding={"image": "BYTE_STREAM_SPLIT"},
    ),
    "pyarrow: a row group a row": by_pyarrow(
        lambda x: pa.array(raw_bytes(x), pa.binary()), row_group_size=1
    ),
    "pyarrow: tensors": by_pyarrow(
        lambda x: pa.FixedShapeTensorArray.from_numpy_ndarray(x.reshape(-1, 28, 28))
    ),
    "hugging face": hugging_face,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_the_same_answers_whoever_wrote_the_file(
    writer: str, score: Any, digits: Any, tmp_path: Path
) -> None:
    images, labels = (np.ascontiguousarray(values[:ROWS]) for values in digits)
    names = [f"digit-{number:02d}" for number in range(ROWS)]
    by_pyarrow(raw)(tmp_path / "canonical.parquet", images, labels, names)
    WRITERS[writer](tmp_path / "other.parquet", images, labels, names)
    told = []
    for name in ("canonical", "other"):
        code, data = score(tmp_path / f"{name}.parquet", *WORDS, to=tmp_path / name)
        assert (code, data["scored"], data["failed_files"]) == (0, ROWS, [])
        told.append(pq.read_table(tmp_path / name / f"{name}.parquet").to_pylist())
    assert [row["uuid"] for row in told[1]] == names
    assert [row["truth"] for row in told[1]] == labels.tolist()
    assert told[0] == told[1]
