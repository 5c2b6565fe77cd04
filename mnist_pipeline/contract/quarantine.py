"""Rejected rows as Parquet, and the budget that says how many are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

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


def quarantine_table(rejects: Sequence[Reject]) -> pa.Table:
    """Rejected rows as a table of `QUARANTINE_SCHEMA`."""
    columns: dict[str, list[Any]] = {
        name: [getattr(reject, name) for reject in rejects] for name in QUARANTINE_SCHEMA.names
    }
    return pa.table(columns, schema=QUARANTINE_SCHEMA)


def rejects_from(table: pa.Table) -> list[Reject]:
    """The inverse of `quarantine_table`."""
    return [Reject(**row) for row in table.select(QUARANTINE_SCHEMA.names).to_pylist()]


def count_reasons(rejects: Iterable[Reject]) -> dict[str, int]:
    """How many rows were rejected for each reason, by name."""
    return dict(sorted(Counter(reject.reason for reject in rejects).items()))


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
