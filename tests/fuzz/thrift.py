"""Thrift's compact protocol, read into lists and written back: how a footer is forged.

The encoding: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
A struct is a list of `[field id, type, value]`, a list is `[type of its elements, values]`; numbers
and bytes are themselves. Everything can be changed in place, and `pack` makes bytes of it again.
"""

from __future__ import annotations

from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
INTEGERS = (I16, I32, I64)

Struct = list[list[Any]]


def parse(data: bytes, at: int = 0) -> tuple[Struct, int]:
    """The struct that begins at byte `at`, and where it ends."""
    fields: Struct = []
    field = 0
    while data[at]:
        delta, kind = data[at] >> 4, data[at] & 15
        at += 1
        if delta:
            field += delta
        else:
            number, at = _varint(data, at)
            field = _unzigzag(number)
        value, at = (kind == TRUE, at) if kind in (TRUE, FALSE) else _value(data, at, kind)
        fields.append([field, kind, value])
    return fields, at + 1


def pack(fields: Struct) -> bytes:
    """The bytes of a struct; a number too large for its type is written as it is."""
    out, last = bytearray(), 0
    for field, kind, value in fields:
        if kind in (TRUE, FALSE):
            kind = TRUE if value else FALSE
        if 0 < field - last < 16:
            out.append((field - last) << 4 | kind)
        else:
            out += bytes([kind]) + packed_varint(_zigzag(field))
        out += b"" if kind in (TRUE, FALSE) else _packed(value, kind)
        last = field
    return bytes(out) + b"\0"


def get(fields: Struct, number: int) -> Any:
    """The value of a field, or None."""
    return next((value for field, _, value in fields if field == number), None)


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in INTEGERS:
        number, at = _varint(data, at)
        return _unzigzag(number), at
    if kind == BINARY:
        length, at = _varint(data, at)
        return data[at : at + length], at + length
    if kind == LIST:
        length, inner = data[at] >> 4, data[at] & 15
        at += 1
        if length == 15:
            length, at = _varint(data, at)
        values = []
        for _ in range(length):
            value, at = _value(data, at, inner)
            values.append(value)
        return [inner, values], at
    if kind == STRUCT:
        return parse(data, at)
    if kind in (TRUE, FALSE, BYTE):  # as an element of a list, a truth value is a byte too
        return data[at], at + 1
    raise ValueError(f"Parquet does not use type {kind} of Thrift")


def _packed(value: Any, kind: int) -> bytes:
    if kind in INTEGERS:
        return packed_varint(_zigzag(value))
    if kind == BINARY:
        return packed_varint(len(value)) + value
    if kind == LIST:
        inner, values = value
        short = len(values) < 15
        head = bytes([(len(values) if short else 15) << 4 | inner])
        head += b"" if short else packed_varint(len(values))
        return head + b"".join(_packed(element, inner) for element in values)
    return pack(value) if kind == STRUCT else bytes([value])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return number, at


def packed_varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def _zigzag(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def _unzigzag(number: int) -> int:
    return number >> 1 ^ -(number & 1)
