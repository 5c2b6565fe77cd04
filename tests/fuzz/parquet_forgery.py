"""Damage that knows how a Parquet file is built: its ends, its footer, its pages."""

from __future__ import annotations

import zlib

import numpy as np
import thrift
from mutations import chance, damage, pick

# Field numbers of parquet.thrift (https://github.com/apache/parquet-format).
ROW_GROUPS, COLUMNS, META_DATA = 4, 1, 3
TOTAL_COMPRESSED, DATA_PAGE, DICTIONARY_PAGE = 7, 9, 11
COMPRESSED_SIZE, CRC = 3, 4
EXTREMES = (0, 1, -1, 2, 7, 8, 127, 255, 2**15, 2**16, 2**20, 2**24, 2**28, 2**31 - 1)
HUGE = (*EXTREMES, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**31), -(2**63))
FORGED = ("page payload", "footer", "splice", "twice")
"""Changes after which a file may hold something else without a checksum noticing."""


def spoil(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[bytes, str]:
    """One change, blind or not; `other` is a file to splice with."""
    return pick(rng, [damage, damage, damage, _ends, *[_forged] * 4])(rng, data, other)


def _ends(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[bytes, str]:
    """The marks and the footer's length at the ends of the file."""
    kind = pick(rng, ["head", "tail", "encrypted", "length", "length", "twice"])
    if kind in ("head", "tail"):
        mark = pick(rng, [b"PAR2", b"ARROW1", b"\0\0\0\0", b"ORC"])
        return (mark + data[4:] if kind == "head" else data[:-4] + mark), f"{kind} mark"
    if kind == "encrypted":
        return b"PARE" + data[4:-4] + b"PARE", kind
    if kind == "twice":
        return data + other, kind
    length = int.from_bytes(data[-8:-4], "little")
    claimed = pick(rng, [*EXTREMES, length - 1, length + 1, len(data), len(data) - 8, 2**32 - 1])
    return data[:-8] + (claimed % 2**32).to_bytes(4, "little") + data[-4:], "footer length"


def _forged(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[bytes, str]:
    """A footer or a page changed and written back well-formed."""
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    try:
        footer, _ = thrift.parse(data, start)
        return pick(rng, [_footer, _footer, _page, _page, _lists])(rng, data[:start], footer)
    except (IndexError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return damage(rng, data, other)  # earlier damage has left nothing that can be forged


def _with_footer(data: bytes, footer: thrift.Struct) -> bytes:
    packed = thrift.pack(footer)
    return data + packed + len(packed).to_bytes(4, "little") + b"PAR1"


def _footer(rng: np.random.Generator, body: bytes, footer: thrift.Struct) -> tuple[bytes, str]:
    for _ in range(pick(rng, [1, 1, 1, 2, 4])):
        _forge(rng, footer)
    return _with_footer(body, footer), "footer"


def _lists(rng: np.random.Generator, body: bytes, footer: thrift.Struct) -> tuple[bytes, str]:
    """A list that claims to have many more elements than there are bytes."""
    packed = thrift.pack(footer)
    starts = [
        at
        for at in range(len(packed) - 1)
        if packed[at] & 15 == thrift.LIST and packed[at + 1] & 15 in (thrift.STRUCT, thrift.BINARY)
    ]
    at = pick(rng, starts) + 1
    claim = thrift.packed_varint(pick(rng, [15, 300, 70_000, 999_999, 2**31 - 1]))
    lie = bytes([0xF0 | packed[at] & 15]) + claim
    packed = packed[:at] + lie + packed[at + 1 :]
    return body + packed + len(packed).to_bytes(4, "little") + b"PAR1", "footer list"


def _forge(rng: np.random.Generator, root: thrift.Struct) -> None:
    """One change somewhere in a Thrift structure; every depth has its share."""
    struct, inner = root, root
    while inner:
        struct = inner
        index = int(rng.integers(len(struct)))
        field = struct[index]
        _, kind, held = field
        is_structs = kind == thrift.LIST and held[0] == thrift.STRUCT and held[1]
        inner = held if kind == thrift.STRUCT else pick(rng, held[1]) if is_structs else []
        inner = inner if chance(rng, 0.8) else []
    if not struct:
        return
    if chance(rng, 0.15):
        pick(rng, [lambda: struct.pop(index), lambda: struct.append(list(field))])()
    elif chance(rng, 0.05):
        field[0] = int(rng.integers(1, 20))
    elif kind in thrift.INTEGERS:
        near = field[2] + pick(rng, [1, -1, 4, -4, 100, -100])
        same = [value for _, other, value in struct if other == kind]
        low, high = -(2**31), 2**31 - 1
        value = pick(rng, [near, field[2] * 2, field[2] ^ 1 << int(rng.integers(24))])
        value = pick(rng, [value, pick(rng, same), pick(rng, HUGE)])
        field[2] = value if kind == thrift.I64 else min(max(value, low), high)
    elif kind == thrift.BINARY:
        text = field[2]
        field[2] = pick(rng, [b"", text[:-1], text + b"x", b"label", b"\xff\xfe", text * 40])
    elif kind == thrift.LIST:
        values = field[2][1]
        at = int(rng.integers(len(values))) if values else 0
        change = pick(rng, ["drop", "repeat", "empty", "many", "swap"])
        if change == "drop":
            del values[at : at + 1]
        elif change == "empty":
            values.clear()
        elif change == "swap":
            values.reverse()
        else:
            values[at:at] = values[at : at + 1] * (1 if change == "repeat" else 50)
    elif kind in (thrift.TRUE, thrift.FALSE):
        field[2] = not field[2]


def _page(rng: np.random.Generator, body: bytes, footer: thrift.Struct) -> tuple[bytes, str]:
    """One page's header forged, or its payload changed under a checksum that agrees."""
    meta = pick(rng, _chunks(footer))
    at = pick(rng, [thrift.get(meta, DATA_PAGE), thrift.get(meta, DICTIONARY_PAGE)])
    at = at or thrift.get(meta, DATA_PAGE)
    header, end = thrift.parse(body, at)
    payload = body[end : end + thrift.get(header, COMPRESSED_SIZE)]
    if chance(rng, 0.5) and payload:
        changed = bytearray(payload)
        word = "page payload"
        for where in rng.integers(0, min(len(payload), pick(rng, [8, 64, 10**6])), 3).tolist():
            changed[where] = pick(rng, [0, 255, 127, 128, 3, int(rng.integers(256))])
        for field in header:
            if field[0] == CRC:
                crc = zlib.crc32(bytes(changed))
                field[2] = crc - 2**32 if crc >= 2**31 else crc
        page = thrift.pack(header) + bytes(changed)
    else:
        word = "page header"
        _forge(rng, header)
        page = thrift.pack(header) + payload
    _shift(footer, at, len(page) - (end + len(payload) - at))
    body = body[:at] + page + body[end + len(payload) :]
    return _with_footer(body, footer), word


def _chunks(footer: thrift.Struct) -> list[thrift.Struct]:
    """The metadata of every column chunk."""
    groups = thrift.get(footer, ROW_GROUPS)[1]
    columns = [column for group in groups for column in thrift.get(group, COLUMNS)[1]]
    return [thrift.get(column, META_DATA) for column in columns]


def _shift(footer: thrift.Struct, after: int, by: int) -> None:
    """Moves what the footer says about everything behind a place in the file."""
    for meta in _chunks(footer):
        for field in meta:
            if field[0] in (DATA_PAGE, DICTIONARY_PAGE) and field[2] > after:
                field[2] += by
        first = thrift.get(meta, DICTIONARY_PAGE) or thrift.get(meta, DATA_PAGE)
        size = next((field for field in meta if field[0] == TOTAL_COMPRESSED), None)
        if size and first <= after < first + size[2]:
            size[2] += by
