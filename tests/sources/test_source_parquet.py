"""Parquet files as a source: opened one by one, every row kept or rejected with its reason."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mnist_pipeline.contract.records import NO_LABEL, REASONS, Records, Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.plugins import build
from mnist_pipeline.sources.parquet import Parquet, ParquetPart

CONTRACT = ImageContract()


def pictures(n: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 784), dtype=np.uint8)


def raw(images: NDArray[np.uint8]) -> pa.Array:
    return pa.array([image.tobytes() for image in images], pa.binary(784))


def digits(n: int) -> pa.Table:
    return pa.table({"label": np.arange(n) % 10, "image": raw(pictures(n))})


def write(folder: Path, table: pa.Table, **options: Any) -> Path:
    path = folder / "digits.parquet"
    pq.write_table(table, path, **{"write_page_checksum": True, **options})
    return path


def read(path: Path, **options: Any) -> Records:
    """All records of a file, as one."""
    (part,) = Parquet(str(path), **options).parts()
    blocks = list(part.read(CONTRACT))
    assert all(block.images.flags.c_contiguous for block in blocks)
    assert all(len(block) <= 8192 for block in blocks)
    assert {block.source for block in blocks} == {"digits.parquet"}
    labels = [block.labels for block in blocks if block.labels is not None]
    return Records(
        np.concatenate([block.images for block in blocks]),
        np.concatenate(labels) if labels else None,
        np.concatenate([block.places for block in blocks]),
        blocks[0].source,
        tuple(reject for block in blocks for reject in block.rejects),
    )


@pytest.mark.parametrize("row_group_size", [3000, 8192, 100_000])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_what_is_written_is_read(tmp_path: Path, row_group_size: int, compression: str) -> None:
    table = digits(20_000)
    path = write(tmp_path, table, row_group_size=row_group_size, compression=compression)
    records = read(path)
    np.testing.assert_array_equal(records.images, pictures(20_000))
    np.testing.assert_array_equal(records.labels, np.arange(20_000) % 10)
    np.testing.assert_array_equal(records.places, np.arange(20_000))
    assert records.labels is not None
    assert records.labels.dtype == records.places.dtype == np.int64
    assert records.rejects == ()


def png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.reshape(28, 28)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "layout",
    ["binary", "list", "nested", "tensor", "png", "floats", "wide", "polars", "polars list"],
)
def test_layouts_on_disk(tmp_path: Path, layout: str) -> None:
    images = pictures(9)
    flat = pa.array(images.ravel())
    path = tmp_path / "digits.parquet"
    labels = pa.array(np.arange(9))
    scale = None
    if layout.startswith("polars"):
        kind = pl.List(pl.UInt8) if layout.endswith("list") else pl.Binary
        cells = images.tolist() if layout.endswith("list") else [i.tobytes() for i in images]
        frame = pl.DataFrame({"label": range(9), "image": pl.Series(cells, dtype=kind)})
        frame.write_parquet(path)
    elif layout == "wide":
        pixels = {f"pixel{k}": images[:, k] for k in range(784)}
        pq.write_table(pa.table({"label": labels, **pixels}), path)
    else:
        scale = 255.0 if layout == "floats" else None
        column = {
            "binary": lambda: raw(images).cast(pa.binary()),
            "list": lambda: pa.array(images.tolist(), pa.list_(pa.int32())),
            "nested": lambda: pa.array(images.reshape(9, 28, 28).tolist()),
            "tensor": lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(
                images.reshape(9, 28, 28)
            ),
            "png": lambda: pa.array([{"bytes": png(image), "path": None} for image in images]),
            "floats": lambda: pa.FixedSizeListArray.from_arrays(
                pa.array(flat.to_numpy() / np.float32(255)), 784
            ),
        }[layout]()
        pq.write_table(pa.table({"label": labels, "image": column}), path)
    records = read(path, scale=scale)
    np.testing.assert_array_equal(records.images, images)
    np.testing.assert_array_equal(records.labels, np.arange(9))


@pytest.mark.parametrize(
    ("column", "expected", "outside"),
    [
        (pa.array([1, None, 9], pa.int8()), [1, NO_LABEL, 9], {}),
        (pa.array([1, None, 255], pa.uint64()), [1, NO_LABEL, 255], {}),
        (pa.array([1, 10, -1], pa.int64()), [1, 10], {2: "column label is -1"}),
        (pa.array([256, 1, 2**63], pa.uint64()), [1], {0: "256", 2: f"{2**63}"}),
        (pa.array([3.0, None, 5.0]), [3, NO_LABEL, 5], {}),
        (pa.array([3.0, float("nan"), 5.0], pa.float32()), [3, NO_LABEL, 5], {}),
        (pa.array([3.5, float("inf"), 5.0]), [5], {0: "3.5", 1: "inf"}),
    ],
)
def test_labels(
    tmp_path: Path, column: pa.Array, expected: list[int], outside: dict[int, str]
) -> None:
    path = write(tmp_path, pa.table({"label": column, "image": raw(pictures(3))}))
    records = read(path)
    assert records.labels is not None
    assert records.labels.tolist() == expected
    assert [reject.place for reject in records.rejects] == list(outside)
    for reject in records.rejects:
        assert reject.reason == "label_out_of_range"
        assert outside[reject.place] in reject.detail
        assert reject.payload == pictures(3)[reject.place].tobytes()


def test_unlabelled(tmp_path: Path) -> None:
    for table in digits(4), digits(4).drop_columns("label"):
        records = read(write(tmp_path, table), labelled=False)
        assert records.labels is None
        assert len(records) == 4


def test_columns_by_other_names(tmp_path: Path) -> None:
    table = digits(4).rename_columns(["class", "picture.raw"])
    table = table.append_column("thumbnail", pa.array([b"x"] * 4))
    records = read(write(tmp_path, table), image="picture.raw", label="class")
    np.testing.assert_array_equal(records.images, pictures(4))
    assert records.labels is not None
    assert records.labels.tolist() == [0, 1, 2, 3]


def test_faulty_rows_are_rejected_with_place_and_payload(tmp_path: Path) -> None:
    images = [image.tobytes() for image in pictures(9000)]
    cells: list[bytes | None] = list(images)
    cells[0], cells[8191], cells[8192], cells[8999] = None, b"short", bytes(5000), b""
    path = write(tmp_path, pa.table({"label": np.zeros(9000, np.int8), "image": cells}))
    records = read(path)
    size = "image_wrong_size"
    assert records.rejects == (
        Reject("digits.parquet", 0, "image_missing", "column image: the image is null"),
        Reject("digits.parquet", 8191, size, "column image: 5 pixels, expected 784", b"short"),
        Reject(
            "digits.parquet", 8192, size, "column image: 5000 pixels, expected 784", bytes(4096)
        ),
        Reject("digits.parquet", 8999, size, "column image: 0 pixels, expected 784"),
    )
    assert {reject.reason for reject in records.rejects} <= set(REASONS)
    kept = np.setdiff1d(np.arange(9000), [0, 8191, 8192, 8999])
    np.testing.assert_array_equal(records.places, kept)
    np.testing.assert_array_equal(records.images, pictures(9000)[kept])


@pytest.mark.parametrize(
    ("column", "payload"),
    [
        (pa.array([[1, 2, 300]]), b"[1, 2, 300]"),
        (pa.array([[7] * 100_000]), str([7] * 4096).encode()[:4096]),
        (pa.array([[[1], None]]), b"[[1], None]"),
        (pa.array([{"bytes": b"GIF", "path": None}]), b"GIF"),
        (
            pa.array([None, {"bytes": None, "path": "x"}], pa.struct({"bytes": pa.binary()})),
            b"",
        ),
        (pa.array([None], pa.fixed_shape_tensor(pa.uint8(), [28, 28])), b""),
    ],
)
def test_payloads_of_other_layouts(tmp_path: Path, column: pa.Array, payload: bytes) -> None:
    records = read(write(tmp_path, pa.table({"image": column})), labelled=False)
    assert len(records) == 0
    assert [reject.payload for reject in records.rejects] == [payload] * len(column)


def test_payload_of_pixel_columns(tmp_path: Path) -> None:
    images = pictures(2).astype(np.int64)
    images[1, 5] = 999
    columns = {f"pixel{k}": pa.array(images[:, k]) for k in range(784)}
    columns["pixel7"] = pa.array([int(images[0, 7]), None])
    records = read(write(tmp_path, pa.table(columns)), labelled=False)
    (reject,) = records.rejects
    assert reject.place == 1
    assert reject.detail == "column pixel0: pixel 5 is 999"
    cells = [str(value) for value in images[1].tolist()]
    cells[7] = ""
    assert reject.payload == ",".join(cells).encode()[:4096]


@pytest.mark.parametrize(
    ("options", "error", "headline", "says"),
    [
        (
            {"label": "lable"},
            DataError,
            "digits.parquet has no label column 'lable'",
            "label, image",
        ),
        (
            {"label": "image"},
            DataError,
            "'image' of digits.parquet holds no numbers",
            "binary[784]",
        ),
        ({"image": "imgae"}, ConfigError, "no column 'imgae' among those of digits", "'image'"),
        ({"image": "label"}, DataError, "column 'label' of digits.parquet cannot", "int64"),
        ({"scale": 255.0}, ConfigError, "cannot be scaled by 255.0", "leave it out"),
    ],
)
def test_what_the_options_ask_for_is_not_there(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], headline: str, says: str
) -> None:
    path = write(tmp_path, digits(3))
    with pytest.raises(error, match=headline) as caught:
        read(path, **options)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


GOOD = io.BytesIO()
pq.write_table(
    digits(40), GOOD, compression="none", write_page_checksum=True, write_statistics=False
)


@pytest.mark.parametrize(
    ("content", "headline"),
    [
        (b"", "digits.parquet is damaged or is not a Parquet file"),
        (b"PAR1", "digits.parquet is damaged or is not a Parquet file"),
        (b"label,pixel0\n1,2\n" * 9, "digits.parquet is damaged or is not a Parquet file"),
        (GOOD.getvalue()[:-1], "digits.parquet is damaged or is not a Parquet file"),
        (GOOD.getvalue()[:5000], "digits.parquet is damaged or is not a Parquet file"),
    ],
)
def test_what_is_no_parquet_file_is_named(tmp_path: Path, content: bytes, headline: str) -> None:
    path = tmp_path / "digits.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=headline) as caught:
        read(path)
    assert caught.value.facts["file"] == str(path)
    assert caught.value.remedy


def test_memory_is_that_of_a_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_pipeline.sources.parquet.BLOCK_ROWS", 64)
    monkeypatch.setattr("mnist_pipeline.data.parquet.ROW_GROUP", 64)
    path = write(tmp_path, digits(200 * 32), row_group_size=32, compression="zstd")
    (part,) = Parquet(str(path)).parts()
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for block in part.read(CONTRACT):
        most = max(most, pa.total_allocated_bytes() - before)
        rows += len(block)
        assert len(block) == 64
    assert rows == 200 * 32
    assert most < 1 << 20  # all row groups are 5 MB


def test_a_file_without_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"digits\.parquet has no rows"):
        read(write(tmp_path, digits(0)))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(where=st.floats(0, 1), footer=st.booleans(), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, where: float, footer: bool, bit: int, cut: bool
) -> None:
    """No flipped bit reads as other pixels: pages are uncompressed here, and have checksums."""
    content = bytearray(GOOD.getvalue())
    at = int(where * (len(content) - 1))
    if footer:
        at = len(content) - 1 - int(where * 600)
    content[at] ^= 1 << bit
    path = tmp_path_factory.mktemp("damage") / "digits.parquet"
    path.write_bytes(content[:at] if cut else content)
    try:
        records = read(path)
    except (DataError, ConfigError):
        return
    np.testing.assert_array_equal(records.images, pictures(40))


def test_files_folders_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "day=1").mkdir()
    for name in "b.parquet", "a.parquet", "_SUCCESS", ".hidden.parquet", "day=1/c.parquet":
        (tmp_path / name).touch()

    def found(pattern: str) -> list[str]:
        return [part.name for part in Parquet(str(tmp_path / pattern)).parts()]

    assert found("") == ["a.parquet", "b.parquet"]
    assert found("**/*.parquet") == ["a.parquet", "b.parquet", "c.parquet"]
    assert found("b.parquet") == ["b.parquet"]
    for nothing in "none.parquet", "*.csv":
        with pytest.raises(DataError):
            found(nothing)


def test_options_reach_the_parts(tmp_path: Path) -> None:
    path = write(tmp_path, digits(2))
    options = {"path": str(path), "image": "image", "scale": 255, "labelled": "false"}
    (part,) = build("source", "parquet", options).parts()
    assert part == ParquetPart(path, image="image", label=None, scale=255.0, role="train")
    assert part.paths == (path,)
    assert part.identity() == part.identity()


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    part = ParquetPart(tmp_path / "gone.parquet")
    for act in part.identity, lambda: list(part.read(CONTRACT)):
        with pytest.raises(DataError, match=r"gone\.parquet does not exist"):
            act()
