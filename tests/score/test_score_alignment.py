"""Output row i belongs to input row i: however files are cut, whatever rows are bad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnist_pipeline.data.png import png_bytes
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.reporting import Silent
from mnist_pipeline.score.engine import score_files
from mnist_pipeline.score.inputs import find_inputs
from mnist_pipeline.score.job import find_model, make_job
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.store.objects import Store

Image = np.ndarray  # (784,) uint8


def with_pixel(image: Image, value: Any, *, scale: float = 1) -> list[Any]:
    pixels = [pixel * scale for pixel in image.tolist()]
    pixels[391] = value
    return pixels


def png(image: Image, side: int = 28) -> dict[str, Any]:
    return {"bytes": png_bytes(np.resize(image, (side, side))), "path": "x.png"}


# For each layout: its type, how a good image is written, and for each reason a bad row.
Layout = tuple[pa.DataType, Callable[[Image], Any], dict[str, Callable[[Image], Any]]]
LAYOUTS: dict[str, Layout] = {
    "bytes": (
        pa.binary(),
        lambda x: x.tobytes(),
        {"image_missing": lambda x: None, "image_wrong_size": lambda x: x.tobytes()[:-1]},
    ),
    "integers": (
        pa.list_(pa.int16()),
        lambda x: x.tolist(),
        {
            "image_missing": lambda x: None,
            "image_wrong_size": lambda x: [*x.tolist(), 0],
            "pixel_out_of_range": lambda x: with_pixel(x, -1),
            "pixel_not_a_number": lambda x: with_pixel(x, None),
        },
    ),
    "floats": (
        pa.list_(pa.float32(), 784),
        lambda x: (x / 255).tolist(),
        {
            "image_missing": lambda x: None,
            "pixel_out_of_range": lambda x: with_pixel(x, 1.5, scale=1 / 255),
            "pixel_not_a_number": lambda x: with_pixel(x, float("nan"), scale=1 / 255),
        },
    ),
    "pictures": (
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        png,
        {
            "image_missing": lambda x: {"bytes": None, "path": "x.png"},
            "image_wrong_size": lambda x: png(x, 27),
            "undecodable_image": lambda x: {"bytes": b"no picture", "path": None},
        },
    ),
}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_row_has_its_own_answer_or_reason(
    data: st.DataObject, scorer: Path, digits: Any, model: Bundle, tmp_path_factory: Any
) -> None:
    kind, good, bad = LAYOUTS[data.draw(st.sampled_from(list(LAYOUTS)), "layout")]
    rows = data.draw(st.integers(1, 120), "rows")
    rng = np.random.default_rng(data.draw(st.integers(0, 999), "seed"))
    chosen = rng.integers(0, 600, rows)
    share = data.draw(st.sampled_from([0.0, 0.1, 0.9]), "bad")
    reasons = [str(rng.choice(sorted(bad))) if rng.random() < share else None for _ in range(rows)]
    reasons[int(rng.integers(rows))] = None  # all of one other size would be a bad file
    images = digits[0][chosen]
    cells = [bad[r](x) if r else good(x) for x, r in zip(images, reasons, strict=True)]
    folder = tmp_path_factory.mktemp("aligned")
    (folder / "in" / "day=1").mkdir(parents=True)
    table = pa.table({"key": chosen, "image": pa.array(cells, kind)})
    group = data.draw(st.integers(1, 50), "row group")
    pq.write_table(table, folder / "in" / "day=1" / "a.parquet", row_group_size=group)

    options = ScoreOptions(
        id_column="key",
        scale=255 if pa.types.is_fixed_size_list(kind) else None,
        top_k=2,
        min_confidence=0.5,
        on_bad_row="quarantine",
    )
    store, output = Store.open(scorer, writable=False), folder / "answers"
    slice_rows = data.draw(st.integers(1, 80), "slice rows")
    job = make_job(store, find_model(store, None)[0], str(output), options, slice_rows=slice_rows)
    summary = score_files(
        job, find_inputs([str(folder / "in")]), Silent(), workers=data.draw(st.integers(1, 3))
    )

    told = pq.read_table(output / "day=1" / "a.parquet", partitioning=None).to_pylist()
    expected = model.predict(images)
    assert len(told) == rows
    for i, (row, reason) in enumerate(zip(told, reasons, strict=True)):
        assert (row["row_id"], row["key"], row["day"]) == (i, chosen[i], "1")
        if reason:
            assert (row["status"], row["reason"]) == ("rejected", reason)
            assert row["label"] is row["confidence"] is None
            assert row["top_labels"] is row["top_confidences"] is None
            continue
        confidence, label = expected.confidences[i], expected.labels[i]
        assert row["confidence"] == row["top_confidences"][0] == confidence
        assert row["top_labels"][0] == label
        if confidence < 0.5:
            assert (row["status"], row["label"]) == ("low_confidence", None)
        else:
            assert (row["status"], row["label"], row["reason"]) == ("ok", label, None)
    assert summary.tally.rejected == Counter(reason for reason in reasons if reason)
    assert summary.tally.holds
    wrong = [(i, reason) for i, reason in enumerate(reasons) if reason]
    if wrong:
        kept = pq.read_table(output / "_quarantine" / "day=1" / "a.parquet").to_pylist()
        assert [(row["place"], row["reason"]) for row in kept] == wrong


@pytest.mark.parametrize("fault", [None, -1, 256])
def test_pixel_columns_keep_their_rows_apart(
    fault: int | None, score: Any, digits: Any, model: Bundle, tmp_path: Path, output: Path
) -> None:
    images = digits[0][:100]
    columns = {f"pixel{k}": images[:, k].astype(int).tolist() for k in range(784)}
    columns["pixel400"][17] = fault
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=30)
    reason = "pixel_not_a_number" if fault is None else "pixel_out_of_range"
    code, data = score(tmp_path / "a.parquet")
    assert (code, data["rejected"]) == (0, {reason: 1})
    told = pq.read_table(output / "a.parquet")["label"].to_pylist()
    expected = model.predict(images).labels.tolist()
    expected[17] = None
    assert told == expected
