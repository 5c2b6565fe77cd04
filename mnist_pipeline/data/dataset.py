"""Reading the rows of a snapshot: its index says which, its parts hold them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnist_pipeline.contract.facts import DIGEST_BYTES
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import bytes_column, bytes_view, read_rows, read_table
from mnist_pipeline.data.split import Digests, Side
from mnist_pipeline.errors import IntegrityError

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]

INDEX_SCHEMA = pa.schema(
    {
        "part": pa.int32(),
        "row_id": pa.int64(),
        "label": pa.uint8(),
        "digest": pa.binary(DIGEST_BYTES),
        "side": pa.uint8(),
    }
)


@dataclasses.dataclass(frozen=True)
class Index:
    """Every accepted row of every part, in the order of the parts, without its pixels.

    Attributes:
        part: (N,) int32, the position of its part in the snapshot.
        row_id: (N,) int64, its position in that part.
        label: (N,) uint8.
        digest: (N, 16) uint8.
        side: (N,) uint8, values of `Side`.
    """

    part: NDArray[np.int32]
    row_id: NDArray[np.int64]
    label: Labels
    digest: Digests
    side: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.label)

    def by_part(self, parts: int) -> list[slice]:
        """For each of so many parts, where its rows stand; parts are contiguous."""
        edges = np.searchsorted(self.part, np.arange(parts + 1))
        return [slice(first, end) for first, end in itertools.pairwise(edges)]

    def to_table(self) -> pa.Table:
        columns = {
            "part": self.part,
            "row_id": self.row_id,
            "label": self.label,
            "digest": bytes_column(self.digest),
            "side": self.side,
        }
        return pa.table(columns, schema=INDEX_SCHEMA)

    @classmethod
    def read(cls, path: Path) -> Index:
        """The index in a file that `to_table` made.

        Raises:
            IntegrityError: the file is damaged.
        """
        table = read_table(path, INDEX_SCHEMA).combine_chunks()
        columns = {name: table[name] for name in table.column_names}
        digest = columns.pop("digest").combine_chunks()
        arrays = {name: column.to_numpy() for name, column in columns.items()}
        return cls(digest=bytes_view(digest), **arrays)


def read_labels(path: Path, contract: ImageContract) -> tuple[Labels, Digests]:
    """The labels (N,) and digests (N, 16) of a part, without its pixels."""
    labels: list[Labels] = [np.zeros(0, np.uint8)]
    digests: list[Digests] = [np.zeros((0, 16), np.uint8)]
    for batch in read_rows(path, contract, columns=["label", "digest"]):
        labels.append(batch["label"].to_numpy())
        digests.append(bytes_view(batch["digest"]))
    return np.concatenate(labels), np.concatenate(digests)


def read_images(path: Path, contract: ImageContract) -> Iterator[tuple[Images, Labels]]:
    """All rows of a canonical file, block by block: images (B, pixels) and labels (B,)."""
    for batch in read_rows(path, contract, columns=["image", "label"]):
        yield bytes_view(batch["image"]), batch["label"].to_numpy()


def read_side(
    paths: Sequence[Path], index: Index, side: Side, contract: ImageContract
) -> Iterator[tuple[Images, Labels]]:
    """The rows of one side of a snapshot, block by block.

    Args:
        paths: the files of its parts, in the order of the snapshot.
        index: its index.
        side: which rows.
        contract: the contract they were written under.

    Raises:
        IntegrityError: a file is damaged, or there are more or fewer rows than in the index.
    """
    chosen = index.side == side
    start = 0
    for path in paths:
        for images, labels in read_images(path, contract):
            mask = chosen[start : start + len(labels)]
            start += len(labels)
            if len(mask) == len(labels) and mask.any():
                yield (images, labels) if mask.all() else (images[mask], labels[mask])
    if start != len(index):
        raise IntegrityError(
            "the parts of a snapshot do not have the rows of its index",
            expected=len(index),
            found=start,
            remedy="run the pipeline with --force ingest: it makes both anew",
        )


def gather(
    blocks: Iterator[tuple[Images, Labels]], rows: int, pixels: int
) -> tuple[Images, Labels]:
    """Blocks put together: images (N, pixels) uint8 and labels (N,) uint8.

    Args:
        blocks: from `read_side` or `read_images`.
        rows: how many rows there will be, so that they are copied once.
        pixels: pixels an image.
    """
    images = np.empty((rows, pixels), np.uint8)
    labels = np.empty(rows, np.uint8)
    at = 0
    for block, answers in blocks:
        images[at : at + len(block)] = block
        labels[at : at + len(block)] = answers
        at += len(block)
    return images[:at], labels[:at]
