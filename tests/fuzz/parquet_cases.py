"""Mutated Parquet files: every layout, faulty cells, other columns, damage."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mutations import PIXELS, Case, Rows, chance, digits, pick, rows_of
from numpy.typing import NDArray
from parquet_forgery import FORGED, spoil
from PIL import Image

NAME = "digits.parquet"
Images = NDArray[np.uint8]
Cells = list[Any]


def _png(image: Images) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.reshape(28, 28)).save(file, "PNG")
    return file.getvalue()


def _lists(images: Images) -> Cells:
    return images.tolist()  # type: ignore[no-any-return]


def _grids(images: Images) -> Cells:
    return images.reshape(-1, 28, 28).tolist()  # type: ignore[no-any-return]


LAYOUTS: dict[str, tuple[pa.DataType, Callable[[Images], Cells]]] = {
    "fixed_size_binary": (pa.binary(PIXELS), lambda images: [i.tobytes() for i in images]),
    "binary": (pa.binary(), lambda images: [i.tobytes() for i in images]),
    "large_binary": (pa.large_binary(), lambda images: [i.tobytes() for i in images]),
    "list": (pa.list_(pa.uint8()), _lists),
    "list int64": (pa.list_(pa.int64()), _lists),
    "large_list": (pa.large_list(pa.int16()), _lists),
    "fixed_size_list": (pa.list_(pa.uint8(), PIXELS), _lists),
    "nested": (pa.list_(pa.list_(pa.uint8())), _grids),
    "nested fixed": (pa.list_(pa.list_(pa.uint8(), 28), 28), _grids),
    "tensor": (pa.fixed_shape_tensor(pa.uint8(), [28, 28]), _lists),
    "floats": (pa.list_(pa.float32()), lambda images: (images / np.float32(255)).tolist()),
    "float64": (pa.list_(pa.float64(), PIXELS), lambda images: (images / 255).tolist()),
    "float16": (pa.list_(pa.float16()), lambda images: images.astype(np.float16).tolist()),
    "png": (
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        lambda images: [{"bytes": _png(image), "path": None} for image in images],
    ),
}
SCALES = {"floats": ",scale=255", "float64": ",scale=255", "float16": ",scale=1"}


def make(rng: np.random.Generator) -> Case:
    return _bomb(rng) if chance(rng, 0.01) else _mutated(rng)


def _bomb(rng: np.random.Generator) -> Case:
    """A small valid file that holds very much of nothing."""
    kind = pick(rng, ["nulls", "black", "long cell", "long shared cells"])
    rows = {"nulls": 2_000_000, "black": 80_000, "long shared cells": 1_000}.get(kind, 1)
    cells = {
        "nulls": lambda: pa.nulls(rows, pa.binary(PIXELS)),
        "black": lambda: pa.array([bytes(PIXELS)] * rows, pa.binary(PIXELS)),
        "long cell": lambda: pa.array([bytes(48 << 20)], pa.binary()),
        "long shared cells": lambda: pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(rows, np.int32)), pa.array([bytes(50_000)])
        ),
    }[kind]()
    table = pa.table({"image": cells, "label": pa.array(np.zeros(rows, np.uint8))})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd", store_schema=False, row_group_size=rows)
    return Case(f"bomb of {kind}", {NAME: file.getvalue()}, ("parquet", NAME), None, sure=False)


def _mutated(rng: np.random.Generator) -> Case:
    layout = pick(rng, [*LAYOUTS, *LAYOUTS, *["fixed_size_binary"] * 20, *["wide"] * 4])
    count = pick(rng, [1, 1, 10, 24, 24, 60, 60])
    if chance(rng, 0.05):
        count = pick(rng, [0, 0, 3_000]) if layout != "wide" else 0
    images, labels = digits(rng, count)
    rows = rows_of(images, labels)
    words = [layout]
    label_cells: Cells = labels.tolist()
    if layout == "wide":
        table = pa.table({f"pixel{k}": images[:, k] for k in range(PIXELS)})
    else:
        kind, build = LAYOUTS[layout]
        cells = build(images)
        if chance(rng, 0.3) and count:
            words.append(_spoil_cells(rng, cells, kind, rows))
        array = pa.array(cells, kind.storage_type if layout == "tensor" else kind)
        array = pa.ExtensionArray.from_storage(kind, array) if layout == "tensor" else array
        table = pa.table({"image": array})
    if chance(rng, 0.2) and count:
        words.append(_spoil_labels(rng, label_cells, rows))
    floats = any(isinstance(cell, float) for cell in label_cells)
    small = all(cell is None or 0 <= cell < 2**15 for cell in label_cells)
    number = pick(rng, [pa.int64(), pa.int32(), pa.uint16()]) if small else pa.int64()
    number = pa.float64() if floats else number
    table = table.append_column("label", pa.array(label_cells, number))
    options = SCALES.get(layout, "")
    sure = readable = True
    if chance(rng, 0.15):
        table, options, fate, word = _reshape(rng, table, options)
        readable, sure = fate == "read", fate != "either"
        words.append(word)
    checked = chance(rng, 0.85)
    data = _write(rng, table, checked)
    if chance(rng, 0.75):
        sure = False
        readable &= checked
        other = _write(rng, table.slice(0, 3), checked)
        for _ in range(pick(rng, [1, 1, 1, 2, 3])):
            data, word = spoil(rng, data, other)
            words.append(word)
            readable &= word not in FORGED
    known = rows if readable and count else None
    return Case("; ".join(words), {NAME: data}, ("parquet", NAME + options), known, sure)


def _spoil_labels(rng: np.random.Generator, labels: Cells, rows: Rows) -> str:
    bad = [None, 10, 255, 256, 300, 2**31, -1, -(2**63)]
    if chance(rng, 0.3):
        labels[:] = [float(label) for label in labels]
        bad = [None, np.nan, np.inf, -np.inf, 3.5, 1e300, -1.0, 10.0]
    for at in rng.integers(0, len(labels), int(rng.integers(1, 4))).tolist():
        labels[at] = pick(rng, bad)
        rows[at] = None
    return "labels"


def _spoil_cells(rng: np.random.Generator, cells: Cells, kind: pa.DataType, rows: Rows) -> str:
    """Images that are null, too short, too long, out of range, or no pictures."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    for at in rng.permutation(len(cells))[: int(rng.integers(1, 4))].tolist():
        cell = cells[at]
        choices: Cells = [None]
        if kind in (pa.binary(), pa.large_binary()) and cell:
            choices += [b"", cell[1:], cell + b"\0", cell * 90]
        elif pa.types.is_struct(kind) and cell and cell["bytes"]:
            blob = cell["bytes"]
            cut = blob[: int(rng.integers(len(blob) - 12))]
            choices += [
                {"bytes": b, "path": "x"} for b in (None, b"", b"GIF89a" * 9, cut, blob[1:])
            ]
        elif isinstance(cell, list) and not isinstance(cell[0], list):
            choices += [[None, *cell[1:]]]
            if kind.value_type != pa.uint8():
                choices += [[*cell[1:], 300], [*cell[1:], -1]]
            if pa.types.is_floating(kind.value_type):
                choices += [[np.nan, *cell[1:]], [np.inf, *cell[1:]], [*cell[1:], 0.3]]
            if not isinstance(kind, pa.FixedSizeListType):
                choices += [[], cell[1:], [*cell, 0], cell * 30]
        elif isinstance(cell, list) and not isinstance(kind, pa.FixedSizeListType):
            choices += [[], cell[1:], [*cell[1:], None], [cell[0][1:], [*cell[1], 0], *cell[2:]]]
        cells[at] = pick(rng, choices)
        rows[at] = None
    return "cells"


