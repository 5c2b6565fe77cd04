"""Scoring, end to end: every row of every layout answered or explained, in order."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from score_samples import answers, raw, write

from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.reporting import Silent
from mnist_pipeline.score.engine import score_files
from mnist_pipeline.score.inputs import find_inputs
from mnist_pipeline.score.job import find_model, make_job
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.store.objects import Store


def test_every_row_has_its_answer_in_order(
    score: Any, digits: Any, model: Bundle, tmp_path: Path, output: Path
) -> None:
    images, labels = digits
    names = [f"row-{i}" for i in range(len(images))]
    write(tmp_path / "in.parquet", images, uuid=names, label=labels)
    code, data = score(tmp_path / "in.parquet", "--id-column", "uuid", "--keep", "label=truth")
    assert code == 0
    assert (data["files"], data["rows"], data["scored"]) == (1, 600, 600)
    assert (data["model"], data["version"]) == ("digits", 1)
    rows = answers(output, "in.parquet")
    told = model.predict(images)
    assert [row["uuid"] for row in rows] == names
    assert [row["truth"] for row in rows] == labels.tolist()
    assert [row["row_id"] for row in rows] == list(range(600))
    assert [row["label"] for row in rows] == told.labels.tolist()
    assert [row["confidence"] for row in rows] == told.confidences.tolist()
    assert {(row["status"], row["reason"]) for row in rows} == {("ok", None)}


def test_top_k_and_probabilities(
    score: Any, digits: Any, model: Bundle, tmp_path: Path, output: Path
) -> None:
    images = digits[0][:50]
    write(tmp_path / "in.parquet", images)
    assert score(tmp_path / "in.parquet", "--top-k", "3", "--probabilities")[0] == 0
    probabilities = model.predict(images).probabilities
    for row, p in zip(answers(output, "in.parquet"), probabilities, strict=True):
        assert row["probabilities"] == p.tolist()
        best = np.argsort(-p, kind="stable")[:3]
        assert row["top_labels"] == best.tolist()
        assert row["top_confidences"] == p[best].tolist()
        assert row["label"] == row["top_labels"][0]


def test_a_row_that_is_not_confident_enough_has_no_label(
    score: Any, digits: Any, model: Bundle, tmp_path: Path, output: Path
) -> None:
    images = digits[0]
    write(tmp_path / "in.parquet", images)
    code, data = score(tmp_path / "in.parquet", "--min-confidence", "0.6")
    unsure = model.predict(images).confidences < 0.6
    assert code == 0
    assert 0 < unsure.sum() < 600
    assert (data["abstained"], data["scored"]) == (unsure.sum(), 600 - unsure.sum())
    for row, abstained in zip(answers(output, "in.parquet"), unsure, strict=True):
        assert (row["status"] == "low_confidence") == abstained
        assert (row["label"] is None) == abstained
        assert row["reason"] == ("low_confidence" if abstained else None)
        assert row["confidence"] is not None


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.reshape(28, 28)).save(file, "PNG")
    return file.getvalue()


LAYOUTS: dict[str, Any] = {
    "binary": lambda x: pa.array([i.tobytes() for i in x], pa.binary()),
    "list": lambda x: pa.array(x.tolist(), pa.list_(pa.uint8())),
    "fixed list": lambda x: pa.array(x.tolist(), pa.list_(pa.uint8(), 784)),
    "nested list": lambda x: pa.array(x.reshape(-1, 28, 28).tolist()),
    "hugging face": lambda x: pa.array([{"bytes": png(i), "path": None} for i in x]),
    "tensor": lambda x: pa.FixedShapeTensorArray.from_numpy_ndarray(
        np.ascontiguousarray(x.reshape(-1, 28, 28))
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_answers(
    layout: str, score: Any, digits: Any, model: Bundle, tmp_path: Path, output: Path
) -> None:
    images = digits[0][:40]
    pq.write_table(pa.table({"n": range(40), "x": LAYOUTS[layout](images)}), tmp_path / "a.parquet")
    assert score(tmp_path / "a.parquet")[0] == 0
    told = [row["label"] for row in answers(output, "a.parquet")]
    assert told == model.predict(images).labels.tolist()


def test_files_of_polars_and_pixel_columns(
    score: Any, digits: Any, model: Bundle, tmp_path: Path, output: Path
) -> None:
    images = digits[0][:40]
    pl.DataFrame({"image": [i.tobytes() for i in images]}).write_parquet(tmp_path / "b.parquet")
    pl.DataFrame(images, schema=[f"pixel{k}" for k in range(784)]).write_parquet(
        tmp_path / "c.parquet"
    )
    assert score(tmp_path / "b.parquet", tmp_path / "c.parquet")[1]["scored"] == 80
    for name in ("b.parquet", "c.parquet"):
        told = [row["label"] for row in answers(output, name)]
        assert told == model.predict(images).labels.tolist()


def test_floats_need_a_scale(
    score: Any, digits: Any, model: Bundle, tmp_path: Path, output: Path
) -> None:
    images = digits[0][:20]
    floats = pa.array((images / 255).astype(np.float32).tolist(), pa.list_(pa.float32(), 784))
    pq.write_table(pa.table({"image": floats}), tmp_path / "f.parquet")
    code, data = score(tmp_path / "f.parquet")
    assert code == 2
    assert "--scale" in data["error"]["remedy"]
    assert score(tmp_path / "f.parquet", "--scale", "255")[0] == 0
    told = [row["label"] for row in answers(output, "f.parquet")]
    assert told == model.predict(images).labels.tolist()


def test_folders_are_mirrored_and_their_keys_are_columns(
    score: Any, digits: Any, tmp_path: Path, output: Path
) -> None:
    images = digits[0]
    write(tmp_path / "in" / "year=2024" / "a.parquet", images[:3])
    write(tmp_path / "in" / "year=2025" / "city=Bad%20Ems" / "a.parquet", images[:2])
    write(tmp_path / "in" / "_old" / "b.parquet", images[:2])
    write(tmp_path / "in" / ".hidden.parquet", images[:2])
    code, data = score(tmp_path / "in")
    assert (code, data["files"], data["rows"]) == (0, 2, 5)
    assert answers(output, "year=2024/a.parquet")[0]["year"] == "2024"
    assert answers(output, "year=2025/city=Bad%20Ems/a.parquet")[0]["city"] == "Bad Ems"
    code, data = score(f"{tmp_path}/in/year=*/*.parquet", to=tmp_path / "other")
    assert (data["files"], data["rows"]) == (1, 3)
    assert answers(tmp_path / "other", "year=2024/a.parquet")[0]["year"] == "2024"


def test_answers_below_the_input_folder_are_not_scored_again(
    score: Any, digits: Any, tmp_path: Path
) -> None:
    write(tmp_path / "in" / "a.parquet", digits[0][:5])
    for name in ("answers", "answers", "deep/other", "answers"):
        for spec in (tmp_path / "in", f"{tmp_path}/in/**/*.parquet"):
            code, data = score(spec, to=tmp_path / "in" / name)
            assert (code, data["files"]) == (0, 1)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_rows_in_are_rows_out_however_files_are_cut(
    data: st.DataObject, scorer: Path, digits: Any, model: Bundle, tmp_path_factory: Any
) -> None:
    """Rows keep their answers whatever the row groups, the slices and the threads."""
    folder = tmp_path_factory.mktemp("cut")
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    expected = {}
    for number in range(data.draw(st.integers(1, 3))):
        rows = data.draw(st.integers(1, 200))
        chosen = rng.integers(0, 600, rows)
        missing = rng.random(rows) < data.draw(st.sampled_from([0.0, 0.1, 1.0]))
        column = pa.array(
            [
                None if gone else digits[0][i].tobytes()
                for i, gone in zip(chosen, missing, strict=True)
            ],
            pa.binary(),
        )
        table = pa.table({"key": chosen, "image": column})
        group = data.draw(st.integers(1, 80))
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=group)
        expected[f"{number}.parquet"] = (chosen, missing)
    store = Store.open(scorer, writable=False)
    output = folder / "answers"
    options = ScoreOptions(id_column="key")
    slice_rows = data.draw(st.integers(1, 150))
    manifest, _ = find_model(store, None)
    job = make_job(store, manifest, str(output), options, slice_rows=slice_rows)
    inputs = find_inputs([str(folder)])
    summary = score_files(job, inputs, Silent(), workers=data.draw(st.integers(1, 4)))
    assert summary.tally.holds
    assert summary.tally.rows == sum(len(chosen) for chosen, _ in expected.values())
    for name, (chosen, missing) in expected.items():
        table = pq.read_table(output / name)
        assert table["key"].to_pylist() == chosen.tolist()
        assert table["row_id"].to_pylist() == list(range(len(chosen)))
        labels = model.predict(digits[0][chosen]).labels.tolist()
        told = [None if gone else label for label, gone in zip(labels, missing, strict=True)]
        assert table["label"].to_pylist() == told
        rejected = pa.array(table["status"]).to_numpy(zero_copy_only=False) == "rejected"
        assert (rejected == missing).all()
    assert not (output / ".slices").exists()


def test_the_manifest_adds_up_and_an_answer_is_explained(
    score: Any, scorer: Path, digits: Any, tmp_path: Path, output: Path, capsys: Any
) -> None:
    from mnist_pipeline.cli import main

    images = [None, *(image.tobytes() for image in digits[0][:9])]
    pq.write_table(pa.table({"image": pa.array(images, pa.binary())}), tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", digits[0][:20])
    score(tmp_path / "a.parquet", tmp_path / "b.parquet", "--min-confidence", "0.3")
    manifest = json.loads((output / "_manifest.json").read_text())
    files = manifest["files"]
    for key in ("rows", "scored", "abstained"):
        assert manifest[key] == sum(file[key] for file in files)
    assert manifest["rows"] == 30
    assert manifest["rejected"] == {"image_missing": 1}
    words = ["explain", str(output / "a.parquet"), "--workspace", str(scorer), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 10
    assert told["rejected"] == {"image_missing": 1}
    assert told["version"]["same_files"]
    assert told["version"]["verdict"]["status"] == "promote"
    assert told["input"]["file"] == "a.parquet"


def test_what_was_answered_is_not_answered_again(
    score: Any, digits: Any, tmp_path: Path, output: Path
) -> None:
    for name in ("a", "b"):
        write(tmp_path / "in" / f"{name}.parquet", digits[0][:30])
    assert score(tmp_path / "in")[1]["skipped_files"] == []
    before = {path: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
    data = score(tmp_path / "in")[1]
    assert data["skipped_files"] == ["a.parquet", "b.parquet"]
    assert data["rows"] == 60
    assert {path: path.stat().st_mtime_ns for path in output.glob("*.parquet")} == before
    write(tmp_path / "in" / "b.parquet", digits[0][:31])  # other bytes
    assert score(tmp_path / "in")[1]["skipped_files"] == ["a.parquet"]
    assert score(tmp_path / "in", "--top-k", "2")[1]["skipped_files"] == []  # other options
    (output / "a.parquet").write_bytes((output / "a.parquet").read_bytes()[:-20])  # damaged
    assert score(tmp_path / "in", "--top-k", "2")[1]["skipped_files"] == ["b.parquet"]
    assert len(answers(output, "a.parquet")) == 30


def test_the_image_column_is_found_or_asked_for(
    score: Any, digits: Any, tmp_path: Path, output: Path
) -> None:
    column = raw(digits[0][:5])
    pq.write_table(pa.table({"front": column, "back": column}), tmp_path / "a.parquet")
    code, data = score(tmp_path / "a.parquet")
    assert code == 2
    assert "--image-column" in data["error"]["remedy"]
    assert score(tmp_path / "a.parquet", "--image-column", "back")[0] == 0
    code, data = score(tmp_path / "a.parquet", "--image-column", "bakc")
    assert code == 2
    assert "back" in data["error"]["remedy"]


def test_drift_is_told_and_may_fail_a_scoring(
    score: Any, scorer: Path, digits: Any, tmp_path: Path, output: Path
) -> None:
    images = digits[0][400 + np.arange(1200) % 200]  # the exam
    write(tmp_path / "few.parquet", images[:50])
    assert score(tmp_path / "few.parquet")[1]["drift"] is None
    write(tmp_path / "clean.parquet", images)
    code, data = score(tmp_path / "clean.parquet", "--max-drift", "0.2")
    assert code == 0
    assert data["drift"]["score"] == max(data["drift"]["distances"].values()) < 0.2
    assert data["drift"]["n"] == 1200
    write(tmp_path / "inverted.parquet", 255 - images)
    assert score(tmp_path / "inverted.parquet")[0] == 0
    code, data = score(tmp_path / "inverted.parquet", "--max-drift", "0.2")
    assert code == 3
    assert data["drift"]["score"] > 0.9
    assert "drifted" in data["error"]["headline"]
    assert len(answers(output, "inverted.parquet")) == 1200
    manifest = json.loads((output / "_manifest.json").read_text())
    assert manifest["drift"] == data["drift"]


def test_copies_of_a_file_have_slices_of_their_own(
    scorer: Path, digits: Any, tmp_path: Path, output: Path
) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / f"{name}.parquet", digits[0], row_group=50)
    store = Store.open(scorer, writable=False)
    manifest, _ = find_model(store, None)
    job = make_job(store, manifest, str(output), ScoreOptions(), slice_rows=100)
    inputs = find_inputs([str(tmp_path / "in")])
    assert score_files(job, inputs, Silent(), workers=3).tally.rows == 1800
    assert not (output / ".slices").exists()
