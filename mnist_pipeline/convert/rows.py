"""The rows of a source as ingest judges them; what is rejected goes to whoever keeps it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from mnist_pipeline.contract.quarantine import Sink
from mnist_pipeline.contract.records import PartInput, Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import Rows
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.stages.ingest import accepted_rows

MOST_PLACES = 1_000
"""Rejected rows that are named in an answer; the list names all."""


def judged(
    part: PartInput, contract: ImageContract, *, labelled: bool, rejects: Sequence[Sink] = ()
) -> Iterator[Rows]:
    """The accepted rows of an input, block by block; without labels unless `labelled`.

    The rejected ones go to every sink of `rejects`, block by block too.

    Raises:
        DataError: the input cannot be read.
        ConfigError: labels are wanted, and the source was told to read none.
    """
    for rows in accepted_rows(part.read(contract), contract, _Sinks(rejects)):
        if labelled and rows.labels is None:
            raise ConfigError(
                f"{part.name} was read without labels",
                remedy="add --unlabelled to write none, or leave labelled=false out",
            )
        yield rows if labelled else dataclasses.replace(rows, labels=None)


@dataclasses.dataclass(frozen=True)
class _Sinks:
    sinks: Sequence[Sink]

    def extend(self, rejects: Sequence[Reject], /) -> None:
        for sink in self.sinks:
            sink.extend(rejects)