def _reshape(
    rng: np.random.Generator, table: pa.Table, options: str
) -> tuple[pa.Table, str, str, str]:
    """Columns renamed, typed anew, dropped, doubled; and what must become of the file."""
    names = table.column_names
    kind: str = pick(rng, ["extra", "order", "rename", "type", "drop", "double", "two", "scale"])
    at = int(rng.integers(len(names)))
    fate = {"extra": "read", "order": "read", "scale": "either"}.get(kind, "refused")
    if kind == "extra":
        column = pa.array([f"{k}" * 20 for k in range(len(table))])
        table = table.add_column(at, "note", column)
    elif kind == "order":
        table = table.select(rng.permutation(names).tolist())
    elif kind == "rename":
        fate = "read" if names[at] == "image" else fate  # the only column that can hold images
        name = pick(rng, ["x", "", "Label", "pixel784", "image.bytes", "é" * 900])
        table = table.rename_columns([*names[:at], name, *names[at + 1 :]])
    elif kind == "type":
        column = pa.array([pick(rng, ["x", "7"])] * len(table), pa.string())
        table = table.set_column(at, names[at], column)
    elif kind == "drop":
        table = table.drop_columns([names[at]])
    elif kind == "double":
        table = table.append_column(names[at], table.column(at))
    elif kind == "two":
        table = table.append_column("other", pa.array([b"x"] * len(table), pa.binary()))
    else:
        options = pick(rng, [",scale=255", ",scale=0", ",scale=nan", ""])
    return table, options, fate, kind


def _write(rng: np.random.Generator, table: pa.Table, checked: bool) -> bytes:
    file = io.BytesIO()
    few = len(table) <= 60 and table.num_columns < PIXELS
    pq.write_table(
        table,
        file,
        row_group_size=pick(rng, [1, 7, 8, 25, 10_000] if few else [700]),
        compression=pick(rng, ["none", "snappy", "lz4", "zstd", "gzip", "brotli"]),
        data_page_version=pick(rng, ["1.0", "2.0"]),
        use_dictionary=pick(rng, [True, False]),
        write_statistics=pick(rng, [True, False]),
        write_page_index=chance(rng, 0.2),
        write_page_checksum=checked,
        data_page_size=pick(rng, [None, None, 900]),
        store_schema=chance(rng, 0.85) or any(map(_is_special, table.schema.types)),
    )
    return file.getvalue()


def _is_special(kind: pa.DataType) -> bool:
    """Whether only the Arrow schema beside the Parquet schema says what a column is."""
    return isinstance(kind, pa.BaseExtensionType | pa.FixedSizeListType | pa.LargeListType) or (
        kind == pa.large_binary()
    )
