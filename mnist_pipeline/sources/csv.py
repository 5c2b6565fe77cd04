"""CSV files as Kaggle writes MNIST: a header `label,pixel0,…,pixel783`, then one row an image.

A file is read in stretches of whole lines, which are judged line by line (`csv_rows.py`) by array
arithmetic over the whole stretch (`csv_cells.py`). There is one way to read a cell, so a row's fate
never hangs on its neighbours.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mnist_pipeline.contract.records import PartInput, Records
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.plugins import option
from mnist_pipeline.sources.csv_rows import BLANK, CR_ALONE, bind, csv_error, judge_lines
from mnist_pipeline.sources.files import BLOCK_ROWS, FilePart, PlainOrGzip, files_at

# Small enough for a dozen arrays of a byte a byte to stay in the second-level cache.
_CHUNK_BYTES = 1 << 18
_LONGEST_LINE = 1 << 20
_BLOCK_REJECTS = 1_024  # each with a payload of up to 4 KB


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
        dataclasses.MISSING,
        "a file, a folder of *.csv, or a pattern (dir/*.csv), here or in a bucket (s3://…)",
        locates=True,
        bucket=True,
    )
    labelled: bool = option(True, "whether rows have labels; if not, a label column is ignored")

    def parts(self) -> list[PartInput]:
        return [
            CsvPart(path, labelled=self.labelled)
            for path in files_at(self.path, (".csv", ".csv.gz"))
        ]


def _chunks(file: PlainOrGzip) -> Iterator[tuple[int, bytes]]:
    """Stretches of whole lines, each with the number of its first line, from 1."""
    line, tail = 1, b""
    while data := file.read(_CHUNK_BYTES):
        tail += data
        end = tail.find(b"\n")  # a line that one read cannot hold comes first in its stretch
        if (end if end >= 0 else len(tail)) > _LONGEST_LINE:
            what, remedy = "has a line without end", "check that this is a CSV file, with line ends"
            if tail.count(b"\r") > 1:
                what, remedy = CR_ALONE
            expected = f"at most {_LONGEST_LINE:,} bytes a line"
            raise csv_error(file.path, what, remedy, line=line, expected=expected)
        if end >= 0:
            whole = tail[: tail.rfind(b"\n") + 1]
            yield line, whole
            line += whole.count(b"\n")
            tail = tail[len(whole) :]
    if tail:
        yield line, tail + b"\n"


def _pieces(path: Path, labelled: bool, contract: ImageContract) -> Iterator[Records]:
    """The rows of a file, a stretch at a time."""
    with PlainOrGzip(path) as file:
        chunks = _chunks(file)
        _, first = next(chunks, (1, b""))
        if not first:
            raise csv_error(path, "is empty", "fetch the file again")
        header, _, rest = first.partition(b"\n")
        columns = bind(path, header, labelled, contract)
        empty = True
        blank = 0  # blank lines just before this stretch: they mean nothing if nothing follows
        for line, chunk in itertools.chain([(2, rest)], chunks):
            text = chunk.rstrip(BLANK)
            filled = chunk[: chunk.find(b"\n", len(text)) + 1] if text else b""
            if filled:
                empty = False
                for start in range(line - blank, line, BLOCK_ROWS):
                    yield judge_lines(b"\n" * min(BLOCK_ROWS, line - start), start, columns)
                yield judge_lines(filled, line, columns)
                blank = 0
            blank += chunk.count(b"\n", len(filled))
        if empty:
            raise csv_error(path, "has a header and no rows", "fetch it again, or leave it out")


def _joined(pieces: Iterable[Records]) -> Iterator[Records]:
    """Small records put together into blocks of about `BLOCK_ROWS`, or `_BLOCK_REJECTS`."""
    block: list[Records] = []
    rows = rejects = 0
    for piece in pieces:
        block.append(piece)
        rows += len(piece)
        rejects += len(piece.rejects)
        if rows >= BLOCK_ROWS or rejects >= _BLOCK_REJECTS:
            yield _concatenated(block)
            block, rows, rejects = [], 0, 0
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
