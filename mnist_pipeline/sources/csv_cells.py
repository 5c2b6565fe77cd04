"""Cells of CSV text: plain numbers by array arithmetic over all bytes, any other one by one.

Both read a cell alike: it holds an integer from 0 to 255 in decimal digits, and spaces or tabs
around it, a plus, zeros before it, or a pair of quotes around it (RFC 4180, section 2.5: a field
may be quoted) are harmless. Nothing else is a number. A comma or a line end always separates,
quoted or not, so no quote can swallow what follows it.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_TAB, _NEWLINE, _RETURN, _SPACE, _QUOTE, _PLUS, _COMMA, _ZERO = (
    np.uint8(ord(character)) for character in '\t\n\r "+,0'
)
_TEN = np.uint8(10)

# Bytes of padding on either side of a number that array arithmetic skips, a pass for each.
_MOST_PADDING = 16

_INTEGER = re.compile(rb"[+-]?[0-9]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_VALUES = {str(value).encode(): value for value in range(256)}


@dataclasses.dataclass(frozen=True)
class Cells:
    """The cells of a stretch of whole lines, in their order.

    Attributes:
        ends: (C,) int64, where in the stretch each cell ends: at its comma or newline.
        last: (L,) int64, for each line the position of its last cell among all of them.
        values: (C,) uint8, the numbers of those that are known.
        known: (C,) bool, whether the array arithmetic could read it; if not, `read_cell` may.
    """

    ends: NDArray[np.int64]
    last: NDArray[np.int64]
    values: Bytes
    known: Mask

    def bounds(self, line: int, cell: int) -> slice:
        """Where in the stretch a cell lies; `cell` counts from the end of its line, from -1."""
        k = self.last[line] + 1 + cell
        return slice(self.ends[k - 1] + 1 if k else 0, self.ends[k])


def cut_cells(chunk: bytes) -> Cells:
    """Takes a stretch of whole lines apart, and reads the cells that are plain numbers."""
    # A newline before the first byte: then every cell has a separator on either side.
    text = np.frombuffer(b"\n" + chunk, np.uint8)
    newline = text == _NEWLINE
    separator = (text == _COMMA) | newline
    digit = text - _ZERO
    is_digit = digit < _TEN

    ends = np.flatnonzero(separator[1:])
    last = np.flatnonzero(newline[1:].take(ends))
    known, value = _numbers(separator, digit, is_digit)
    known_cells = known[1:].take(ends)
    if not known_cells.all():
        _add_padded(text, separator, digit, is_digit, known, value)
        known_cells = known[1:].take(ends)
    return Cells(ends, last, value[1:].take(ends), known_cells)


def _add_padded(
    text: Bytes, separator: Mask, digit: Bytes, is_digit: Mask, known: Mask, value: Bytes
) -> None:
    """Adds the numbers that have something around them to those right behind a separator."""
    blank = (text == _SPACE) | (text == _TAB)
    lead = (text == _PLUS) | (text == _ZERO)
    lead[:-1] &= is_digit[1:]
    start = _skip_lead(separator, lead | blank)
    if start is not separator:
        known[:], value[:] = _numbers(start, digit, is_digit)

    quote = text == _QUOTE
    if quote.any():
        opened = np.zeros_like(quote)
        opened[1:] = start[:-1] & quote[1:]
        quoted, number = _numbers(opened, digit, is_digit)
        closed = quoted[:-1] & quote[:-1]
        known[1:] |= closed
        value[1:] += closed * number[:-1]

    blank[:-1] |= (text[:-1] == _RETURN) & (text[1:] == _NEWLINE)
    _skip_trail(known, value, blank)


def _skip_lead(start: Mask, lead: Mask) -> Mask:
    """`start`, moved on over the bytes of `lead` that follow it; itself if none does."""
    moved = start
    for _ in range(_MOST_PADDING):
        skipped = moved[:-1] & lead[1:]
        if not skipped.any():
            break
        moved = np.append(False, skipped)
        start = (start & ~np.append(skipped, False)) | moved
    return start


def _skip_trail(known: Mask, value: Bytes, blank: Mask) -> None:
    """Where a number ends just before a byte of `blank`, it also ends just behind that byte."""
    moved = known
    for _ in range(_MOST_PADDING):
        behind = moved[:-1] & blank[:-1]
        if not behind.any():
            break
        known[1:] |= behind
        value[1:] += behind * value[:-1]
        moved = np.append(False, behind)


def _numbers(start: Mask, digit: Bytes, is_digit: Mask) -> tuple[Mask, Bytes]:
    """The numbers of one to three digits, at most 255, that follow a byte of `start`.

    Args:
        start: (N,) bool, the bytes after which a number may begin.
        digit: (N,) uint8, the digit that a byte is, if it is one.
        is_digit: (N,) bool, whether it is.

    Returns:
        known (N,) bool: whether such a number ends just before the byte; value (N,) uint8: it.
    """
    # Horner's rule, value ← 10·value + digit, a step for all numbers at once. In step k a byte
    # takes part if it is the k-th digit of its number.
    known, value = np.zeros_like(is_digit), np.zeros_like(digit)
    first = start[:-2] & is_digit[1:-1]
    one = first * digit[1:-1]
    known[2:], value[2:] = first, one

    second = first[:-1] & is_digit[2:-1]
    two = second * (_TEN * one[:-1] + digit[2:-1])
    known[3:] |= second
    value[3:] += two

    tens, units = two[:-1], digit[3:-1]
    three = _TEN * tens + units
    fits = (tens <= 25) & (three >= units)  # if not, 10·tens or the sum is past 255 and wrapped
    third = second[:-1] & is_digit[3:-1] & fits
    known[4:] |= third
    value[4:] += third * three
    return known, value


def read_cell(cell: bytes) -> int | str:
    """The number in a cell, 0 to 255, or the reason why it is no pixel."""
    content = cell_content(cell)
    value = _VALUES.get(content)
    if value is None:
        if not _INTEGER.fullmatch(content):
            return "pixel_not_a_number"
        value = _VALUES.get(content.removeprefix(b"+").lstrip(b"0") or b"0")
    return "pixel_out_of_range" if value is None else value


def cell_content(cell: bytes) -> bytes:
    """What is in a cell, without spaces and a pair of quotes around it."""
    cell = cell.strip(b" \t")
    if len(cell) >= 2 and cell[:1] == cell[-1:] == b'"':
        cell = cell[1:-1].strip(b" \t")
    return cell


def strange_lines(chunk: bytes, ends: NDArray[np.int64]) -> list[int]:
    """The lines that hold more than printable ASCII and tabs, by their position in `ends`.

    Args:
        chunk: whole lines.
        ends: (L,) int64, where each line ends: at its newline.
    """
    text = np.frombuffer(chunk, np.uint8)
    strange = (text < _SPACE) & (text != _TAB)
    strange |= text > np.uint8(ord("~"))
    strange[ends] = False
    before = ends[ends > 0] - 1
    strange[before[text[before] == _RETURN]] = False
    lines: list[int] = np.unique(np.searchsorted(ends, np.flatnonzero(strange))).tolist()
    return lines


def text_fault(line: bytes) -> str | None:
    """Why a line (without its end) is not text, or None."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} of the line is not UTF-8"
    control = _CONTROL.search(line)
    return f"byte {control.start()} of the line is a control character" if control else None
