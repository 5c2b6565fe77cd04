"""Suspicions: what speaks against new rows before anybody has looked at their pixels."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.quarantine import NO_FAULT
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.dataset import Index
from mnist_pipeline.data.split import Side, contained, group
from mnist_pipeline.evaluate.metrics import percent
from mnist_pipeline.stages.validate import PartCounts

HALF = 0.5
"""A file of which more is known already, or belongs to the exam, was not meant as new data."""

EXPECTED = 20
"""A class of which fewer rows were to be expected may be missing by chance."""


@dataclasses.dataclass(frozen=True, eq=False)
class NewRows:
    """The rows of a part that the champion has not learned from.

    Attributes:
        number: the part's position in the snapshot.
        counts: what became of its rows.
        rows: where they stand in the index.
        accepted: (n,) bool, which of them may be learned from.
    """

    number: int
    counts: PartCounts
    rows: slice
    accepted: NDArray[np.bool_]


def new_rows(index: Index, counts: Sequence[PartCounts], numbers: Sequence[int]) -> list[NewRows]:
    """The rows of the parts with these numbers."""
    places = index.by_part(len(counts))
    return [
        NewRows(number, counts[number], rows, index.side[rows] <= Side.VALIDATION)
        for number in numbers
        for rows in [places[number]]
    ]


def suspicions(
    index: Index,
    new: Sequence[NewRows],
    *,
    contract: ImageContract,
    learned: Sequence[int] | None,
    champion: str,
    max_reject_fraction: float,
    min_class_share: float,
) -> list[str]:
    """Reasons to hold a run, `code: sentence` each.

    Args:
        index: all rows of the snapshot.
        new: those which are new.
        contract: which classes there are.
        learned: how many rows of each class the champion has learned from; None if nobody knows.
        champion: what a person calls it.
        max_reject_fraction: the share of new rows that may be rejected, of a file and of all.
        min_class_share: the least share of them that a class must have.
    """
    reasons = _rejected(new, max_reject_fraction)
    repeated = _repeated(index, new)
    for part, again in zip(new, repeated, strict=True):
        name, rows = part.counts.name, part.counts.rows
        asked = part.counts.rejected.get(NO_FAULT, 0)
        if asked > HALF * rows:
            reasons.append(
                f"exam_overlap: of {name} {asked:,} of {rows:,} rows are questions of the exam"
            )
        if again > HALF * rows:
            reasons.append(
                f"known_rows: of {name} {again:,} of {rows:,} rows are in the data set already and "
                "would count double"
            )
    labels = np.concatenate([index.label[part.rows][part.accepted] for part in new])
    if learned is not None:
        reasons += _missing(labels, learned, contract, champion, min_class_share, new)
    return reasons


def _rejected(new: Sequence[NewRows], limit: float) -> list[str]:
    """The budget holds for each file and for all that is new; the exam's questions are no fault."""
    total: dict[str, int] = {}
    reasons = []
    for part in new:
        faults = {r: count for r, count in part.counts.rejected.items() if r != NO_FAULT}
        for reason, count in faults.items():
            total[reason] = total.get(reason, 0) + count
        reasons += _beyond(part.counts.name, part.counts.rows, faults, limit)
    rows = sum(part.counts.rows for part in new)
    return reasons or _beyond(f"all new files together ({_names(new)})", rows, total, limit)


def _beyond(what: str, rows: int, faults: Mapping[str, int], limit: float) -> list[str]:
    bad = sum(faults.values())
    if bad <= limit * rows:
        return []
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(faults.items()))
    allowed = f"more than the {limit:.4g} allowed"
    return [f"rejects: of {what} {bad:,} of {rows:,} rows were rejected ({counts}), {allowed}"]


def _repeated(index: Index, new: Sequence[NewRows]) -> list[int]:
    """How many accepted rows of each new part show an image that an earlier row shows already."""
    fresh = np.zeros(len(index), np.bool_)
    for part in new:
        fresh[part.rows] = True
    in_order = np.concatenate([np.arange(part.rows.start, part.rows.stop) for part in new])
    digests = index.digest[in_order]
    ids, _, _ = group(digests)
    _, first = np.unique(ids, return_index=True)
    again = np.ones(len(digests), np.bool_)
    again[first] = False
    again |= contained(digests, index.digest[~fresh])
    again &= np.concatenate([part.accepted for part in new])
    edges = np.cumsum([0, *(part.rows.stop - part.rows.start for part in new)])
    return [int(again[a:b].sum()) for a, b in itertools.pairwise(edges)]


def _missing(
    labels: NDArray[Any],
    learned: Sequence[int],
    contract: ImageContract,
    champion: str,
    min_share: float,
    new: Sequence[NewRows],
) -> list[str]:
    """Classes that the champion knows and of which next to nothing has come."""
    found = np.bincount(labels, minlength=len(learned))
    reasons = []
    for name, known, count in zip(contract.classes, learned, found.tolist(), strict=True):
        share = known / max(sum(learned), 1)
        expected = share * len(labels)
        if expected >= EXPECTED and count < min(min_share * len(labels), expected / 10):
            number = f"{count:,}" if count else "none"
            reasons.append(
                f"class_missing: {number} of {len(labels):,} new rows ({_names(new)}) shows "
                f"{name!r}, but {percent(share)} of what {champion} learned from do"
            )
    return reasons


def _names(new: Sequence[NewRows], most: int = 5) -> str:
    return ", ".join(part.counts.name for part in new[:most]) + ", …" * (len(new) > most)
