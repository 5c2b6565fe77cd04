"""Ingest: every row is accepted or in quarantine, however many are bad, in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import write_idx

from mnist_pipeline.configfile import resolve
from mnist_pipeline.contract.quarantine import QUARANTINE_SCHEMA, count_reasons, rejects_from
from mnist_pipeline.data.parquet import bytes_column
from mnist_pipeline.stages.ingest import Part, ingest
from mnist_pipeline.stages.inputs import inputs_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.objects import Store

Table = tuple[np.ndarray, np.ndarray]


def write_csv(folder: Path, images: np.ndarray, labels: np.ndarray) -> str:
    """Labels that are not those of a class are letters."""
    cells = np.array([*"0123456789", "x"])[np.minimum(labels, 10)]
    lines = ["label," + ",".join(f"pixel{k}" for k in range(784))]
    lines += [f"{cell}," + ",".join(map(str, row)) for cell, row in zip(cells, images, strict=True)]
    (folder / "digits.csv").write_text("\n".join(lines))
    return f"csv:{folder / 'digits.csv'}"


def write_pair(folder: Path, images: np.ndarray, labels: np.ndarray) -> str:
    write_idx(folder / "idx", "train", images, labels)
    return f"idx:{folder / 'idx'}"


def write_parquet(folder: Path, images: np.ndarray, labels: np.ndarray) -> str:
    table = pa.table({"label": labels.astype(np.int64), "image": bytes_column(images)})
    pq.write_table(table, folder / "digits.parquet", row_group_size=1000)
    return f"parquet:{folder / 'digits.parquet'}"


def write_no_images(folder: Path, images: np.ndarray, labels: np.ndarray) -> str:
    """Parquet whose bad rows are found by the source, not by the contract."""
    image = pa.array([row.tobytes() for row in images], mask=labels > 9, type=pa.binary())
    table = pa.table({"label": labels % 10, "image": image})
    pq.write_table(table, folder / "digits.parquet", row_group_size=1000)
    return f"parquet:{folder / 'digits.parquet'}"


WRITERS = [write_csv, write_pair, write_parquet, write_no_images]


def ingested(folder: Path, spec: str) -> tuple[Part, Path]:
    run = Run(Store.open(folder / "workspace"), resolve([]))
    (source,) = inputs_of([spec], run.store)
    return ingest(run, source), folder / "workspace"


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("bad", ["none", "some", "all"])
def test_every_row_is_accepted_or_in_quarantine(
    write: Callable[..., str], bad: str, tmp_path: Path, digits: Table
) -> None:
    images, labels = digits[0][:300], digits[1][:300].copy()
    spoilt = {"none": [], "some": [0, 17, 299], "all": range(300)}[bad]
    labels[list(spoilt)] = 200
    part, workspace = ingested(tmp_path, write(tmp_path, images, labels))
    first = 2 if write is write_csv else 0  # lines count from 1, and the first is the header
    assert (part.rows, part.data.rows) == (300, 300 - len(spoilt))
    assert sum(part.rejected.values()) == len(spoilt)
    assert [place["place"] for place in part.places] == [row + first for row in spoilt][:20]
    if bad == "none":
        assert part.quarantine is None
        assert not list(workspace.rglob("rejected.parquet"))
    else:
        assert part.quarantine is not None
        assert part.quarantine.rows == len(spoilt)
        table = pq.read_table(workspace / part.quarantine.key)
        assert table.schema.equals(QUARANTINE_SCHEMA)
        rejects = rejects_from(table)
        assert [reject.place for reject in rejects] == [row + first for row in spoilt]
        assert count_reasons(rejects) == part.rejected
    kept = np.delete(digits[1][:300], list(spoilt))
    assert pq.read_table(workspace / part.data.key)["label"].to_numpy().tolist() == kept.tolist()
    again, _ = ingested(tmp_path, write(tmp_path, images, labels))
    assert again == part  # from its memo


@pytest.mark.parametrize("write", WRITERS[1:])  # for CSV, see sources/test_csv_files.py
def test_memory_is_bounded_when_every_row_is_bad(
    write: Callable[..., str], tmp_path: Path, digits: Table
) -> None:
    images = digits[0].repeat(50, axis=0)
    spec = write(tmp_path, images, np.full(len(images), 200, np.uint8))
    tracemalloc.start()
    try:
        part, _ = ingested(tmp_path, spec)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(part.rejected.values()) == part.rows == 30_000
    assert peak < 38_000_000  # all rejects together are 30 MB more


def test_a_reading_that_fails_halfway_leaves_nothing(tmp_path: Path, digits: Table) -> None:
    spec = write_csv(tmp_path, digits[0], np.full(600, 200, np.uint8))
    with (tmp_path / "digits.csv").open("a") as file:
        file.write("\n" + "1" * 3_000_000)
    with pytest.raises(Exception, match="line without end"):
        ingested(tmp_path, spec)
    assert [path for path in (tmp_path / "workspace").rglob("*") if path.is_file()] == []
