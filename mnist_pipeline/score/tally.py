"""The tally: how many rows were answered and how, added up from batches to files to a whole job."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass
class Tally:
    """Counts of rows; rows = scored + abstained + the sum of rejected, always.

    Attributes:
        rows: rows of the input.
        scored: rows with a label.
        abstained: rows whose best label was not confident enough.
        rejected: rows without an image that can be read, by reason.
    """

    rows: int = 0
    scored: int = 0
    abstained: int = 0
    rejected: Counter[str] = dataclasses.field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Adds another tally to this one."""
        self.rows += other.rows
        self.scored += other.scored
        self.abstained += other.abstained
        self.rejected.update(other.rejected)

    @property
    def holds(self) -> bool:
        """Whether every row is answered or explained."""
        return self.rows == self.scored + self.abstained + self.rejected.total()

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "scored": self.scored,
            "abstained": self.abstained,
            "rejected": dict(sorted(self.rejected.items())),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        return cls(data["rows"], data["scored"], data["abstained"], Counter(data["rejected"]))

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """The sum of tallies."""
        whole = cls()
        for tally in tallies:
            whole.add(tally)
        return whole
