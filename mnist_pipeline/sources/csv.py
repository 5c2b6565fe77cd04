"""CSV files as Kaggle writes MNIST: a header `label,pixel0,…,pixel783`, then one row an image.

A stretch of lines is parsed by array arithmetic; where that fails, the same stretch is walked row
by row, for the reasons. The array parser takes nothing but cells of one to three digits that are
at most 255, and the walk reads those as the same numbers: a row's fate never hangs on its
neighbours. Quotes mean nothing in a row, so none can swallow the lines that follow it.
"""

from __future__ import annotations

import codecs
import dataclasses
import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.records import PartInput, Records, Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import DataError, nearest
from mnist_pipeline.plugins import option
from mnist_pipeline.sources.files import BLOCK_ROWS, FilePart, PlainOrGzip, base_name, files_at

# Small enough for the parser's dozen byte arrays to stay in the second-level cache.
_CHUNK_BYTES = 1 << 18
_LONGEST_LINE = 1 << 20
_LONGEST_PAYLOAD = 4096

_COMMA, _NEWLINE, _ZERO, _NINE = (np.uint8(ord(character)) for character in ",\n09")

_INTEGER = re.compile(rb"[+-]?[0-9]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_VALUES = {str(value).encode(): value for value in range(256)}
_NOT_A_NUMBER, _OUT_OF_RANGE = -1, -2


@dataclasses.dataclass(frozen=True)
class CsvPart(FilePart):
    """One CSV file."""

    labelled: bool = True

    def read(self, contract: ImageContract) -> Iterator[Records]:
        return _joined(_pieces(self.path, self.labelled, contract))


@dataclasses.dataclass(frozen=True)
class Csv:
    """CSV files with a header `label,pixel0,…`, columns in any order, plain or gzipped."""

    path: str = option(
        dataclasses.MISSING, "a file, a folder of *.csv, or a pattern (dir/*.csv)", locates=True
    )
    labelled: bool = option(True, "whether rows have labels; if not, a label column is ignored")

    def parts(self) -> list[PartInput]:
        return [
            CsvPart(path, labelled=self.labelled)
            for path in files_at(self.path, (".csv", ".csv.gz"))
        ]


@dataclasses.dataclass(frozen=True)
class _Columns:
    """What a header says: `pixels[k]` is the column of pixel k, `label` that of the label."""

    source: str
    names: list[str]
    pixels: list[int]
    label: int | None

    def records(
        self, table: NDArray[np.uint8], places: NDArray[np.int64], rejects: tuple[Reject, ...] = ()
    ) -> Records:
        """Bind `table`, (rows, columns) uint8 as the file orders them, to pixels and labels."""
        first, last = self.pixels[0], self.pixels[-1]
        in_order = self.pixels == list(range(first, last + 1))
        images = table[:, first : last + 1] if in_order else table.take(self.pixels, axis=1)
        labels = None if self.label is None else table[:, self.label].astype(np.int64)
        return Records(images, labels, places, self.source, rejects)


def _bind(path: Path, header: bytes, labelled: bool, contract: ImageContract) -> _Columns:
    """Find the columns by their names."""
    wanted = ["label", *(f"pixel{k}" for k in range(contract.pixels))]
    known = set(wanted)
    form = f"label,pixel0,…,pixel{contract.pixels - 1}"
    fail = functools.partial(_error, path, line=1)
    try:
        text = header.removeprefix(codecs.BOM_UTF8).decode().rstrip("\r")
    except UnicodeDecodeError:
        raise fail("is not UTF-8 text", "save it as CSV in UTF-8") from None
    if "\r" in text:
        raise fail("ends its lines with CR alone", "save it with LF or CRLF at the line ends")
    names = [name.strip(' "') for name in text.split(",")]
    if not text.strip() or all(_INTEGER.fullmatch(name.encode()) for name in names):
        raise fail("has no header", f"put the line {form} first", found=_cut(text))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise fail("has a column twice", "rename or remove one", columns=_some(twice))
    missing = [name for name in wanted if name not in names and (labelled or name != "label")]
    if unknown := [name for name in names if name not in known]:
        close = " or ".join(nearest(unknown[0][:40], missing or wanted))
        remedy = f"rename or remove it; the nearest to {_cut(unknown[0])} is {close}"
        raise fail("has an unknown column", remedy, unknown=_some(unknown), expected=form)
    if missing:
        no_label = missing == ["label"]
        remedy = "set labelled=false for unlabelled rows" if no_label else "write all columns"
        raise fail("has too few columns", remedy, missing=_some(missing), expected=form)
    where = {name: column for column, name in enumerate(names)}
    pixels = [where[name] for name in wanted[1:]]
    return _Columns(base_name(path), names, pixels, where["label"] if labelled else None)


def _chunks(file: PlainOrGzip) -> Iterator[tuple[int, bytes]]:
    """Stretches of whole lines, each with the number of its first line, from 1."""
    line, tail = 1, b""
    while data := file.read(_CHUNK_BYTES):
        tail += data
        end = tail.find(b"\n")  # a line that one read cannot hold comes first in its stretch
        if (end if end >= 0 else len(tail)) > _LONGEST_LINE:
            expected = f"at most {_LONGEST_LINE:,} bytes a line"
            remedy = "check that this is a CSV file, with line ends"
            what = "has a line without end"
            raise _error(file.path, what, remedy, line=line, expected=expected)
        if end >= 0:
            whole = tail[: tail.rfind(b"\n") + 1]
            yield line, whole
            line += int(np.count_nonzero(np.frombuffer(whole, np.uint8) == _NEWLINE))
            tail = tail[len(whole) :]
    if tail:
        yield line, tail + b"\n"


def _pieces(path: Path, labelled: bool, contract: ImageContract) -> Iterator[Records]:
    """The rows of a file, a stretch at a time."""
    with PlainOrGzip(path) as file:
        chunks = _chunks(file)
        _, first = next(chunks, (1, b""))
        if not first:
            raise _error(path, "is empty", "fetch the file again")
        header, _, rest = first.partition(b"\n")
        columns = _bind(path, header, labelled, contract)
        empty = True
        blank = 0  # blank lines just before this stretch: they mean nothing if nothing follows
        for line, chunk in itertools.chain([(2, rest)], chunks):
            table = _parse_digits(chunk, len(columns.names)) if chunk and not blank else None
            if table is not None:
                empty = False
                yield columns.records(table, np.arange(line, line + len(table), dtype=np.int64))
                continue
            lines = chunk.split(b"\n")[:-1]
            count = len(lines)
            while lines and not lines[-1].strip(b" \t\r"):
                lines.pop()
            if lines:
                empty = False
                for start in range(line - blank, line, BLOCK_ROWS):
                    yield _walk([b""] * min(BLOCK_ROWS, line - start), start, columns)
                yield _walk(lines, line, columns)
                blank = 0
            blank += count - len(lines)
        if empty:
            raise _error(path, "has a header and no rows", "fetch it again, or leave it out")


def _joined(pieces: Iterable[Records]) -> Iterator[Records]:
    """Small records put together into blocks of about `BLOCK_ROWS`."""
    block: list[Records] = []
    for piece in pieces:
        block.append(piece)
        if sum(len(part) + len(part.rejects) for part in block) >= BLOCK_ROWS:
            yield _concatenated(block)
            block = []
    if block:
        yield _concatenated(block)


def _concatenated(block: list[Records]) -> Records:
    labels = [part.labels for part in block if part.labels is not None]
    return Records(
        np.concatenate([part.images for part in block]),
        np.concatenate(labels) if labels else None,
        np.concatenate([part.places for part in block]),
        block[0].source,
        tuple(reject for part in block for reject in part.rejects),
    )


def _parse_digits(chunk: bytes, columns: int) -> NDArray[np.uint8] | None:
    """(rows, columns) uint8 if every cell is one to three digits, at most 255; otherwise None."""
    text = np.frombuffer(chunk.replace(b"\r\n", b"\n") if b"\r" in chunk else chunk, np.uint8)
    is_end = text < _ZERO  # the comma and the newline sort before the digits
    ends = np.flatnonzero(is_end)
    if text.max() > _NINE or len(ends) % columns:
        return None
    separators = text.take(ends).reshape(-1, columns)
    if (separators[:, :-1] != _COMMA).any() or (separators[:, -1] != _NEWLINE).any():
        return None
    is_digit = ~is_end
    pair = is_digit[1:] & is_digit[:-1]
    if is_end[0] or (is_end[1:] & is_end[:-1]).any() or (pair[2:] & pair[:-2]).any():
        return None  # an empty cell, or one of four digits or more
    # value[i] = 100·h + 10·t + o of the digits h, t, o just before byte i, in uint8: 255 is the
    # last number that fits, so what would wrap is looked for first. Digits count 0 at separators.
    digit = (text - _ZERO) * is_digit
    value = np.zeros_like(text)
    value[1:] = digit[:-1]
    value[2:] += digit[:-2] * np.uint8(10)
    hundreds = digit[:-3] * pair[1:-1]
    if ((hundreds > 2) | ((hundreds == 2) & (value[3:] > 55))).any():
        return None
    value[3:] += hundreds * np.uint8(100)
    return value.take(ends).reshape(-1, columns)


def _walk(lines: list[bytes], first: int, columns: _Columns) -> Records:
    """Judge line by line; `first` is the number of the first one."""
    rows, places, rejects = [], [], []
    for place, line in enumerate(lines, first):
        table = _parse_digits(line + b"\n", len(columns.names))
        row = _read_row(line.removesuffix(b"\r"), columns) if table is None else table[0]
        if isinstance(row, tuple):
            reason, detail = row
            payload = line[:_LONGEST_PAYLOAD]
            rejects.append(Reject(columns.source, place, reason, detail, payload))
        else:
            rows.append(row)
            places.append(place)
    table = np.array(rows, dtype=np.uint8).reshape(-1, len(columns.names))
    return columns.records(table, np.array(places, dtype=np.int64), tuple(rejects))


def _read_row(line: bytes, columns: _Columns) -> NDArray[np.uint8] | tuple[str, str]:
    """The numbers of a row in the file's order, or the reason and the detail of its rejection.

    A fault of the whole row comes before one of its label, that before the first one of a pixel.
    A column nobody asked for may hold anything; it reads as 0.
    """
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return "undecodable_text", f"byte {error.start} of the line is not UTF-8"
    if control := _CONTROL.search(line):
        return "undecodable_text", f"byte {control.start()} of the line is a control character"
    cells = line.split(b",")
    if len(cells) != len(columns.names):
        return "wrong_column_count", f"columns: {len(cells)}, expected: {len(columns.names)}"
    row = [_VALUES[cell] if cell in _VALUES else _value(cell) for cell in cells]
    asked = columns.pixels if columns.label is None else [columns.label, *columns.pixels]
    for column in asked if min(row) < 0 else ():
        if row[column] < 0:
            detail = f"column {columns.names[column]} is {_cut(cells[column].decode())}"
            if column != columns.label:
                out_of_range = row[column] == _OUT_OF_RANGE
                return "pixel_out_of_range" if out_of_range else "pixel_not_a_number", detail
            empty = not cells[column].strip(b" \t")
            return "label_missing" if empty else "label_out_of_range", detail
    return np.array([max(value, 0) for value in row], dtype=np.uint8)


def _value(cell: bytes) -> int:
    """The number in a cell, 0 to 255; spaces around it, a plus and zeros before it are harmless."""
    cell = cell.strip(b" \t")
    value = _VALUES.get(cell)
    if value is None and _INTEGER.fullmatch(cell):
        return _VALUES.get(cell.removeprefix(b"+").lstrip(b"0") or b"0", _OUT_OF_RANGE)
    return _NOT_A_NUMBER if value is None else value


def _cut(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(_cut(name) for name in names[:5]) + more


def _error(path: Path, what: str, remedy: str, **facts: str | int) -> DataError:
    return DataError(f"{base_name(path)} {what}", file=str(path), **facts, remedy=remedy)
