"""Which rows a model is judged on, and what therefore never trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.data import split
from mnist_pipeline.data.dataset import Index, read_labels
from mnist_pipeline.data.parquet import ROW_GROUP, CanonicalWriter, Rows, bytes_view, read_rows
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.stages.ingest import Part
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.exams import Exam, Kind, exam_digest, exam_key, exam_of, offer_exam


@dataclasses.dataclass(frozen=True)
class ExamChoice:
    """The exam for a run, before it is frozen.

    Attributes:
        exam: what the model is judged on; None when validation rows are all there is.
        frozen: whether the model name already has it.
        questions: (E, 16) uint8, the digests of rows that must not train.
        origin: (N,) bool, rows of the parts from which the exam was cut.
        official_counts: whether the sources' own test rows are that exam.
        changed_to: the digest of another official exam which the sources brought, or None.
    """

    exam: Exam | None
    frozen: bool
    questions: split.Digests
    origin: NDArray[np.bool_]
    official_counts: bool
    changed_to: str | None


def choose_exam(
    run: Run, parts: Sequence[Part], index: Index, official: NDArray[np.bool_]
) -> ExamChoice:
    """The exam of the run's model name, or the one it would freeze; freezes nothing.

    Raises:
        ConfigError: the model name was trained under another contract.
        DataError: there are no rows to cut an exam from.
    """
    known = exam_of(run.store, run.config.name)
    if known and known.contract != run.contract.fingerprint:
        raise ConfigError(
            f"the model {run.config.name!r} was trained on images of another contract",
            expected=known.contract[:12],
            found=run.contract.fingerprint[:12],
            remedy="train this data under another --name",
        )
    if known and _made_of(run, known, parts):
        return ExamChoice(
            exam=known,
            frozen=True,
            questions=exam_questions(run, known),
            origin=_origin(parts, index, known),
            official_counts=True,
            changed_to=None,
        )
    cut = _official_or_share(run, index, official, known)
    if not run.config.data.use_exam:
        questions = exam_questions(run, known) if known else index.digest[cut]
        origin = _origin(parts, index, known) if known else ~official & ~official.any()
        return ExamChoice(None, False, questions, origin, False, None)
    offered = None
    if cut.any():
        kind: Kind = "official" if official.any() else "share"
        offered = _offer(run, parts, index, cut, kind, known)
    exam = known or offered
    if exam is None:
        raise DataError(
            "there are no rows to make an exam of",
            rows=len(index),
            remedy="give more rows, raise data.exam_fraction, or judge with --no-exam",
        )
    return ExamChoice(
        exam=exam,
        frozen=known is not None,
        questions=exam_questions(run, exam),
        origin=_origin(parts, index, exam),
        official_counts=exam.kind == "official" and exam == (offered or exam),
        changed_to=offered.digest if offered and offered.digest != exam.digest else None,
    )


def _made_of(run: Run, exam: Exam, parts: Sequence[Part]) -> bool:
    """Whether the sources' own test parts are, by their keys, those that the exam was made of."""
    official = tuple(part.key for part in parts if part.role == "exam")
    same = exam.kind == "official" and exam.origins == official
    return same and run.config.data.use_exam and run.store.verifies(exam.data)


def _official_or_share(
    run: Run, index: Index, official: NDArray[np.bool_], known: Exam | None
) -> NDArray[np.bool_]:
    """The rows that this data would give an exam: (N,) bool; none if there is one already."""
    if official.any():
        return split.official_exam(index.digest, index.label, official)
    if known:
        return np.zeros(len(index), np.bool_)
    fraction = run.config.data.exam_fraction
    return split.share_exam(index.digest, index.label, official, fraction)


def _origin(parts: Sequence[Part], index: Index, exam: Exam) -> NDArray[np.bool_]:
    return np.array([part.key in exam.origins for part in parts], np.bool_)[index.part]


def exam_questions(run: Run, exam: Exam) -> split.Digests:
    """The digests of an exam's images, (E, 16) uint8."""
    with run.store.local(exam.data.key) as path:
        return read_labels(path, run.contract)[1]


def _offer(
    run: Run,
    parts: Sequence[Part],
    index: Index,
    cut: NDArray[np.bool_],
    kind: Kind,
    known: Exam | None,
) -> Exam:
    """The exam made of the rows `cut`, its rows written unless they are known."""
    digest = exam_digest(index.digest[cut], index.label[cut])
    if known and known.digest == digest and run.store.verifies(known.data):
        return known
    with run.store.scratch() as folder:
        _write_exam(run, parts, index, cut, folder / "exam.parquet")
        rows = int(cut.sum())
        data = run.store.upload(folder / "exam.parquet", exam_key(digest), rows=rows)
    if known and known.digest == digest:
        return known  # its rows were damaged, and are whole again
    origins = tuple(part.key for part in parts if (part.role == "exam") == (kind == "official"))
    exam = Exam(digest, kind, run.contract.fingerprint, origins, data)
    offer_exam(run.store, exam)
    return exam


def _write_exam(
    run: Run, parts: Sequence[Part], index: Index, cut: NDArray[np.bool_], path: Path
) -> None:
    """The rows `cut` as a file, sorted by digest: the same exam is always the same bytes."""
    images = np.empty((int(cut.sum()), run.contract.pixels), np.uint8)
    filled = 0
    for part, rows in zip(parts, index.by_part(len(parts)), strict=True):
        chosen = cut[rows]
        at = 0
        with run.store.local(part.data.key) as file:
            for batch in read_rows(file, run.contract, columns=["image"]):
                block = bytes_view(batch["image"])[chosen[at : at + len(batch)]]
                images[filled : filled + len(block)] = block
                filled += len(block)
                at += len(batch)
    labels, digests = index.label[cut], index.digest[cut]
    order = np.lexsort(digests.T[::-1])
    with CanonicalWriter(path, run.contract, labelled=True) as writer:
        for start in range(0, len(order), ROW_GROUP):
            rows_here = order[start : start + ROW_GROUP]
            numbers = np.arange(start, start + len(rows_here), dtype=np.int64)
            writer.write(
                Rows(
                    row_ids=numbers,
                    labels=labels[rows_here],
                    images=images[rows_here],
                    digests=digests[rows_here],
                    places=numbers,
                    source="exam",
                )
            )
