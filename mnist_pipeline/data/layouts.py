"""Image columns of every layout in use, decoded to one: (N, pixels) uint8, row-major.

    fixed_size_binary, binary       the raw pixels (without a copy where rows lie back to back)
    list, fixed_size_list           one number a pixel (uint8: likewise without a copy)
    list of lists                   `height` lists of `width` numbers
    fixed-shape tensor              height × width
    struct<bytes, path>             a PNG, as Hugging Face's data sets store it
    pixel0, pixel1, …               one column of numbers a pixel

Numbers are integers from 0 to 255. Floats need a scale: a pixel is value · scale, which must come
within 0.001 of such an integer (float16: within 255 ε ≈ 0.25, all that this type resolves).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.png import Fault, read_png
from mnist_pipeline.data.shapes import pixel_columns, shape_of_columns, shape_of_type, told
from mnist_pipeline.errors import ConfigError, DataError, did_you_mean, shortened

Faults = dict[int, Fault]  # by row


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Images, and what was wrong with the rows that have none.

    Attributes:
        images: (N, pixels) uint8, zeros where the row is faulty; may be a read-only view.
        faulty: (N,) bool.
        reasons: for each faulty row, in their order, one of `REASONS`.
        details: for each faulty row what exactly, for a person.
    """

    images: NDArray[np.uint8]
    faulty: NDArray[np.bool_]
    reasons: list[str]
    details: list[str]

    def faults(self) -> Iterator[tuple[int, str, str]]:
        """(row, reason, detail) of every faulty row."""
        rows = np.flatnonzero(self.faulty).tolist()
        return zip(rows, self.reasons, self.details, strict=True)


@dataclasses.dataclass(frozen=True)
class ImageColumns:
    """The columns that hold the images: one, or one a pixel."""

    names: tuple[str, ...]

    def decode(
        self, rows: pa.RecordBatch | pa.Table, contract: ImageContract, scale: float | None = None
    ) -> Decoded:
        """The images of a batch or table; see `images_of`."""
        columns = [rows.column(name) for name in self.names]
        if len(columns) == 1:
            return images_of(columns[0], contract, scale=scale)
        _check_scale(any(pa.types.is_floating(column.type) for column in columns), scale)
        numbers = [_numbers(column) for column in columns]
        values = np.stack([values for values, _ in numbers], axis=1)
        nulls = np.stack([nulls for _, nulls in numbers], axis=1)
        missing = np.flatnonzero(nulls.all(axis=1)).tolist()
        faults = dict.fromkeys(missing, ("image_missing", "every pixel is null"))
        return _finish(_levels(values, nulls, scale, faults), faults)


def find_image_column(
    schema: pa.Schema, contract: ImageContract, name: str | None = None, *, file: Path | None = None
) -> ImageColumns:
    """The column called `name`, or the only one that can hold the contract's images.

    `pixel0` stands for the whole set `pixel0`, `pixel1`, …; `file` is for the errors.

    Raises:
        ConfigError: there is no column of that name, or several would do.
        DataError: the named column, or every column, is of a type that cannot hold the images.
    """
    of, path = (f" of {file.name}", str(file)) if file else ("", None)
    elements = {field.name: _element(field.type, contract) for field in schema}
    if len(elements) < len(schema):
        raise DataError(f"two columns{of} have one name", file=path, remedy="rename one of them")
    problems = {key: found if isinstance(found, str) else None for key, found in elements.items()}
    kinds = {field.name: str(field.type) for field in schema}
    pixels = pixel_columns(schema) if problems.get("pixel0", "") is not None else []
    if pixels:  # one entry for all of them, under the name of the first
        wrong = contract.differences(shape_of_columns(pixels, schema))
        if all(_is_number(schema.field(pixel).type) for pixel in pixels):
            wrong.pop("dtype", None)
        problems[pixels[0]] = told(wrong) or None
        kinds[pixels[0]] = f"{len(pixels):,} columns up to {pixels[-1]}"
    if name is not None and name not in elements:
        headline = f"there is no column {name!r} among those{of}"
        raise ConfigError(headline, file=path, remedy=did_you_mean(name, map(shortened, elements)))
    others = (key for key in problems if key not in pixels[1:])
    asked = [name] if name else [key for key in others if schema.field(key).type != pa.null()]
    fits = [key for key in asked if problems[key] is None]
    if len(fits) == 1:
        return ImageColumns(tuple(pixels) if fits[0] in pixels else (fits[0],))
    if fits:
        raise ConfigError(
            f"{len(fits)} columns{of} could be the image",
            file=path,
            columns=shortened(", ".join(fits), 200),
            remedy="name one of them: image=NAME in a source, --image-column NAME when scoring",
        )
    first = (asked or list(problems))[:8]  # all of them nulls, perhaps
    shown = [shortened(f"{key}: {kinds[key]} ({problems[key] or 'nulls'})", 200) for key in first]
    shown += [f"and {len(asked) - 8} more"] if len(asked) > 8 else []
    raise DataError(
        f"column {name!r}{of} cannot hold images" if name else f"no column{of} can hold images",
        file=path,
        expected=f"{contract.height} × {contract.width} = {contract.pixels} pixels of uint8: "
        "bytes, list, tensor, PNG, pixel0…",
        found=shown,
        remedy="name another column, or write the images in one of these layouts",
    )


