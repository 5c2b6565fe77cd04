"""Rejected rows: counted, shown, kept as Parquet, and the budget that says how many are too many.

Rejects are as many as a file has rows when every one is bad, so nothing here keeps them: a `Tally`
counts, a `QuarantineWriter` writes them to disk as they come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from mnist_pipeline.contract.records import Reject
from mnist_pipeline.errors import DataError

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("place", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
    ]
)

PLACES_SHOWN = 20

NO_FAULT = "exam_overlap"
"""The one reason that is charged to no budget: a file that brings exam questions is not faulty."""

# How much is gathered before it is written as a row group.
_GROUP_ROWS = 8_192
_GROUP_BYTES = 8 << 20


class Sink(Protocol):
    """Where rejected rows go, block by block: a `Tally`, a `QuarantineWriter`, or a list."""

    def extend(self, rejects: Sequence[Reject], /) -> None: ...


class Tally:
    """Counts rejected rows as they stream by, and keeps the first places.

    Attributes:
        places: the first rejected rows, see `places_of`.
        fault_places: the first of those that are charged to the budget.
    """

    def __init__(self, most: int = PLACES_SHOWN) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()
        self.places: list[dict[str, Any]] = []
        self.fault_places: list[dict[str, Any]] = []

    def extend(self, rejects: Sequence[Reject]) -> None:
        """Counts a block of rejected rows."""
        self._counts.update(count_reasons(rejects))
        self.places += places_of(rejects, self._most - len(self.places))
        if wanted := self._most - len(self.fault_places):
            faults = [reject for reject in rejects if reject.reason != NO_FAULT]
            self.fault_places += places_of(faults, wanted)

    def add(self, other: Tally) -> None:
        """Counts what another tally has counted; it must keep as many places as this one."""
        self._counts.update(other.rejected)
        self.places += other.places[: self._most - len(self.places)]
        self.fault_places += other.fault_places[: self._most - len(self.fault_places)]

    @property
    def total(self) -> int:
        """How many rows were rejected."""
        return self._counts.total()

    @property
    def rejected(self) -> dict[str, int]:
        """How many rows were rejected for each reason, by name."""
        return dict(sorted(self._counts.items()))

    @property
    def faults(self) -> dict[str, int]:
        """Those that are charged to the budget."""
        return {reason: count for reason, count in self.rejected.items() if reason != NO_FAULT}


class QuarantineWriter:
    """Writes rejected rows to one Parquet file as they come; if there are none, makes no file.

    Use it as a context manager: the file is complete only after the block was left without an
    exception.

    Attributes:
        tally: the counts and the first places of what was written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._group: list[Reject] = []
        self._bytes = 0
        self.tally = Tally()

    def extend(self, rejects: Sequence[Reject]) -> None:
        """Appends a block of rejected rows."""
        self.tally.extend(rejects)
        self._group += rejects
        self._bytes += sum(len(reject.payload) for reject in rejects)
        if len(self._group) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path,
                QUARANTINE_SCHEMA,
                compression="zstd",
                compression_level=1,
                write_page_checksum=True,
            )
        self._writer.write_table(quarantine_table(self._group))
        self._group, self._bytes = [], 0

    def __enter__(self) -> QuarantineWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._group:
            self._flush()
        if self._writer is not None:
            self._writer.close()


def quarantine_table(rejects: Sequence[Reject]) -> pa.Table:
    """Rejected rows as a table of `QUARANTINE_SCHEMA`."""
    columns = {name: list(map(attrgetter(name), rejects)) for name in QUARANTINE_SCHEMA.names}
    return pa.table(columns, schema=QUARANTINE_SCHEMA)


def rejects_from(rows: pa.Table | pa.RecordBatch) -> list[Reject]:
    """The inverse of `quarantine_table`."""
    columns = [rows.column(name).to_pylist() for name in QUARANTINE_SCHEMA.names]
    return [Reject(*row) for row in zip(*columns, strict=True)]


def count_reasons(rejects: Iterable[Reject]) -> dict[str, int]:
    """How many rows were rejected for each reason, by name."""
    return dict(sorted(Counter(map(attrgetter("reason"), rejects)).items()))


def places_of(rejects: Sequence[Reject], most: int = PLACES_SHOWN) -> list[dict[str, Any]]:
    """The first `most` rejected rows for people and JSON: source, place, reason, detail."""
    return [
        {"source": r.source, "place": r.place, "reason": r.reason, "detail": r.detail}
        for r in rejects[:most]
    ]


def check_budget(
    what: str,
    rows: int,
    rejected: Mapping[str, int],
    limit: float,
    places: Sequence[Mapping[str, Any]],
) -> None:
    """Refuses a file (or a night) of which more than `limit` (0 to 1) was rejected.

    Raises:
        DataError: it was; with the counts by reason and the first places.
    """
    total = sum(rejected.values())
    if rows and total / rows <= limit:
        return
    if not rows:
        raise DataError(
            f"{what} has no rows", source=what, remedy="check that the file is complete"
        )
    share = "all" if total == rows else f"{total:,} of"
    shown = [f"{p['source']}:{p['place']} {p['reason']} ({p['detail']})" for p in places[:5]]
    raise DataError(
        f"{share} {rows:,} rows of {what} were rejected, more than the {limit:.4g} allowed",
        source=what,
        rows=rows,
        rejected=dict(rejected),
        first=shown,
        remedy="mend the rows named above, or raise data.max_reject_fraction",
    )
