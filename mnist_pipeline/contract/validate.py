"""Judging rows: vectorised masks say why a row is rejected, pandera says whether it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mnist_pipeline.contract.facts import facts_frame
from mnist_pipeline.contract.records import NO_LABEL, Records, Reject
from mnist_pipeline.contract.schema import canaries, rejected_by_schema
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import IntegrityError

FRAME_ROWS = 65_536
"""Rows a pandera call: its cost is fixed (about 10 ms), so frames are large."""


def reasons_for(records: Records, contract: ImageContract) -> dict[str, NDArray[np.bool_]]:
    """For each reason that is possible in parsed rows, which of them it rejects: (N,) bool."""
    count, width = records.images.shape
    reasons = {"image_wrong_size": np.full(count, width != contract.pixels)}
    if records.labels is not None:
        missing = records.labels == NO_LABEL
        outside = (records.labels < 0) | (records.labels >= len(contract.classes))
        reasons["label_missing"] = missing
        reasons["label_out_of_range"] = outside & ~missing
    return reasons


@dataclasses.dataclass
class Judge:
    """Judges blocks of records as they stream by, and has pandera confirm every one.

    `accepts` answers at once from the masks; the facts of the rows are kept until there are
    `FRAME_ROWS` of them and then put before pandera, which must agree row by row. Call `finish`
    after the last block: only then is the answer final.
    """

    contract: ImageContract
    _frames: list[pl.DataFrame] = dataclasses.field(default_factory=list)
    _masks: list[NDArray[np.bool_]] = dataclasses.field(default_factory=list)
    _pending: int = 0
    judged: int = 0

    def judge(self, records: Records) -> tuple[NDArray[np.bool_], list[Reject]]:
        """Which rows are accepted, as (N,) bool, and the others with their reasons."""
        rejected = np.zeros(len(records), np.bool_)
        rejects: list[Reject] = []
        for reason, mask in reasons_for(records, self.contract).items():
            rejects += self._rejects(records, np.flatnonzero(mask & ~rejected), reason)
            rejected |= mask
        self._frames.append(facts_frame(records))
        self._masks.append(rejected)
        self._pending += len(records)
        if self._pending >= FRAME_ROWS:
            self._confirm()
        return ~rejected, rejects

    def finish(self) -> None:
        """Puts the remaining facts before pandera, an empty frame too: canaries always fly.

        Raises:
            IntegrityError: pandera and the masks disagree about a row.
        """
        if self._pending or not self.judged:
            self._confirm()

    def _confirm(self) -> None:
        nothing = canaries(self.contract, labelled=True).clear()
        facts = pl.concat(self._frames or [nothing])
        masks = np.concatenate(self._masks or [np.zeros(0, np.bool_)])
        disputed = rejected_by_schema(facts, self.contract) != masks
        if disputed.any():
            row = int(np.flatnonzero(disputed)[0])
            raise IntegrityError(
                "the schema check and the row checks disagree",
                rows=int(disputed.sum()),
                first=facts.row(row, named=True),
                rejected_by="the row checks" if masks[row] else "the schema check",
                remedy="this is a bug in this program or in pandera; nothing was accepted",
            )
        self.judged += len(facts)
        self._frames, self._masks, self._pending = [], [], 0

    def _rejects(self, records: Records, rows: NDArray[np.int64], reason: str) -> list[Reject]:
        """The rows at the positions `rows`, rejected for one reason."""
        if reason == "image_wrong_size":
            found, expected = records.images.shape[1], self.contract.pixels
            details = [f"{found} pixels, expected {expected}"] * len(rows)
        elif reason == "label_missing" or records.labels is None:
            details = ["no label"] * len(rows)
        else:
            highest = len(self.contract.classes) - 1
            labels = records.labels[rows].tolist()
            details = [f"label {label}, expected 0 to {highest}" for label in labels]
        places = records.places[rows].tolist()
        payloads = (image.tobytes() for image in records.images[rows])
        return [
            Reject(records.source, place, reason, detail, payload)
            for place, detail, payload in zip(places, details, payloads, strict=True)
        ]
