"""Every layout decodes to the same pixels, and no faulty row passes for an image."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mnist_pipeline.contract.records import REASONS
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.layouts import Decoded, find_image_column, images_of
from mnist_pipeline.data.shapes import shape_of_value
from mnist_pipeline.errors import ConfigError, DataError

CONTRACT = ImageContract()
Images = NDArray[np.uint8]


def pictures(n: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (n, 784), dtype=np.uint8)


def png(image: Images, mode: str = "L", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.reshape(28, 28)).convert(mode).save(file, "PNG", **options)
    return file.getvalue()


def numbers(kind: pa.DataType) -> Callable[[Images, pa.Array], pa.Array]:
    """A list layout with `kind` at the bottom, built from the pixels of the rows that are there."""

    def build(images: Images, missing: NDArray[np.bool_]) -> pa.Array:
        nested = hasattr(kind.value_type, "value_type")
        leaf = kind.value_type.value_type if nested else kind.value_type
        values = images.astype(leaf.to_pandas_dtype())
        if pa.types.is_floating(leaf):
            values = (images / 255).astype(leaf.to_pandas_dtype())
        rows = [row.reshape(28, 28) if nested else row for row in values]
        cells = [None if gone else row.tolist() for row, gone in zip(rows, missing, strict=True)]
        return pa.array(cells, kind)

    return build


def raw(kind: pa.DataType) -> Callable[[Images, NDArray[np.bool_]], pa.Array]:
    def build(images: Images, missing: NDArray[np.bool_]) -> pa.Array:
        return pa.array(
            [None if m else i.tobytes() for i, m in zip(images, missing, strict=True)], kind
        )

    return build


def tensor(*shape: int) -> Callable[[Images, NDArray[np.bool_]], pa.Array]:
    def build(images: Images, missing: NDArray[np.bool_]) -> pa.Array:
        storage = numbers(pa.list_(pa.uint8(), 784))(images, missing)
        return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.uint8(), shape), storage)

    return build


def hugging_face(images: Images, missing: NDArray[np.bool_]) -> pa.Array:
    cells = [
        None if m else {"bytes": png(i), "path": "x"} for i, m in zip(images, missing, strict=True)
    ]
    return pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


LAYOUTS: dict[str, Callable[[Images, NDArray[np.bool_]], pa.Array]] = {
    "fixed_size_binary": raw(pa.binary(784)),
    "binary": raw(pa.binary()),
    "large_binary": raw(pa.large_binary()),
    "binary_view": raw(pa.binary_view()),
    "fixed_size_list": numbers(pa.list_(pa.uint8(), 784)),
    "list": numbers(pa.list_(pa.uint8())),
    "large_list": numbers(pa.large_list(pa.uint8())),
    "list int16": numbers(pa.list_(pa.int16())),
    "list int64": numbers(pa.list_(pa.int64())),
    "list uint64": numbers(pa.list_(pa.uint64())),
    "list float32": numbers(pa.list_(pa.float32())),
    "list float16": numbers(pa.list_(pa.float16())),
    "fixed_size_list float64": numbers(pa.list_(pa.float64(), 784)),
    "nested": numbers(pa.list_(pa.list_(pa.uint8()))),
    "nested int32": numbers(pa.large_list(pa.list_(pa.int32()))),
    "nested fixed": numbers(pa.list_(pa.list_(pa.uint8(), 28), 28)),
    "nested mixed": numbers(pa.list_(pa.list_(pa.uint8()), 28)),
    "tensor": tensor(28, 28),
    "flat tensor": tensor(784),
    "tensor with a channel": tensor(1, 28, 28),
    "png": hugging_face,
}


def scale_of(layout: str) -> float | None:
    return 255 if "float" in layout else None


def check(found: Decoded, images: Images, missing: NDArray[np.bool_]) -> None:
    assert found.images.shape == (len(images), 784)
    assert found.images.dtype == np.uint8
    assert found.images.flags.c_contiguous
    np.testing.assert_array_equal(found.faulty, missing)
    np.testing.assert_array_equal(found.images, np.where(missing[:, None], 0, images))
    assert found.reasons == ["image_missing"] * int(missing.sum())
    assert len(found.details) == len(found.reasons)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(missing=st.lists(st.booleans(), max_size=7), cuts=st.tuples(*[st.integers(0, 7)] * 4))
def test_every_layout_gives_the_same_pixels(
    layout: str, missing: list[bool], cuts: tuple[int, int, int, int]
) -> None:
    gone = np.array(missing, dtype=bool)
    images = pictures(len(missing), seed=len(missing))
    column = LAYOUTS[layout](images, gone)
    scale = scale_of(layout)
    check(images_of(column, CONTRACT, scale=scale), images, gone)
    begin, length, first, second = cuts
    part = slice(begin, begin + length)
    check(images_of(column.slice(begin, length), CONTRACT, scale=scale), images[part], gone[part])
    chunks = [column.slice(0, first), column.slice(first, second), column.slice(first + second)]
    chunked = pa.chunked_array(chunks, column.type)
    check(images_of(chunked, CONTRACT, scale=scale), images, gone)
    slices = chunked.slice(begin, length)
    check(images_of(slices, CONTRACT, scale=scale), images[part], gone[part])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_rows(layout: str) -> None:
    none = LAYOUTS[layout](pictures(0), np.zeros(0, bool))
    for column in none, pa.chunked_array([], none.type), pa.nulls(0, none.type):
        check(images_of(column, CONTRACT, scale=scale_of(layout)), pictures(0), np.zeros(0, bool))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_but_nulls(layout: str) -> None:
    kind = LAYOUTS[layout](pictures(0), np.zeros(0, bool)).type
    column = pa.nulls(3, kind)
    check(images_of(column, CONTRACT, scale=scale_of(layout)), pictures(3), np.ones(3, bool))
    check(images_of(pa.nulls(3), CONTRACT), pictures(3), np.ones(3, bool))


@pytest.mark.parametrize(
    "layout",
    [
        *["fixed_size_binary", "binary", "large_binary", "fixed_size_list", "list", "large_list"],
        *["nested", "nested fixed", "nested mixed", "tensor"],
    ],
)
def test_bytes_are_not_copied(layout: str) -> None:
    column = LAYOUTS[layout](pictures(5), np.zeros(5, bool)).slice(1, 3)
    images = images_of(column, CONTRACT).images
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    memory = np.frombuffer(storage.buffers()[-1], np.uint8)
    assert np.shares_memory(images, memory)


def one_fault(found: Decoded, row: int) -> tuple[str, str]:
    """The reason and detail of the only faulty row, which has no pixels left."""
    ((at, reason, detail),) = found.faults()
    assert at == row
    assert reason in REASONS
    assert not found.images[row].any()
    return reason, detail


def good(layout: str, bad: Any, at: int = 1) -> tuple[pa.Array, Images]:
    """Three images of a layout, one of which is replaced by `bad`."""
    images = pictures(3)
    column = LAYOUTS[layout](images, np.zeros(3, bool))
    cells = (column.storage if isinstance(column, pa.ExtensionArray) else column).to_pylist()
    cells[at] = bad
    return pa.array(cells, column.type), images


ZEROS = [0] * 784
GRID = [[0] * 28] * 28


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize(
    ("layout", "bad", "fault"),
    [
        ("binary", bytes(783), ("image_wrong_size", "783 pixels, expected 784")),
        ("binary", bytes(785), ("image_wrong_size", "785 pixels, expected 784")),
        ("large_binary", b"", ("image_wrong_size", "0 pixels, expected 784")),
        ("list", [1], ("image_wrong_size", "1 pixels, expected 784")),
        ("list int64", ZEROS * 2, ("image_wrong_size", "1568 pixels, expected 784")),
        ("nested", GRID[1:], ("image_wrong_size", "not 28 lists of 28 pixels, expected 784")),
        (
            "nested",
            [[0] * 27, [0] * 29, *GRID[2:]],
            ("image_wrong_size", "not 28 lists of 28 pixels, expected 784"),
        ),
        (
            "nested int32",
            [None, *GRID[1:]],
            ("image_wrong_size", "not 28 lists of 28 pixels, expected 784"),
        ),
        ("list", [*ZEROS[1:], None], ("pixel_not_a_number", "pixel 783 is null")),
        ("fixed_size_list", [None, *ZEROS[1:]], ("pixel_not_a_number", "pixel 0 is null")),
        ("nested", [[7, None, *[0] * 26], *GRID[1:]], ("pixel_not_a_number", "pixel 1 is null")),
        ("list int16", [5, -1, 300, *ZEROS[3:]], ("pixel_out_of_range", "pixel 1 is -1")),
        ("list int64", [256, *ZEROS[1:]], ("pixel_out_of_range", "pixel 0 is 256")),
        ("list int64", [None, 999, *ZEROS[2:]], ("pixel_not_a_number", "pixel 0 is null")),
        ("list uint64", [2**64 - 1, *ZEROS[1:]], ("pixel_out_of_range", f"pixel 0 is {2**64 - 1}")),
        ("list float32", [np.nan, *ZEROS[1:]], ("pixel_not_a_number", "pixel 0 is nan")),
        ("list float32", [0, np.inf, *ZEROS[2:]], ("pixel_out_of_range", "pixel 1 is inf")),
        ("list float32", [0, -np.inf, *ZEROS[2:]], ("pixel_out_of_range", "pixel 1 is -inf")),
        ("list float32", [0.5, *ZEROS[1:]], ("pixel_not_a_number", "pixel 0 is 0.5")),
        ("list float32", [1.5, *ZEROS[1:]], ("pixel_out_of_range", "pixel 0 is 1.5")),
        ("list float32", [-0.0039215687, *ZEROS[1:]], ("pixel_out_of_range", "pixel 0 is -0.0039")),
        ("list float16", [60000, *ZEROS[1:]], ("pixel_out_of_range", "pixel 0 is 60000.0")),
        ("fixed_size_list float64", [None, *ZEROS[1:]], ("pixel_not_a_number", "pixel 0 is null")),
    ],
)
def test_one_bad_image_spoils_no_other(
    layout: str, bad: Any, fault: tuple[str, str], at: int
) -> None:
    column, images = good(layout, bad, at)
    found = images_of(column, CONTRACT, scale=scale_of(layout))
    reason, detail = one_fault(found, at)
    assert reason == fault[0]
    assert detail.startswith(fault[1])
    others = np.arange(3) != at
    np.testing.assert_array_equal(found.images[others], images[others])


def test_a_null_that_covers_values_is_still_null() -> None:
    """Arrow allows any bytes under a null; they must never be scored."""
    values = pa.array(pictures(3).ravel())
    mask = pa.array([False, True, False])
    offsets = pa.array([0, 784, 1568, 2352], pa.int32())
    for column in (
        pa.FixedSizeListArray.from_arrays(values, 784, mask=mask),
        pa.ListArray.from_arrays(offsets, values, mask=mask),
        pa.Array.from_buffers(
            pa.binary(784), 3, [pa.py_buffer(b"\x05"), pa.py_buffer(pictures(3).tobytes())]
        ),
    ):
        assert one_fault(images_of(column, CONTRACT), 1)[0] == "image_missing"


def test_lists_over_a_slice_of_values() -> None:
    images = pictures(4)
    column = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()).slice(784), 784)
    np.testing.assert_array_equal(images_of(column.slice(1), CONTRACT).images, images[2:])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 255.0, 127.5])
def test_every_level_survives_floats(dtype: type[np.floating[Any]], scale: float) -> None:
    levels = np.resize(np.arange(256, dtype=np.uint8), 784)
    cells = (levels / scale).astype(dtype)
    column = pa.FixedSizeListArray.from_arrays(pa.array(cells), 784)
    found = images_of(column, CONTRACT, scale=scale)
    assert not found.faulty.any()
    np.testing.assert_array_equal(found.images[0], levels)


@pytest.mark.parametrize(
    ("layout", "scale", "headline"),
    [
        ("list float32", None, "no scale turns them into 0 to 255"),
        ("list float32", 0.0, "cannot be scaled by 0.0"),
        ("list float32", -255.0, "cannot be scaled by -255.0"),
        ("list float32", np.nan, "cannot be scaled by nan"),
        ("list float32", np.inf, "cannot be scaled by inf"),
        ("list", 255.0, "cannot be scaled by 255.0"),
        ("binary", 255.0, "cannot be scaled by 255.0"),
        ("png", 255.0, "cannot be scaled by 255.0"),
    ],
)
def test_a_scale_is_for_floats(layout: str, scale: float | None, headline: str) -> None:
    column = LAYOUTS[layout](pictures(1), np.zeros(1, bool))
    with pytest.raises(ConfigError, match=headline) as caught:
        images_of(column, CONTRACT, scale=scale)
    assert caught.value.remedy


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    )


def colourful() -> bytes:
    file = io.BytesIO()
    Image.fromarray(pictures(3).reshape(28, 28, 3)).save(file, "PNG")
    return file.getvalue()


def deep() -> bytes:
    file = io.BytesIO()
    Image.fromarray(pictures(1).reshape(28, 28).astype(np.uint16) * 257).save(file, "PNG")
    return file.getvalue()


def transparent() -> bytes:
    image = Image.fromarray(pictures(1).reshape(28, 28))
    image.putalpha(128)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


PNG = png(pictures(1))


@pytest.mark.parametrize(
    ("blob", "reason", "detail"),
    [
        (None, "image_missing", "the picture has no bytes"),
        (b"", "undecodable_image", "the bytes are no PNG"),
        (b"GIF89a" + bytes(100), "undecodable_image", "the bytes are no PNG"),
        (PNG[:20], "undecodable_image", "the bytes are no PNG"),
        (PNG[:-30], "undecodable_image", "the picture is cut short"),
        (PNG[:60] + b"\xff" + PNG[61:], "undecodable_image", ""),
        (png_header(28, 28) + b"junk" * 9, "undecodable_image", ""),
        (png_header(28, 30), "image_wrong_size", "30 × 28 pixels"),
        (png_header(2**31 - 1, 2**31 - 1), "image_wrong_size", "2147483647 × 2147483647 pixels"),
        (colourful(), "undecodable_image", "not 8 bits of grey"),
        (transparent(), "undecodable_image", "not 8 bits of grey"),
        (deep(), "undecodable_image", ""),
    ],
)
def test_pictures_that_are_none(blob: bytes | None, reason: str, detail: str) -> None:
    column, images = good("png", {"bytes": blob, "path": "7.png"})
    found = images_of(column, CONTRACT)
    fault = one_fault(found, 1)
    assert fault[0] == reason
    assert fault[1].startswith(detail)
    assert "0x" not in fault[1]
    np.testing.assert_array_equal(found.images[[0, 2]], images[[0, 2]])


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "LA"])
def test_grey_pictures_of_every_kind(mode: str) -> None:
    image = pictures(1)
    column = pa.array([{"path": None, "bytes": png(image, mode)}])
    np.testing.assert_array_equal(images_of(column, CONTRACT).images, image)


def test_black_and_white_pictures() -> None:
    image = (pictures(1) > 127) * np.uint8(255)
    column = pa.array([{"bytes": png(image, "1")}])
    np.testing.assert_array_equal(images_of(column, CONTRACT).images, image)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(at=st.integers(0, len(PNG) - 1), value=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_picture_never_passes_for_another(at: int, value: int, cut: bool) -> None:
    blob = PNG[:at] if cut else PNG[:at] + bytes([PNG[at] ^ value]) + PNG[at + 1 :]
    found = images_of(pa.array([{"bytes": blob}]), CONTRACT)
    assert found.faulty[0] or (found.images == pictures(1)).all()


def wide(images: Images, dtype: Any = np.int64) -> pa.Table:
    columns = {f"pixel{k}": images[:, k].astype(dtype) for k in range(784)}
    names = np.random.default_rng(0).permutation(list(columns)).tolist()
    return pa.table({"row": np.arange(len(images)), **{name: columns[name] for name in names}})


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64, np.float32])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_one_column_a_pixel(dtype: Any, n: int) -> None:
    images = pictures(n)
    table = wide(images, dtype)
    columns = find_image_column(table.schema, CONTRACT)
    assert columns == find_image_column(table.schema, CONTRACT, "pixel0")
    scale = 1 if dtype is np.float32 else None
    check(columns.decode(table, CONTRACT, scale), images, np.zeros(n, bool))
    halves = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    check(columns.decode(halves, CONTRACT, scale), images, np.zeros(n, bool))
    for batch in table.slice(1, 2).to_batches():
        check(columns.decode(batch, CONTRACT, scale), images[1:3], np.zeros(len(batch), bool))


def test_faults_of_pixel_columns() -> None:
    images = pictures(4)
    table = wide(images, np.int16)
    cells = {name: table[name].to_pylist() for name in table.column_names}
    for name in cells:
        cells[name][0] = None
    cells["pixel9"][1] = 256
    cells["pixel700"][2] = None
    table = pa.table({name: pa.array(column, pa.int64()) for name, column in cells.items()})
    found = find_image_column(table.schema, CONTRACT, "pixel0").decode(table, CONTRACT)
    assert list(found.faults()) == [
        (0, "image_missing", "every pixel is null"),
        (1, "pixel_out_of_range", "pixel 9 is 256"),
        (2, "pixel_not_a_number", "pixel 700 is null"),
    ]
    np.testing.assert_array_equal(found.images, [[0] * 784] * 3 + [images[3]])


def test_pixel_columns_of_several_types() -> None:
    images = pictures(2)
    table = wide(images)
    for index, kind in (1, pa.uint64()), (2, pa.int8()), (3, pa.uint8()):
        name = table.column_names[index]
        small = pa.array(np.minimum(images[:, int(name[5:])], 100), kind)
        images[:, int(name[5:])] = small.to_numpy()
        table = table.set_column(index, name, small)
    found = find_image_column(table.schema, CONTRACT).decode(table, CONTRACT)
    check(found, images, np.zeros(2, bool))


SCHEMA = pa.schema(
    {
        "row_id": pa.int64(),
        "label": pa.uint8(),
        "image": pa.binary(784),
        "digest": pa.binary(16),
        "source": pa.string(),
        "place": pa.int64(),
    }
)


def test_the_only_column_that_fits_is_found() -> None:
    assert find_image_column(SCHEMA, CONTRACT).names == ("image",)
    assert find_image_column(SCHEMA, CONTRACT, "image").names == ("image",)
    nothing = SCHEMA.append(pa.field("empty", pa.null()))
    assert find_image_column(nothing, CONTRACT).names == ("image",)
    assert find_image_column(nothing, CONTRACT, "empty").names == ("empty",)


@pytest.mark.parametrize(
    ("fields", "name", "error", "headline", "says"),
    [
        ({"a": pa.binary()}, "b", ConfigError, "no column 'b' among those of x.parquet", "'a'"),
        ({"a": pa.binary(), "b": pa.binary()}, None, ConfigError, "2 columns of x.parquet", "a, b"),
        ({"a": pa.int64()}, "a", DataError, "column 'a' of x.parquet cannot", "a: int64"),
        ({"a": pa.int64()}, None, DataError, "no column of x.parquet", "a: int64 (not an image)"),
        ({}, None, DataError, "no column of x.parquet", "28 × 28"),
        ({"a": pa.null()}, None, DataError, "no column of x.parquet", "a: null (nulls)"),
        ({"a": pa.binary(100)}, None, DataError, "no column", "a: fixed_size_binary[100]"),
        (
            {"a": pa.list_(pa.uint8(), 100)},
            None,
            DataError,
            "no column",
            "pixels 100, expected 784",
        ),
        ({"a": pa.list_(pa.string())}, None, DataError, "no column", "lists of string"),
        ({"a": pa.list_(pa.bool_())}, None, DataError, "no column", "lists of bool"),
        ({"a": pa.list_(pa.list_(pa.list_(pa.uint8())))}, None, DataError, "no column", "lists of"),
        (
            {"a": pa.list_(pa.list_(pa.uint8(), 27), 28)},
            None,
            DataError,
            "no column",
            "width 27, expected 28",
        ),
        (
            {"a": pa.struct({"path": pa.string()})},
            None,
            DataError,
            "no column",
            "without PNG bytes",
        ),
        ({"a": pa.struct({"bytes": pa.string()})}, None, DataError, "no column", "without PNG"),
        (
            {"a": pa.fixed_shape_tensor(pa.uint8(), [14, 56])},
            None,
            DataError,
            "no",
            "height 14, expected 28, width 56, expected 28",
        ),
        (
            {"a": pa.fixed_shape_tensor(pa.uint8(), [28, 28], permutation=[1, 0])},
            None,
            DataError,
            "no column",
            "another order",
        ),
        (
            {f"pixel{k}": pa.int64() for k in range(783)},
            None,
            DataError,
            "no column",
            "pixels 783, expected 784",
        ),
        (
            {f"pixel{k}": pa.string() for k in range(784)},
            None,
            DataError,
            "no column",
            "pixel0: 784 columns up to pixel783 (dtype string, expected uint8)",
        ),
        ({f"n{k}": pa.int64() for k in range(784)}, None, DataError, "no column", "776 more"),
    ],
)
def test_what_does_not_fit_is_explained(
    fields: dict[str, pa.DataType],
    name: str | None,
    error: type[ConfigError | DataError],
    headline: str,
    says: str,
) -> None:
    with pytest.raises(error, match=headline) as caught:
        find_image_column(pa.schema(fields), CONTRACT, name, file=Path("data/x.parquet"))
    assert says in str(caught.value)
    assert caught.value.facts["file"] == "data/x.parquet"
    assert caught.value.remedy
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        (range(1024), "pixels 1024, expected 784, last pixel1023, expected pixel783"),
        (range(1, 785), "first pixel1, expected pixel0, last pixel784, expected pixel783"),
        ([*range(5), *range(6, 785)], "(last pixel784, expected pixel783)"),
        ([0], "(pixels 1, expected 784, last pixel0, expected pixel783)"),
    ],
)
def test_other_pixel_columns_are_not_taken_for_images(numbers: Any, says: str) -> None:
    """1,024 columns hold the first 784 too, and are images of another shape."""
    schema = pa.schema([("id", pa.int64()), *((f"pixel{k}", pa.uint8()) for k in numbers)])
    for name in (None, f"pixel{numbers[0]}"):
        with pytest.raises(DataError, match="hold images") as caught:
            find_image_column(schema, CONTRACT, name)
        assert says in caught.value.facts["found"][-1]
    both = schema.append(pa.field("image", pa.binary()))
    assert find_image_column(both, CONTRACT).names == ("image",)


@pytest.mark.parametrize(
    ("value", "kind", "shape"),
    [
        (b"abc", pa.binary(), {"pixels": 3}),
        (b"abc", pa.binary_view(), {"pixels": 3}),
        ([1, 2], pa.list_(pa.uint8()), {"pixels": 2}),
        ([1.0, 2.0], pa.large_list(pa.float32()), {"pixels": 2}),
        ([[1, 2], [3, 4], [5, 6]], pa.list_(pa.list_(pa.uint8())), {"height": 3, "width": 2}),
        ([[1, 2], None], pa.list_(pa.list_(pa.uint8())), {"height": 2, "width": "0 and 2"}),
        ([], pa.list_(pa.list_(pa.uint8())), {"height": 0, "width": 0}),
        ({"bytes": b"", "path": ""}, None, {"height": 0, "width": 0, "pixels": 0}),
    ],
)
def test_the_shape_of_a_value(value: Any, kind: Any, shape: dict[str, Any]) -> None:
    assert shape_of_value(pa.scalar(value, kind)) == shape


def test_the_shape_of_a_picture() -> None:
    file = io.BytesIO()
    Image.new("L", (20, 30)).save(file, "PNG")
    value = pa.scalar({"bytes": file.getvalue()})
    assert shape_of_value(value) == {"height": 30, "width": 20, "pixels": 600}


def test_two_columns_of_one_name() -> None:
    schema = pa.schema([("image", pa.binary()), ("image", pa.binary())])
    with pytest.raises(DataError, match="two columns have one name"):
        find_image_column(schema, CONTRACT)


def test_a_column_that_cannot_hold_images() -> None:
    with pytest.raises(DataError, match="int64 cannot hold images"):
        images_of(pa.array([1, 2]), CONTRACT)


def test_another_contract() -> None:
    contract = ImageContract(height=2, width=3)
    for column in pa.array([b"abcdef"]), pa.array([[[97, 98, 99], [100, 101, 102]]]):
        assert images_of(column, contract).images.tobytes() == b"abcdef"
    upright = pa.array([[[97, 98], [99, 100], [101, 102]]])
    assert images_of(upright, contract).reasons == ["image_wrong_size"]
