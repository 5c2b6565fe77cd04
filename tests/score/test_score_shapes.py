"""Files of another shape than the model's: failed files, told field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from score_samples import answers, raw, write

from mnist_pipeline.data.png import png_bytes
from mnist_pipeline.reporting import Silent
from mnist_pipeline.score.engine import score_files
from mnist_pipeline.score.inputs import find_inputs
from mnist_pipeline.score.job import find_model, make_job
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.store.objects import Store


def png(height: int, width: int) -> dict[str, Any]:
    return {"bytes": png_bytes(np.zeros((height, width), np.uint8)), "path": None}


SHAPES: dict[str, tuple[pa.Table, list[str]]] = {
    "bytes, fixed": (
        pa.table({"image": pa.array([bytes(1024)] * 9, pa.binary(1024))}),
        ["image: fixed_size_binary[1024] (pixels 1024, expected 784)"],
    ),
    "lists, fixed": (
        pa.table({"id": [7] * 9, "image": pa.array([[0] * 1024] * 9, pa.list_(pa.uint8(), 1024))}),
        [
            "id: int64 (not an image)",
            "[1024] (pixels 1024, expected 784)",
        ],
    ),
    "tensors": (
        pa.table(
            {"image": pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((9, 32, 32), "f4"))}
        ),
        ["height 32, expected 28, width 32, expected 28, pixels 1024, expected 784, dtype float"],
    ),
    "pixel columns": (
        pa.table({f"pixel{k}": np.zeros(9, np.uint8) for k in range(1024)}),
        ["(pixels 1024, expected 784, last pixel1023, expected pixel783)"],
    ),
    "bytes": (
        pa.table({"image": pa.array([bytes(1024)] * 8 + [None])}),
        ["pixels: 1024, expected 784"],
    ),
    "lists": (
        pa.table({"image": pa.array([[0] * 1024] * 9)}),
        ["pixels: 1024, expected 784"],
    ),
    "lists of lists": (
        pa.table({"image": pa.array([[[0] * 30] * 28] * 9)}),
        ["width: 30, expected 28"],
    ),
    "pictures": (
        pa.table({"image": pa.array([png(32, 30)] * 9)}),
        ["height: 32, expected 28", "width: 30, expected 28", "pixels: 960, expected 784"],
    ),
}


@pytest.mark.parametrize("slice_rows", [1, 250_000], ids=["in slices", "whole"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_of_another_shape_is_told_field_by_field(
    shape: str, slice_rows: int, scorer: Path, digits: Any, tmp_path: Path, output: Path
) -> None:
    table, told = SHAPES[shape]
    write(tmp_path / "in" / "good.parquet", digits[0][:30])
    pq.write_table(table, tmp_path / "in" / "other.parquet", row_group_size=2)
    store = Store.open(scorer, writable=False)
    manifest, _ = find_model(store, None)
    job = make_job(store, manifest, str(output), ScoreOptions(), slice_rows=slice_rows)
    summary = score_files(job, find_inputs([str(tmp_path / "in")]), Silent(), workers=2)
    assert (summary.tally.rows, summary.tally.scored) == (30, 30)
    (failure,) = summary.failures
    assert failure.file == "other.parquet"
    assert failure.error.exit_code == 3
    facts = failure.error.facts
    found = facts["difference"] if "difference" in facts else facts["found"]
    assert len(found) == len(told)
    for one, other in zip(found, told, strict=True):
        assert other in one
    assert not (output / "other.parquet").exists()


def test_rows_of_several_other_shapes_are_bad_rows(score: Any, tmp_path: Path) -> None:
    column = pa.array([bytes(1024), bytes(64), None])
    pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet")
    code, data = score(tmp_path / "a.parquet")
    assert (code, data["scored"], data["failed_files"]) == (0, 0, [])
    assert data["rejected"] == {"image_missing": 1, "image_wrong_size": 2}


def test_files_of_mixed_types_stand_by_themselves(
    score: Any, digits: Any, tmp_path: Path, output: Path
) -> None:
    """No schema is unified: each file keeps its own ids, and its own layout."""
    images = digits[0][:4]
    for name, ids, column in (
        ("a", pa.array([1, 2, 3, 4]), raw(images)),
        ("b", pa.array(["x", "y", None, "z"]), pa.array(images.tolist(), pa.list_(pa.int32()))),
        ("c", pa.array([1.5, 2.5, 3.5, 4.5]), pa.array(["seven"] * 4)),
    ):
        (tmp_path / "in").mkdir(exist_ok=True)
        pq.write_table(pa.table({"id": ids, "image": column}), tmp_path / "in" / f"{name}.parquet")
    code, data = score(tmp_path / "in", "--id-column", "id")
    assert (code, data["scored"]) == (3, 8)
    assert [failed["file"] for failed in data["failed_files"]] == ["c.parquet"]
    a, b = answers(output, "a.parquet"), answers(output, "b.parquet")
    assert [row.pop("id") for row in a] == [1, 2, 3, 4]
    assert [row.pop("id") for row in b] == ["x", "y", None, "z"]
    assert a == b
