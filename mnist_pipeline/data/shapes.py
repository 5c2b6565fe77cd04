"""What a column says of the shape of its images, or a value in it: told where they do not fit."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

Shape = dict[str, Any]
"""As far as it is known: `height`, `width`, `pixels`, `dtype` (integers of any width: uint8)."""

_PIXEL = re.compile(r"pixel(0|[1-9][0-9]{0,8})")


def pixel_columns(schema: pa.Schema) -> list[str]:
    """The names `pixel0`, `pixel1`, … that there are, in the order of their numbers."""
    numbers = [int(found[1]) for name in schema.names if (found := _PIXEL.fullmatch(name))]
    return [f"pixel{number}" for number in sorted(numbers)]


def shape_of_columns(names: Sequence[str], schema: pa.Schema) -> Shape:
    """The shape of images whose pixels lie in columns of these names, see `pixel_columns`."""
    kinds = {_dtype(schema.field(name).type) for name in names}
    dtype = " and ".join(sorted(kinds - {"uint8"})) or "uint8"
    return {"pixels": len(names), "first": names[0], "last": names[-1], "dtype": dtype}


def shape_of_type(kind: pa.DataType) -> Shape:
    """The shape that every image in a column of this type has."""
    if isinstance(kind, pa.FixedShapeTensorType):
        shape = [size for size in kind.shape if size != 1] or [1]
        sides: Shape = dict(zip(("height", "width"), shape, strict=True)) if len(shape) == 2 else {}
        pixels = 1
        for size in shape:
            pixels *= size
        return {**sides, "pixels": pixels, "dtype": _dtype(kind.value_type)}
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if pa.types.is_fixed_size_binary(kind):
        return {"pixels": kind.byte_width, "dtype": "uint8"}
    sizes = []
    while isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        sizes.append(kind.list_size if isinstance(kind, pa.FixedSizeListType) else None)
        kind = kind.value_type
    if len(sizes) == 1 and sizes[0] is not None:
        return {"pixels": sizes[0], "dtype": _dtype(kind)}
    if len(sizes) == 2:
        known = {name: size for name, size in zip(("height", "width"), sizes, strict=True) if size}
        return {**known, "dtype": _dtype(kind)}
    return {}


def shape_of_value(value: pa.Scalar) -> Shape:
    """The shape of one image that is not null."""
    if isinstance(value, pa.StructScalar):
        head = (value["bytes"].as_py() or b"")[16:24]
        width, height = struct.unpack(">II", head) if len(head) == 8 else (0, 0)
        return {"height": height, "width": width, "pixels": height * width}
    if not isinstance(value, pa.ListScalar):
        return {"pixels": len(value.as_py())}
    rows = value.values
    if not pa.types.is_nested(rows.type):
        return {"pixels": len(rows)}
    widths = sorted({len(row.values) if row.is_valid else 0 for row in rows})
    width = widths[0] if len(widths) == 1 else " and ".join(map(str, widths)) or 0
    return {"height": len(rows), "width": width}


def _dtype(kind: pa.DataType) -> str:
    return "uint8" if pa.types.is_integer(kind) else str(kind)


def told(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """What `ImageContract.differences` found, in words."""
    return ", ".join(f"{name} {one}, expected {two}" for name, (one, two) in differences.items())
