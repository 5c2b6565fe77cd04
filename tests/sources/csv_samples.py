"""CSV files for tests: Kaggle's of random digits, and tiny ones of three pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.records import Records
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.sources.csv import CsvPart

CONTRACT = ImageContract()
HEADER = "label," + ",".join(f"pixel{k}" for k in range(784))
TINY = ImageContract(height=1, width=3)
TINY_HEADER = "label,pixel0,pixel1,pixel2"


def rows(n: int, seed: int = 0) -> NDArray[np.uint8]:
    """(n, 785) uint8: a digit and its pixels."""
    random = np.random.default_rng(seed)
    table = random.integers(0, 256, (n, 785), dtype=np.uint8)
    table[:, 0] %= 10
    return table


def text(table: NDArray[np.uint8], header: str = HEADER) -> str:
    """A table as a file."""
    lines = [",".join(map(str, row)) for row in table.tolist()]
    return "\n".join([header, *lines]) + "\n"


def tiny(*lines: str) -> str:
    """A file of three pixels an image."""
    return "\n".join([TINY_HEADER, *lines]) + "\n"


def read(
    folder: Path, content: bytes | str, contract: ImageContract = TINY, labelled: bool = True
) -> Records:
    """All records of a file with this content, as one."""
    path = folder / "digits.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    blocks = list(CsvPart(path, labelled=labelled).read(contract))
    assert all(block.images.flags.c_contiguous for block in blocks)
    labels = [block.labels for block in blocks if block.labels is not None]
    return Records(
        np.concatenate([block.images for block in blocks]),
        np.concatenate(labels) if labels else None,
        np.concatenate([block.places for block in blocks]),
        blocks[0].source,
        tuple(reject for block in blocks for reject in block.rejects),
    )


Outcome = tuple[int, list[int] | tuple[str, str, bytes]]


def outcomes(records: Records) -> list[Outcome]:
    """What became of each row, by place: its numbers, or reason, detail and payload."""
    table = records.images
    if records.labels is not None:
        table = np.column_stack([records.labels, table])
    kept: list[Outcome] = list(zip(records.places.tolist(), table.tolist(), strict=True))
    rejected = [(r.place, (r.reason, r.detail, r.payload)) for r in records.rejects]
    assert [place for place, _ in rejected] == sorted(place for place, _ in rejected)
    return sorted([*kept, *rejected], key=lambda outcome: outcome[0])
