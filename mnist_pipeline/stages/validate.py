"""Validate: the parts of a run become one snapshot, judged as a whole and split.

What spans files is checked here, over digests and labels of all rows, every time: images with two
labels, overlap with the exam, balance of the classes. The first training under a model name freezes
its exam here.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.quarantine import (
    Tally,
    check_budget,
)
from mnist_pipeline.contract.records import Role
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data import split
from mnist_pipeline.data.dataset import Index, read_labels
from mnist_pipeline.data.parquet import write_table
from mnist_pipeline.data.split import Side
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.refs import Ref, readable_json, sha256
from mnist_pipeline.stages.exam import ExamChoice, choose_exam
from mnist_pipeline.stages.ingest import Part
from mnist_pipeline.stages.landing import BadFile, check_files, each_once
from mnist_pipeline.stages.rejects import rejects_across, rejects_of_parts, write_quarantine
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.exams import Exam, freeze_exam
from mnist_pipeline.store.lineage import DATASET
from mnist_pipeline.store.registry import Registry

SIDES = {side: side.name.lower() for side in Side if side != Side.REJECTED}


@dataclasses.dataclass(frozen=True)
class PartCounts:
    """What became of the rows of a part.

    Attributes:
        name: what its file is called today.
        role: `train` or `exam`.
        rows: how many there were: accepted + rejected.
        rejected: how many were rejected, by reason, for what is in the file or in others.
    """

    name: str
    role: Role
    rows: int
    rejected: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A data set, frozen: which rows of which parts are used for what.

    Attributes:
        digest: sha256 of its record, and its name in the workspace.
        parts: the canonical files, in order.
        counts: what became of their rows, part by part.
        index: the side of every row.
        exam: what the model is judged on; None where validation rows are all there is.
        exam_changed_to: the digest of another official exam that the sources brought, or None.
        rows: all rows there were: accepted + rejected.
        rejected: how many were rejected, by reason.
        places: the first rejected rows.
        sides: how many rows each side has.
        classes: how many rows of each class, by side.
        bad_files: files of the landing that were left out whole.
        remarks: what else to know of the files, `code: sentence` each.
    """

    digest: str
    parts: Sequence[Ref]
    index: Ref
    exam: Exam | None
    exam_changed_to: str | None
    rows: int
    rejected: Mapping[str, int]
    places: Sequence[Mapping[str, Any]]
    sides: Mapping[str, int]
    classes: Mapping[str, Sequence[int]]
    counts: Sequence[PartCounts] = ()
    bad_files: Sequence[BadFile] = ()
    remarks: Sequence[str] = ()

    def summary(self) -> dict[str, Any]:
        """The `dataset` object of `--json`."""
        return {
            "rows": self.rows,
            "accepted": self.rows - sum(self.rejected.values()),
            "rejected": dict(self.rejected),
            "sides": dict(self.sides),
            "digest": self.digest,
            "bad_files": [bad.to_json() for bad in self.bad_files],
        }

    @property
    def all_remarks(self) -> list[str]:
        """What a person should know of the files beside the verdict, `code: sentence` each."""
        left_out = [
            f"bad_file: without {bad.name}: {bad.error['headline']}" for bad in self.bad_files
        ]
        return [*left_out, *self.remarks]


def validate(run: Run, arrivals: Sequence[Part | BadFile]) -> Snapshot:
    """Checks the parts as a whole, splits them and writes the snapshot.

    Raises:
        DataError: more rows were rejected than the budget allows, a class is missing, or more files
            of the landing are bad than may be.
    """
    bad_files = [arrival for arrival in arrivals if isinstance(arrival, BadFile)]
    check_files(run, bad_files)
    parts, remarks = each_once([part for part in arrivals if isinstance(part, Part)])
    with run.timed("validate", f"{len(parts)} part" + "s" * (len(parts) != 1)) as words:
        write_quarantine(run, rejects_of_parts(run, parts))
        limit = run.config.data.max_reject_fraction
        for part in parts:
            check_budget(part.name, part.rows, part.rejected, limit, part.places)
        if not parts:
            raise DataError(
                "there is nothing to learn from",
                landing=", ".join(run.config.data.landing),
                remedy="let files land there, or name some with data.sources",
            )
        index, official = _read_index(run, parts)
        while True:
            choice = choose_exam(run, parts, index, official)
            assignment = _assign(run, index, official, choice)
            judged = dataclasses.replace(index, side=assignment.sides)
            across = rejects_across(run, parts, judged, assignment)
            tally = write_quarantine(run, itertools.chain(rejects_of_parts(run, parts), across))
            _check_snapshot(run, parts, judged, choice, tally)
            # Nothing can refuse the data any more: now, and only now, may an exam be frozen.
            if choice.exam is None or choice.frozen:
                break
            if freeze_exam(run.store, run.config.name, choice.exam).digest == choice.exam.digest:
                break
        snapshot = dataclasses.replace(
            _write_snapshot(run, parts, judged, choice, tally),
            counts=_counts(parts, judged, assignment),
            bad_files=bad_files,
            remarks=remarks,
        )
        words.append(", ".join(f"{count:,} {side}" for side, count in snapshot.sides.items()))
        return snapshot


