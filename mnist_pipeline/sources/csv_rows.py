"""Rows of CSV text: what a header says its columns are, and which lines are rows of them."""

from __future__ import annotations

import codecs
import dataclasses
import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.records import Records, Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import DataError, nearest
from mnist_pipeline.sources.csv_cells import (
    cell_content,
    cut_cells,
    read_cell,
    strange_lines,
    text_fault,
)
from mnist_pipeline.sources.files import base_name

BLANK = b" \t\r\n"
"""The bytes of which blank lines consist."""

CR_ALONE = "ends its lines with CR alone", "save it with LF or CRLF at the line ends"

_LONGEST_PAYLOAD = 4096

Fault = tuple[str, str]  # reason and detail


@dataclasses.dataclass(frozen=True)
class Columns:
    """What a header says: the names in the file's order, and which of them are read.

    Attributes:
        source: the base name of the file.
        names: the names of all columns.
        labelled: whether the label is read.
        asked: (A,) int64, the columns that are read: the label's first, then those of the pixels.
    """

    source: str
    names: list[str]
    labelled: bool
    asked: NDArray[np.int64]

    def pick(self, table: NDArray[Any]) -> NDArray[Any]:
        """Of (rows, columns) as the file orders them, (rows, A) as they are asked for."""
        in_order = np.array_equal(self.asked, np.arange(table.shape[1]))
        return table if in_order else table.take(self.asked, axis=1)

    def records(
        self, table: NDArray[np.uint8], places: NDArray[np.int64], rejects: tuple[Reject, ...] = ()
    ) -> Records:
        """Rows of numbers, (rows, A) uint8, as labels and images."""
        if self.labelled:
            labels, images = table[:, 0].astype(np.int64), table[:, 1:]
            return Records(images, labels, places, self.source, rejects)
        return Records(table, None, places, self.source, rejects)

    def fault(self, k: int, cell: bytes, reason: str) -> Fault:
        """What is wrong with the k-th asked cell of a row; `reason` is what it is for a pixel."""
        if self.labelled and k == 0:
            reason = "label_out_of_range" if cell_content(cell) else "label_missing"
        return reason, f"column {self.names[self.asked[k]]} is {_cut(cell.decode())}"


def bind(path: Path, header: bytes, labelled: bool, contract: ImageContract) -> Columns:
    """Find the columns by their names.

    Raises:
        DataError: the first line is no header, or not that of the contract's images.
    """
    wanted = ["label", *(f"pixel{k}" for k in range(contract.pixels))]
    known = set(wanted)
    form = f"label,pixel0,…,pixel{contract.pixels - 1}"
    fail = functools.partial(csv_error, path, line=1)
    try:
        text = header.removeprefix(codecs.BOM_UTF8).decode().rstrip("\r")
    except UnicodeDecodeError:
        raise fail("is not UTF-8 text", "save it as CSV in UTF-8") from None
    if "\r" in text:
        raise fail(*CR_ALONE)
    names = [name.strip(' "') for name in text.split(",")]
    if not text.strip() or all(re.fullmatch("[+-]?[0-9]+", name) for name in names):
        raise fail("has no header", f"put the line {form} first", found=_cut(text))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise fail("has a column twice", "rename or remove one", columns=_some(twice))
    missing = [name for name in wanted if name not in names and (labelled or name != "label")]
    if unknown := [name for name in names if name not in known]:
        close = " or ".join(nearest(unknown[0][:40], missing or wanted))
        remedy = f"rename or remove it; the nearest to {_cut(unknown[0])} is {close}"
        raise fail("has an unknown column", remedy, unknown=_some(unknown), expected=form)
    if missing == ["label"]:
        remedy = "if that is meant, say so: `validate --unlabelled`, or csv:FILE,labelled=false"
        raise fail("has no labels", remedy, missing="'label'", expected=form)
    if missing:
        what, remedy = "has too few columns", "write all columns"
        raise fail(what, remedy, missing=_some(missing), expected=form)
    where = {name: column for column, name in enumerate(names)}
    asked = np.array([where[name] for name in (wanted if labelled else wanted[1:])])
    return Columns(base_name(path), names, labelled, asked)


def judge_lines(chunk: bytes, first: int, columns: Columns) -> Records:
    """The rows of a stretch of whole lines, of which `first` is the number of the first one.

    A fault of a whole line comes before one of its label, that before the first one of a pixel.
    A column nobody asked for may hold anything. A blank line is no row and has no payload.
    """
    cells = cut_cells(chunk)
    width = len(columns.names)
    counts = np.diff(cells.last, prepend=-1)
    is_row = counts == width
    places = np.arange(first, first + len(counts), dtype=np.int64)
    if is_row.all() and cells.known.all():
        return columns.records(columns.pick(cells.values.reshape(-1, width)), places)

    line_ends = cells.ends[cells.last]
    line_starts = np.append(0, line_ends[:-1] + 1)
    faults = _faults_of_lines(chunk, line_starts, line_ends)
    for line in np.flatnonzero(~is_row).tolist():
        detail = f"columns: {counts[line]}, expected: {width}"
        faults.setdefault(line, ("wrong_column_count", detail))

    lines = np.flatnonzero(is_row)
    in_row = np.repeat(is_row, counts)
    table = columns.pick(cells.values[in_row].reshape(-1, width))
    odd = columns.pick(~cells.known[in_row].reshape(-1, width))
    for row in np.flatnonzero(odd.any(axis=1)).tolist():
        line = int(lines[row])
        if line in faults:
            continue
        for k in odd[row].nonzero()[0]:
            cell = chunk[cells.bounds(line, columns.asked[k] - width)].removesuffix(b"\r")
            value = read_cell(cell)
            if isinstance(value, str):
                faults[line] = columns.fault(int(k), cell, value)
                break
            table[row, k] = value

    rejects = []
    for line in sorted(faults):
        text = chunk[line_starts[line] : line_ends[line]]
        payload = text[:_LONGEST_PAYLOAD] if text.strip(BLANK) else b""
        rejects.append(Reject(columns.source, first + line, *faults[line], payload))
    good = is_row.copy()
    good[list(faults)] = False
    return columns.records(table[good[lines]], places[good], tuple(rejects))


def _faults_of_lines(
    chunk: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> dict[int, Fault]:
    """The lines that are not text; blank ones are nothing at all."""
    faults: dict[int, Fault] = {}
    for line in strange_lines(chunk, ends):
        text = chunk[starts[line] : ends[line]]
        if text.strip(BLANK) and (detail := text_fault(text.removesuffix(b"\r"))):
            faults[line] = "undecodable_text", detail
    return faults


def _cut(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(_cut(name) for name in names[:5]) + more


def csv_error(path: Path, what: str, remedy: str, **facts: str | int) -> DataError:
    """The error for a file as a whole."""
    return DataError(f"{base_name(path)} {what}", file=str(path), **facts, remedy=remedy)
