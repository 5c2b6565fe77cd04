"""Check: what ingest would say of some data; nothing of it is kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mnist_pipeline.config import Config
from mnist_pipeline.contract.quarantine import (
    PLACES_SHOWN,
    check_budget,
    count_reasons,
    places_of,
)
from mnist_pipeline.contract.records import Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.split import conflicting
from mnist_pipeline.errors import PipelineError
from mnist_pipeline.reporting import Reporter, Step
from mnist_pipeline.stages.ingest import Input, accepted_rows, inputs_of
from mnist_pipeline.store.objects import Store


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a check found; rows = accepted + rejected.

    Attributes:
        places: the first rejected rows: source, place, reason, detail.
        error: why the data would be refused as a whole, or None.
    """

    rows: int
    accepted: int
    rejected: dict[str, int]
    places: list[dict[str, Any]]
    error: PipelineError | None

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "places": self.places,
        }


def check(config: Config, *, labelled: bool, reporter: Reporter) -> Findings:
    """Parses and judges every input of a configuration as ingest and validate would.

    Raises:
        ConfigError: a source is wrong.
        DataError: a whole input cannot be read.
    """
    contract = ImageContract()
    rejects: list[Reject] = []
    error: PipelineError | None = None
    limit = config.data.max_reject_fraction
    accepted: list[_Accepted] = []
    rows = 0
    scratch = Store.open("memory://")
    overrides = {} if labelled else {"labelled": False}
    for source in inputs_of(config.data.sources, scratch, overrides):
        name = source.part.name
        reporter.begin("validate", name)
        before = len(rejects)
        count = 0
        for block in accepted_rows(source.part.read(contract), contract, rejects):
            count += len(block.images)
            if block.labels is not None:
                accepted.append(_Accepted(block.source, block.labels, block.digests, block.places))
            reporter.step(Step(rows + count, 0, "rows", name))
        own = rejects[before:]
        rows += count + len(own)
        error = error or _over_budget(source, count + len(own), own, limit)
    conflicts = _conflicts(accepted)
    rejects += conflicts
    if error is None:
        try:
            check_budget("the data set", rows, count_reasons(rejects), limit, places_of(rejects))
        except PipelineError as problem:
            error = problem
    return Findings(
        rows,
        rows - len(rejects),
        count_reasons(rejects),
        places_of(rejects, PLACES_SHOWN),
        error,
    )


@dataclasses.dataclass(frozen=True)
class _Accepted:
    """Rows without their pixels."""

    source: str
    labels: np.ndarray[Any, np.dtype[np.uint8]]
    digests: np.ndarray[Any, np.dtype[np.uint8]]
    places: np.ndarray[Any, np.dtype[np.int64]]


def _over_budget(
    source: Input, rows: int, rejects: list[Reject], limit: float
) -> PipelineError | None:
    try:
        check_budget(source.part.name, rows, count_reasons(rejects), limit, places_of(rejects))
    except PipelineError as error:
        return error
    return None


def _conflicts(blocks: list[_Accepted]) -> list[Reject]:
    """Rows whose image occurs with another label too, in any of the files."""
    if not blocks:
        return []
    labels = np.concatenate([block.labels for block in blocks])
    digests = np.concatenate([block.digests for block in blocks])
    guilty = conflicting(digests, labels)
    rejects = []
    at = 0
    for block in blocks:
        for row in np.flatnonzero(guilty[at : at + len(block.labels)]):
            detail = f"the same image has another label too (label {block.labels[row]})"
            place = int(block.places[row])
            rejects.append(Reject(block.source, place, "conflicting_duplicate", detail))
        at += len(block.labels)
    return rejects