def _check_snapshot(
    run: Run, parts: Sequence[Part], index: Index, choice: ExamChoice, tally: Tally
) -> None:
    """What can refuse the data as a whole.

    Raises:
        DataError: too many rows were rejected, or a class is missing.
        ConfigError: there is nothing to judge a model on.
    """
    if not _inspected(run):
        rows = sum(part.rows for part in parts)
        limit = run.config.data.max_reject_fraction
        check_budget("the data set", rows, tally.faults, limit, tally.fault_places)
    training = index.label[index.side == Side.TRAIN]
    check_classes(run.contract, training, run.config.data.min_class_share)
    if choice.exam is None and not (index.side == Side.VALIDATION).any():
        raise ConfigError(
            "without an exam there must be validation rows to judge on",
            rows=len(index),
            remedy="raise data.validation_fraction, give more rows, or leave out --no-exam",
        )


def _inspected(run: Run) -> bool:
    """Whether the budget is that of the new rows alone, which `inspect` looks at.

    What lands may be at odds with rows that were known before; the night is held then, and does
    not fail.
    """
    data = run.config.data
    judged = bool(data.landing) and data.use_exam
    return judged and Registry(run.store).champion(run.config.name) is not None


def _read_index(run: Run, parts: Sequence[Part]) -> tuple[Index, NDArray[np.bool_]]:
    """All rows, not yet assigned, and which of them belong to a source's own test part."""
    columns: list[tuple[Any, ...]] = []
    for number, part in enumerate(parts):
        with run.store.local(part.data.key) as path:
            labels, digests = read_labels(path, run.contract)
        count = len(labels)
        owner = np.full(count, number, np.int32)
        official = np.full(count, part.role == "exam")
        columns.append((owner, np.arange(count, dtype=np.int64), labels, digests, official))
    owner, row_id, labels, digests, official = map(np.concatenate, zip(*columns, strict=True))
    return Index(owner, row_id, labels, digests, np.zeros(len(labels), np.uint8)), official


def _assign(
    run: Run, index: Index, official: NDArray[np.bool_], choice: ExamChoice
) -> split.Assignment:
    return split.assign(
        index.digest,
        index.label,
        official=official,
        official_is_exam=choice.official_counts,
        origin=choice.origin,
        exam_digests=choice.questions,
        validation_fraction=run.config.data.validation_fraction,
        judged=choice.exam is not None,
    )


def check_classes(contract: ImageContract, training: NDArray[np.uint8], min_share: float) -> None:
    """Every class must have its share of the training rows, or nothing is learnt of it.

    Args:
        contract: which classes there are.
        training: (N,) labels of the training rows.
        min_share: the least share of them that a class must have.

    Raises:
        DataError: one has not.
    """
    counts = np.bincount(training, minlength=len(contract.classes))
    least = min_share * len(training)
    for name, count in zip(contract.classes, counts, strict=True):
        if count == 0 or count < least:
            missing = "is missing from" if count == 0 else "is too rare in"
            raise DataError(
                f"the class {name!r} {missing} the training rows",
                rows=len(training),
                of_this_class=int(count),
                at_least=int(np.ceil(max(least, 1))),
                remedy="add rows of this class, or lower data.min_class_share",
            )


def _counts(
    parts: Sequence[Part], index: Index, assignment: split.Assignment
) -> tuple[PartCounts, ...]:
    across = {
        "conflicting_duplicate": assignment.conflicting,
        "exam_overlap": assignment.exam_overlap,
    }
    counts = []
    for part, own in zip(parts, index.by_part(len(parts)), strict=True):
        found = {reason: int(mask[own].sum()) for reason, mask in across.items()}
        rejected = {**part.rejected, **{reason: count for reason, count in found.items() if count}}
        counts.append(PartCounts(part.name, part.role, part.rows, rejected))
    return tuple(counts)


def _write_snapshot(
    run: Run, parts: Sequence[Part], index: Index, choice: ExamChoice, tally: Tally
) -> Snapshot:
    with run.store.scratch() as folder:
        path = folder / "index.parquet"
        write_table(path, index.to_table())
        digest = sha256(path.read_bytes())
        index_ref = run.store.upload(path, f"datasets/{digest}.index.parquet", rows=len(index))
    classes = len(run.contract.classes)
    by_side = {name: index.label[index.side == side] for side, name in SIDES.items()}
    by_side = {name: labels for name, labels in by_side.items() if len(labels)}
    counts: dict[str, Any] = {
        "rows": sum(part.rows for part in parts),
        "rejected": tally.rejected,
        "sides": {name: len(labels) for name, labels in by_side.items()},
        "classes": {
            name: np.bincount(labels, minlength=classes).tolist()
            for name, labels in by_side.items()
        },
    }
    record = {
        "format": 1,
        "contract": run.contract.to_json(),
        "parts": [
            {
                **part.data.to_json(),
                "name": part.first_name if part.landing else part.name,
                "role": part.role,
            }
            for part in parts
        ],
        "split": {
            "rule": "xxh3-128 of the image: bytes 0-7 exam, 8-15 validation",
            "validation_fraction": run.config.data.validation_fraction,
        },
        "exam": choice.exam.digest if choice.exam else None,
        "counts": counts,
        "index": index_ref.to_json(),
    }
    data = readable_json(record)
    digest = sha256(data)
    run.store.put(f"datasets/{digest}.json", data)
    run.store.put(run.key(DATASET), readable_json({"dataset": digest}))
    return Snapshot(
        digest=digest,
        parts=tuple(part.data for part in parts),
        index=index_ref,
        exam=choice.exam,
        exam_changed_to=choice.changed_to,
        places=tally.places,
        **counts,
    )
