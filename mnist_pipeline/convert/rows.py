"""The rows of a source as ingest judges them: the accepted ones, and a list of the others."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mnist_pipeline.contract.quarantine import QUARANTINE_SCHEMA, places_of, quarantine_table
from mnist_pipeline.contract.records import PartInput, Records, Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import Rows
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.stages.ingest import accepted_rows

MOST_PLACES = 1_000
"""Rejected rows that are named in an answer; the list names all."""


def judged(
    part: PartInput,
    contract: ImageContract,
    *,
    labelled: bool,
    take: Callable[[list[Reject]], None],
) -> Iterator[Rows]:
    """The accepted rows of an input, block by block; without labels unless `labelled`.

    The rejected ones are handed to `take`, a block's at a time, in a list that it must empty.

    Raises:
        DataError: the input cannot be read.
        ConfigError: labels are wanted, and the source was told to read none.
    """
    rejects: list[Reject] = []

    def blocks() -> Iterator[Records]:
        for records in part.read(contract):
            yield records
            take(rejects)  # of this block: it was judged before the next one is asked for

    for rows in accepted_rows(blocks(), contract, rejects):
        if labelled and rows.labels is None:
            raise ConfigError(
                f"{part.name} was read without labels",
                remedy="add --unlabelled to write none, or leave labelled=false out",
            )
        yield rows if labelled else dataclasses.replace(rows, labels=None)
    take(rejects)


class RejectList:
    """A Parquet file of rejected rows that grows block by block; without any there is no file.

    Attributes:
        counts: how many rows of all inputs, by reason.
        places: the first ones, for people.
        input_counts, input_places: the same of the last input that was begun.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self.counts: Counter[str] = Counter()
        self.places: list[dict[str, Any]] = []
        self.begin_input()

    def begin_input(self) -> None:
        self.input_counts: Counter[str] = Counter()
        self.input_places: list[dict[str, Any]] = []

    def take(self, rejects: list[Reject]) -> None:
        """Writes some rows and empties the list they came in."""
        if not rejects:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path,
                QUARANTINE_SCHEMA,
                compression="zstd",
                compression_level=1,
                write_page_checksum=True,
            )
        self._writer.write_table(quarantine_table(rejects))
        for counts in (self.counts, self.input_counts):
            counts.update(reject.reason for reject in rejects)
        for places in (self.places, self.input_places):
            places += places_of(rejects, MOST_PLACES - len(places))
        rejects.clear()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
