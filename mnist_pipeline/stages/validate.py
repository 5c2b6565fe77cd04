"""Validate: the parts of a run become one snapshot, judged as a whole and split.

What spans files is checked here, over digests and labels of all rows, every time: images with two
labels, overlap with the exam, balance of the classes. The first training under a model name freezes
its exam here.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.quarantine import (
    QUARANTINE_SCHEMA,
    QuarantineWriter,
    Tally,
    check_budget,
    rejects_from,
)
from mnist_pipeline.contract.records import Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data import split
from mnist_pipeline.data.dataset import Index, read_labels
from mnist_pipeline.data.parquet import bytes_view, read_batches, read_rows, write_table
from mnist_pipeline.data.split import Side
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.refs import Ref, readable_json, sha256
from mnist_pipeline.stages.exam import ExamChoice, choose_exam
from mnist_pipeline.stages.ingest import Part
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.exams import Exam, freeze_exam
from mnist_pipeline.store.lineage import DATASET

SIDES = {side: side.name.lower() for side in Side if side != Side.REJECTED}


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A data set, frozen: which rows of which parts are used for what.

    Attributes:
        digest: sha256 of its record, and its name in the workspace.
        parts: the canonical files, in order.
        index: the side of every row.
        exam: what the model is judged on; None where validation rows are all there is.
        exam_changed_to: the digest of another official exam that the sources brought, or None.
        rows: all rows there were: accepted + rejected.
        rejected: how many were rejected, by reason.
        places: the first rejected rows.
        sides: how many rows each side has.
        classes: how many rows of each class, by side.
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

    def summary(self) -> dict[str, Any]:
        """The `dataset` object of `--json`."""
        return {
            "rows": self.rows,
            "accepted": self.rows - sum(self.rejected.values()),
            "rejected": dict(self.rejected),
            "sides": dict(self.sides),
            "digest": self.digest,
        }


def validate(run: Run, parts: Sequence[Part]) -> Snapshot:
    """Checks the parts as a whole, splits them and writes the snapshot.

    Raises:
        DataError: more rows were rejected than the budget allows, or a class is missing.
    """
    parts = _each_once(run, parts)
    with run.timed("validate", f"{len(parts)} part" + "s" * (len(parts) != 1)) as words:
        _write_quarantine(run, _rejects_of_parts(run, parts))
        limit = run.config.data.max_reject_fraction
        for part in parts:
            check_budget(part.name, part.rows, part.rejected, limit, part.places)
        index, official = _read_index(run, parts)
        while True:
            choice = choose_exam(run, parts, index, official)
            assignment = _assign(run, index, official, choice)
            judged = dataclasses.replace(index, side=assignment.sides)
            across = _rejects_across(run, parts, judged, assignment)
            tally = _write_quarantine(run, itertools.chain(_rejects_of_parts(run, parts), across))
            _check_snapshot(run, parts, judged, choice, tally)
            # Nothing can refuse the data any more: now, and only now, may an exam be frozen.
            if choice.exam is None or choice.frozen:
                break
            if freeze_exam(run.store, run.config.name, choice.exam).digest == choice.exam.digest:
                break
        snapshot = _write_snapshot(run, parts, judged, choice, tally)
        words.append(", ".join(f"{count:,} {side}" for side, count in snapshot.sides.items()))
        return snapshot


def _each_once(run: Run, parts: Sequence[Part]) -> list[Part]:
    """The parts without those given twice: their rows would count double."""
    once: dict[tuple[str, str], Part] = {}
    for part in parts:
        if once.setdefault((part.data.digest, part.role), part) is not part:
            run.reporter.note(f"{part.name} has the same rows as an input before it: counted once")
    return list(once.values())


def _check_snapshot(
    run: Run, parts: Sequence[Part], index: Index, choice: ExamChoice, tally: Tally
) -> None:
    """What can refuse the data as a whole.

    Raises:
        DataError: too many rows were rejected, or a class is missing.
        ConfigError: there is nothing to judge a model on.
    """
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


def _rejects_of_parts(run: Run, parts: Sequence[Part]) -> Iterator[list[Reject]]:
    """What ingest rejected, block by block."""
    for part in parts:
        if part.quarantine:
            with run.store.local(part.quarantine.key) as path:
                for batch in read_batches(path, QUARANTINE_SCHEMA):
                    # A file that was ingested under another name goes by the one it has today.
                    yield [dataclasses.replace(r, source=part.name) for r in rejects_from(batch)]


def _rejects_across(
    run: Run, parts: Sequence[Part], index: Index, assignment: split.Assignment
) -> Iterator[list[Reject]]:
    """The rows rejected because of other rows, with the places they came from, block by block."""
    reasons = (
        ("exam_overlap", assignment.exam_overlap, "an exam question of this model name"),
        ("conflicting_duplicate", assignment.conflicting, "the same image has another label too"),
    )
    for part, own in zip(parts, index.by_part(len(parts)), strict=True):
        if not (index.side[own] == Side.REJECTED).any():
            continue
        at = 0
        with run.store.local(part.data.key) as path:
            columns = ["label", "image", "source", "place"]
            for batch in read_rows(path, run.contract, columns=columns):
                images = bytes_view(batch["image"])
                rejects: list[Reject] = []
                for reason, mask, words in reasons:
                    found = np.flatnonzero(mask[own][at : at + len(batch)])
                    rows = batch.select(["source", "place", "label"]).take(found).to_pylist()
                    for row, image in zip(rows, images[found], strict=True):
                        detail = f"{words} (label {row['label']})"
                        reject = Reject(row["source"], row["place"], reason, detail, bytes(image))
                        rejects.append(reject)
                yield rejects
                at += len(batch)


def _write_quarantine(run: Run, blocks: Iterable[list[Reject]]) -> Tally:
    """Writes the rejected rows of this run, if there are any, and counts them."""
    with run.store.scratch() as folder:
        path = folder / "rejected.parquet"
        with QuarantineWriter(path) as quarantine:
            for rejects in blocks:
                quarantine.extend(rejects)
        if quarantine.tally.total:
            run.store.upload(path, f"quarantine/{run.id}/rejected.parquet")
    return quarantine.tally


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
        "parts": [{**part.data.to_json(), "name": part.name, "role": part.role} for part in parts],
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