def images_of(
    column: pa.Array | pa.ChunkedArray, contract: ImageContract, *, scale: float | None = None
) -> Decoded:
    """Decode a column of images; a row that cannot be decoded gets a reason, not an exception.

    Raises:
        DataError: the column's type cannot hold the contract's images.
        ConfigError: floats without a scale, or a scale for anything else.
    """
    element = _element(column.type, contract)
    if isinstance(element, str):
        headline = f"{shortened(column.type)} cannot hold images: {shortened(element)}"
        remedy = "name another column, or write the images in another layout"
        raise DataError(headline, remedy=remedy)
    _check_scale(pa.types.is_floating(element), scale)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts, faults, rows = [np.zeros((0, contract.pixels), dtype=np.uint8)], Faults(), 0
    for chunk in chunks:
        images, found = _decode(chunk, contract, scale)
        faults |= {rows + row: fault for row, fault in found.items()}
        parts, rows = [*parts, images], rows + len(chunk)
    return _finish(parts[1] if len(parts) == 2 else np.concatenate(parts), faults)


def _is_list(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _element(kind: pa.DataType, contract: ImageContract) -> pa.DataType | str:
    """What a pixel is in a column of this type; a text if it cannot hold the contract's images."""
    shape = (contract.height, contract.width)
    raw = (pa.null(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(contract.pixels))
    if isinstance(kind, pa.FixedShapeTensorType):
        sizes = tuple(size for size in kind.shape if size != 1)
        in_order = kind.permutation in (None, list(range(len(kind.shape))))
        if not in_order:
            return "a tensor in another order"
        if sizes not in (shape, (contract.pixels,)):
            return _misfit(kind, contract)
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if isinstance(kind, pa.StructType):
        fits = kind.get_field_index("bytes") >= 0 and kind.field("bytes").type in raw[1:4]
        return pa.uint8() if fits else "a struct without PNG bytes"
    if not _is_list(kind):
        return pa.uint8() if kind in raw else _misfit(kind, contract)
    whole = kind
    for size in shape if _is_list(kind.value_type) else (contract.pixels,):
        if isinstance(kind, pa.FixedSizeListType) and kind.list_size != size:
            return _misfit(whole, contract)
        kind = kind.value_type
    return kind if _is_number(kind) else f"lists of {kind}"


def _misfit(kind: pa.DataType, contract: ImageContract) -> str:
    return told(contract.differences(shape_of_type(kind))) or "not an image"


def _check_scale(floats: bool, scale: float | None) -> None:
    if floats and scale is None:
        raise ConfigError(
            "the pixels are floats, and no scale turns them into 0 to 255",
            remedy="set the scale (scale=…, --scale): 255 if 1.0 is full ink, 1 if 255.0 is",
        )
    if scale is not None and not (floats and 0 < scale < np.inf):
        raise ConfigError(
            f"the pixels cannot be scaled by {scale}",
            remedy="give a positive scale" if floats else "only floats need a scale: leave it out",
        )


def _finish(images: NDArray[np.uint8], faults: Faults) -> Decoded:
    rows = sorted(faults)
    faulty = np.isin(np.arange(len(images)), rows)
    return Decoded(images, faulty, [faults[r][0] for r in rows], [faults[r][1] for r in rows])


def _decode(
    array: pa.Array, contract: ImageContract, scale: float | None
) -> tuple[NDArray[np.uint8], Faults]:
    array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
    if array.type in (pa.null(), pa.binary_view()):
        array = array.cast(pa.large_binary())
    present = array.is_valid().to_numpy(zero_copy_only=False)
    missing = np.flatnonzero(~present).tolist()
    faults = dict.fromkeys(missing, ("image_missing", "the image is null"))
    if isinstance(array.type, pa.StructType):
        images = np.zeros((len(array), contract.pixels), dtype=np.uint8)
        blobs = array.field("bytes")
        for row in np.flatnonzero(present).tolist():
            picture = read_png(blobs[row].as_py(), contract)
            if isinstance(picture, tuple):
                faults[row] = picture
            else:
                images[row] = picture
        return images, faults
    nested = _is_list(array.type) and _is_list(array.type.value_type)
    dims = (contract.height, contract.width) if nested else (contract.pixels,)
    child, starts, lengths, fits = _flatten(array, dims)
    for row in np.flatnonzero(present & ~fits).tolist():
        found = f"not {contract.height} lists of {contract.width}" if nested else f"{lengths[row]}"
        faults[row] = ("image_wrong_size", f"{found} pixels, expected {contract.pixels}")
    values, nulls = _numbers(child)
    images = _gather(values, starts, present & fits, contract.pixels)
    if child.null_count or values.dtype != np.uint8:
        nulls = _gather(nulls, starts, present & fits, contract.pixels)
        images = _levels(images, nulls, scale, faults)
    return images, faults


def _flatten(
    array: pa.Array, dims: tuple[int, ...]
) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """What lies under an array of (nested) lists or bytes: the elements, where each row starts
    among them, its length, and whether it has the size `dims` without nulls between the levels.
    """
    n, kind, buffers = len(array), array.type, array.buffers()
    offsets = np.zeros(n + 1, dtype=np.int64)
    if isinstance(kind, pa.FixedSizeListType | pa.FixedSizeBinaryType):
        size = kind.list_size if _is_list(kind) else kind.byte_width
        offsets = (array.offset + np.arange(n + 1, dtype=np.int64)) * size
    elif n:
        is_large = isinstance(kind, pa.LargeListType) or kind == pa.large_binary()
        offsets = np.frombuffer(buffers[1], dtype=np.int64 if is_large else np.int32)
        offsets = offsets[array.offset : array.offset + n + 1].astype(np.int64)
    begin, end = offsets[0], offsets[-1]
    if _is_list(kind):
        child = array.values.slice(begin, end - begin)
    else:
        child = pa.Array.from_buffers(pa.uint8(), end - begin, [None, buffers[-1]], offset=begin)
    starts, lengths = offsets[:-1] - begin, np.diff(offsets)
    fits = lengths == dims[0]
    if len(dims) > 1:
        leaf, inner_starts, _, inner_fits = _flatten(child, dims[1:])
        inner_fits &= child.is_valid().to_numpy(zero_copy_only=False)
        misfits = np.append(0, np.cumsum(~inner_fits))
        fits &= misfits[starts + lengths] == misfits[starts]
        # The lists of a row lie back to back: where the first one starts, the image does.
        child, starts = leaf, np.append(inner_starts, 0)[starts]
    return child, starts, lengths, fits


def _numbers(column: pa.Array | pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values of an array, garbage where they are null, and where they are null."""
    if isinstance(column, pa.ChunkedArray):
        parts = [_numbers(chunk) for chunk in column.chunks or [pa.array([], column.type)]]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    dtype, buffer = np.dtype(column.type.to_pandas_dtype()), column.buffers()[1]
    values = np.zeros(len(column), dtype=dtype)
    if buffer is not None and len(column):
        values = np.frombuffer(buffer, dtype, len(column), column.offset * dtype.itemsize)
    if not column.null_count:
        return values, np.broadcast_to(np.False_, len(column))
    return values, column.is_null().to_numpy(zero_copy_only=False)


def _gather(
    values: NDArray[Any], starts: NDArray[np.int64], good: NDArray[np.bool_], pixels: int
) -> NDArray[Any]:
    """(N, pixels): `pixels` values from each start on, zeros where a row is not good."""
    if len(starts) and good.all() and (np.diff(starts) == pixels).all():
        return values[starts[0] : starts[0] + len(starts) * pixels].reshape(-1, pixels)
    images = np.zeros((len(starts), pixels), dtype=values.dtype)
    if good.any():
        images[good] = np.lib.stride_tricks.sliding_window_view(values, pixels)[starts[good]]
    return images


def _levels(
    values: NDArray[Any], nulls: NDArray[np.bool_], scale: float | None, faults: Faults
) -> NDArray[np.uint8]:
    """Turn (N, pixels) numbers into uint8; the first bad pixel of an image tells its fault."""
    whole, bad = values, nulls
    with np.errstate(invalid="ignore", over="ignore"):
        if scale is not None:
            dtype = np.promote_types(values.dtype, np.float32)  # float16 would overflow
            level = values.astype(dtype) * dtype.type(scale)
            whole = np.rint(level)
            fine = 255 * float(np.finfo(values.dtype).eps)
            bad = bad | ~(np.abs(level - whole) <= max(0.001, fine))  # NaN compares false
        outside = ((whole < 0) | (whole > 255)) & ~nulls
        bad = bad | outside
        images = whole.astype(np.uint8)
    rows = np.flatnonzero(bad.any(axis=1))
    for row, k in zip(rows.tolist(), bad[rows].argmax(axis=1).tolist(), strict=True):
        reason = "pixel_out_of_range" if outside[row, k] else "pixel_not_a_number"
        found = "null" if nulls[row, k] else values[row, k]
        faults.setdefault(row, (reason, f"pixel {k} is {found}"))
    images[rows] = 0
    return images
