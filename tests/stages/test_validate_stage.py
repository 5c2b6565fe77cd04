"""Validate: a run's quarantine holds what its parts rejected and what stands across them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small import write_idx

from mnist_pipeline.contract.quarantine import QUARANTINE_SCHEMA, rejects_from
from mnist_pipeline.contract.records import Reject
from mnist_pipeline.errors import DataError, IntegrityError
from mnist_pipeline.store.objects import Store

Table = tuple[np.ndarray, np.ndarray]
IMAGES = "train-images-idx3-ubyte"


def quarantine(workspace: Path) -> list[Reject]:
    """The rejected rows of the only run that has any."""
    (file,) = (workspace / "quarantine").rglob("*.parquet")
    table = pq.read_table(file)
    assert table.schema.equals(QUARANTINE_SCHEMA)
    return rejects_from(table)


def test_the_quarantine_of_a_run(train, tmp_path: Path, workspace: Path, digits: Table) -> None:
    images, labels = digits[0], digits[1].copy()
    labels[5] = 99
    labels[401] = (labels[400] + 1) % 10
    images = images.copy()
    images[401] = images[400]  # one image, two labels
    write_idx(tmp_path / "a", "train", images[:450], labels[:450])
    write_idx(tmp_path / "b", "train", images[450:], np.full(150, 5, np.uint8))
    write_idx(tmp_path / "a", "t10k", images[440:460], labels[440:460])  # ten of each
    sources = [f"idx:{tmp_path / 'a'}", f"idx:{tmp_path / 'b'}"]
    result = train(sources, "data.max_reject_fraction=0.1")
    rejects = quarantine(workspace)
    counts = {"conflicting_duplicate": 2, "exam_overlap": 20, "label_out_of_range": 1}
    assert result.dataset["rejected"] == Counter(reject.reason for reject in rejects) == counts
    assert result.dataset["rows"] == 620 == result.dataset["accepted"] + len(rejects)
    assert (rejects[0].place, rejects[0].payload) == (5, images[5].tobytes())
    assert [reject.place for reject in rejects[1:]] == [*range(440, 450), 400, 401, *range(10)]
    for reject in rejects[1:]:
        block = images[450:] if reject.place < 10 else images
        assert reject.payload == block[reject.place].tobytes()


def test_a_refused_run_leaves_its_quarantine(
    train, tmp_path: Path, workspace: Path, digits: Table
) -> None:
    write_idx(tmp_path / "old", "train", digits[0], np.full(600, 200, np.uint8))
    with pytest.raises(DataError, match="all 600 rows of train-images"):
        train(f"idx:{tmp_path / 'old'}")
    rejects = quarantine(workspace)
    assert [reject.place for reject in rejects] == list(range(600))
    assert {reject.source for reject in rejects} == {IMAGES}


def test_a_file_goes_by_the_name_it_has_today(
    train, tmp_path: Path, workspace: Path, digits: Table
) -> None:
    labels = digits[1].copy()
    labels[7] = 200
    write_idx(tmp_path / "idx", "train", digits[0], labels)
    train(f"idx:{tmp_path / 'idx'}")
    (first,) = (workspace / "quarantine").iterdir()
    for kind, dims in ("images", 3), ("labels", 1):
        file = tmp_path / "idx" / f"train-{kind}-idx{dims}-ubyte"
        file.rename(file.with_name(f"new-{kind}-idx{dims}-ubyte"))
    train(f"idx:{tmp_path / 'idx'}", "train.seed=1")
    (second,) = (run for run in (workspace / "quarantine").iterdir() if run != first)
    names = [
        {reject.source for reject in rejects_from(pq.read_table(run / "rejected.parquet"))}
        for run in (first, second)
    ]
    assert names == [{IMAGES}, {"new-images-idx3-ubyte"}]


def test_a_damaged_quarantine_is_named(
    train, tmp_path: Path, workspace: Path, digits: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = digits[1].copy()
    labels[7] = 200
    write_idx(tmp_path / "idx", "train", digits[0], labels)
    train(f"idx:{tmp_path / 'idx'}")
    (file,) = (workspace / "parts").rglob("rejected.parquet")
    file.write_bytes(file.read_bytes()[:-9])
    # Ingest would make it anew; damaged between that look and this one, it stops everything.
    monkeypatch.setattr(Store, "verifies", lambda self, ref: True)
    with pytest.raises(IntegrityError, match="damaged"):
        train(f"idx:{tmp_path / 'idx'}", "train.seed=1")
    monkeypatch.undo()
    result = train(f"idx:{tmp_path / 'idx'}", "train.seed=1")
    assert result.dataset["rejected"] == {"label_out_of_range": 1}
