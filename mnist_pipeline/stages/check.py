"""Check: what ingest and validate would say of some data; nothing of it is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.config import Config
from mnist_pipeline.contract.quarantine import Tally, check_budget
from mnist_pipeline.contract.records import Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.split import Assignment, Digests, Side, assign
from mnist_pipeline.errors import PipelineError
from mnist_pipeline.reporting import Reporter, Step, listening
from mnist_pipeline.stages.ingest import accepted_rows, without_labels
from mnist_pipeline.stages.inputs import inputs_of
from mnist_pipeline.stages.validate import check_classes
from mnist_pipeline.store.objects import Store

MOST_PLACES = 1_000
"""Rejected rows named in the JSON answer; how many more there are stands beside them."""


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a check found; rows = accepted + rejected.

    Attributes:
        tally: the rejected rows by reason, and the first of them.
        error: why the data would be refused as a whole, or None.
    """

    rows: int
    tally: Tally
    error: PipelineError | None

    @property
    def rejected(self) -> dict[str, int]:
        """How many rows were rejected, by reason."""
        return self.tally.rejected

    @property
    def accepted(self) -> int:
        """How many rows were not rejected."""
        return self.rows - self.tally.total

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "places": self.tally.places,
            "places_left_out": self.tally.total - len(self.tally.places),
        }


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Accepted rows of one file without their pixels."""

    source: str
    official: bool
    labels: NDArray[np.uint8]
    digests: Digests
    places: NDArray[np.int64]


def check(config: Config, *, labelled: bool, store: Store | None, reporter: Reporter) -> Findings:
    """Parses and judges every input of a configuration as ingest and validate would.

    Args:
        config: its `data` section says what and how strictly.
        labelled: False for data without labels.
        store: the workspace whose downloads may be used, or None.
        reporter: who is told how far it is.

    Raises:
        ConfigError: a source is wrong.
        DataError: a named input is not there.
    """
    contract = ImageContract()
    tally = Tally(MOST_PLACES)
    errors: list[PipelineError] = []
    kept: list[_Rows] = []
    rows = 0
    limit = config.data.max_reject_fraction
    with listening(reporter):
        inputs = inputs_of(config.data.sources, store, None if labelled else {"labelled": False})
    for source in inputs:
        name = source.part.name
        own = Tally(MOST_PLACES)
        count = 0
        try:
            reporter.begin("validate", name)
            for block in accepted_rows(source.part.read(contract), contract, own):
                count += len(block.images)
                # Who says labelled=false of a source expects none of it.
                if block.labels is None and labelled and source.options.get("labelled", True):
                    raise without_labels(source)
                if block.labels is not None:
                    official = source.part.role == "exam"
                    columns = (block.labels, block.digests, block.places)
                    kept.append(_Rows(block.source, official, *columns))
                reporter.step(Step(rows + count + own.total, 0, "rows", name))
            check_budget(name, count + own.total, own.faults, limit, own.fault_places)
        except PipelineError as error:  # the other inputs are looked at all the same
            errors.append(error)
        rows += count + own.total
        tally.add(own)
    if kept:
        labels, assignment = _assign(kept)
        for rejects in _rejects_across(kept, assignment):
            tally.extend(rejects)
        try:
            check_budget("the data set", rows, tally.faults, limit, tally.fault_places)
            training = labels[assignment.sides == Side.TRAIN]
            check_classes(contract, training, config.data.min_class_share)
        except PipelineError as error:
            errors.append(error)
    return Findings(rows, tally, errors[0] if errors else None)


def _assign(kept: list[_Rows]) -> tuple[NDArray[np.uint8], Assignment]:
    """All labels, and what becomes of each row when the files are looked at together."""
    labels = np.concatenate([block.labels for block in kept])
    digests = np.concatenate([block.digests for block in kept])
    official = np.concatenate([np.full(len(block.labels), block.official) for block in kept])
    return labels, assign(
        digests,
        labels,
        official=official,
        official_is_exam=True,
        origin=np.zeros(len(labels), np.bool_),
        exam_digests=digests[official],
        validation_fraction=0.0,
    )


def _rejects_across(kept: list[_Rows], assignment: Assignment) -> Iterator[list[Reject]]:
    """The rows rejected because of other rows, block by block."""
    reasons = {
        "exam_overlap": (assignment.exam_overlap, "also among the test rows"),
        "conflicting_duplicate": (assignment.conflicting, "the same image has another label too"),
    }
    at = 0
    for block in kept:
        end = at + len(block.labels)
        for reason, (mask, words) in reasons.items():
            found = np.flatnonzero(mask[at:end])
            yield [
                Reject(block.source, place, reason, f"{words} (label {label})")
                for place, label in zip(
                    block.places[found].tolist(), block.labels[found].tolist(), strict=True
                )
            ]
        at = end
