"""Small canonical files, for the tests of Parquet and data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mnist_pipeline.contract.facts import row_digests
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import CanonicalWriter, Rows


def rows_of(contract: ImageContract, count: int, seed: int, source: str, first: int) -> Rows:
    """Random rows; the same arguments give the same rows."""
    rng = np.random.default_rng([seed, first])
    images = rng.integers(0, 256, (count, contract.pixels), np.uint8)
    return Rows(
        row_ids=np.arange(first, first + count),
        labels=rng.integers(0, len(contract.classes), count).astype(np.uint8),
        images=images,
        digests=row_digests(images),
        places=np.arange(first, first + count) + 2,
        source=source,
    )


MakePart = Callable[..., list[Rows]]


@pytest.fixture(scope="session")
def make_part() -> MakePart:
    """Writes a canonical file of random rows: `make_part(path, contract, [5, 3])`, two blocks."""

    def make(path: Path, contract: ImageContract, blocks: list[int], seed: int = 0) -> list[Rows]:
        written = []
        first = 0
        with CanonicalWriter(path, contract, labelled=True) as writer:
            for number, count in enumerate(blocks):
                written.append(rows_of(contract, count, seed, f"{number}.csv", first))
                writer.write(written[-1])
                first += count
        assert writer.rows == first
        return written

    return make
