"""The rejected rows of a run: those of its parts, and those that only other rows make wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mnist_pipeline.contract.quarantine import (
    QUARANTINE_SCHEMA,
    QuarantineWriter,
    Tally,
    rejects_from,
)
from mnist_pipeline.contract.records import Reject
from mnist_pipeline.data import split
from mnist_pipeline.data.dataset import Index
from mnist_pipeline.data.parquet import bytes_view, read_batches, read_rows
from mnist_pipeline.data.split import Side
from mnist_pipeline.stages.ingest import Part
from mnist_pipeline.stages.run import Run


def rejects_of_parts(run: Run, parts: Sequence[Part]) -> Iterator[list[Reject]]:
    """What ingest rejected, block by block."""
    for part in parts:
        if part.quarantine:
            with run.store.local(part.quarantine.key) as path:
                for batch in read_batches(path, QUARANTINE_SCHEMA):
                    # A file that was ingested under another name goes by the one it has today.
                    yield [dataclasses.replace(r, source=part.name) for r in rejects_from(batch)]


def rejects_across(
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


def write_quarantine(run: Run, blocks: Iterable[list[Reject]]) -> Tally:
    """Writes the rejected rows of this run, if there are any, and counts them."""
    with run.store.scratch() as folder:
        path = folder / "rejected.parquet"
        with QuarantineWriter(path) as quarantine:
            for rejects in blocks:
                quarantine.extend(rejects)
        if quarantine.tally.total:
            run.store.upload(path, f"quarantine/{run.id}/rejected.parquet")
    return quarantine.tally
