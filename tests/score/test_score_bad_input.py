"""Bad input to score: the documented outcome, the documented exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from score_samples import answers, raw, write

from mnist_pipeline.cli import main
from mnist_pipeline.reporting import Silent
from mnist_pipeline.score.engine import score_files
from mnist_pipeline.score.inputs import find_inputs
from mnist_pipeline.score.job import find_model, make_job
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.store.objects import Store


@pytest.fixture
def good(tmp_path: Path, digits: Any) -> Path:
    """A folder with one good file, `good.parquet`, of 30 rows."""
    write(tmp_path / "in" / "good.parquet", digits[0][:30])
    return tmp_path / "in"


def table(column: pa.Array, name: str = "image") -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table({name: column}), path)


def twice(path: Path) -> None:
    column = raw(np.zeros((3, 784), np.uint8))
    pq.write_table(pa.Table.from_arrays([column, column], names=["image", "image"]), path)


def cut(path: Path) -> None:
    write(path, np.zeros((50, 784), np.uint8))
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 784), np.uint8)
    options = {"compression": "none", "write_page_checksum": True, "use_dictionary": False}
    pq.write_table(pa.table({"image": raw(images)}), path, **options)
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


BAD_FILES: dict[str, Callable[[Path], None]] = {
    "not Parquet": lambda path: path.write_bytes(b"image\n1\n"),
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "a flipped bit": flipped,
    "no rows": table(pa.array([], pa.binary(784))),
    "another shape": table(pa.array([bytes(1024)] * 3, pa.binary(1024))),
    "lists of another size": table(pa.array([[0] * 64] * 3, pa.list_(pa.uint8(), 64))),
    "text": table(pa.array(["seven", "eight"])),
    "a column twice": twice,
    "floats without a scale": table(pa.array([[0.5] * 784], pa.list_(pa.float32(), 784))),
}


@pytest.mark.parametrize("fault", BAD_FILES)
@pytest.mark.parametrize(("policy", "code"), [("continue", 3), ("skip", 0), ("fail", None)])
def test_a_bad_file_is_a_failed_file(
    fault: str, policy: str, code: int | None, score: Any, good: Path, output: Path
) -> None:
    BAD_FILES[fault](good / "bad.parquet")
    answer, data = score(good, "--on-bad-file", policy)
    if policy == "fail":
        assert answer in (2, 3)
        assert data["error"]["remedy"]
        assert not (output / "_manifest.json").exists()
    else:
        assert (answer, data["rows"], data["files"]) == (code if code == 0 else answer, 30, 2)
        assert answer in (0, 2, 3)
        (failed,) = data["failed_files"]
        assert failed["file"] == "bad.parquet"
        assert failed["reason"]
        assert len(answers(output, "good.parquet")) == 30
    assert not (output / "bad.parquet").exists()
    assert not list(output.glob(".scratch/*"))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/proc/self/mem", "mem cannot be read"),  # an error of input and output, a real one
        ("/dev/zero", "zero is not a file"),
        ("pipe", "pipe is not a file"),
        ("loop.parquet", "loop.parquet cannot be read"),
        ("gone.parquet", "gone.parquet does not exist"),
    ],
)
def test_what_cannot_be_read_is_told(path: str, says: str, score: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop.parquet").symlink_to("loop.parquet")
    (tmp_path / "gone.parquet").symlink_to("nowhere")
    if path.startswith("/") and not Path(path).exists():
        pytest.skip(f"there is no {path} here")
    code, data = score(tmp_path / path)
    assert code == 3
    assert data["error"]["headline"] == says
    assert data["error"]["remedy"]


def test_nothing_in_a_folder_is_passed_over(score: Any, good: Path) -> None:
    os.mkfifo(good / "pipe.parquet")
    (good / "gone.parquet").symlink_to("nowhere")
    (good / "table.parquet").mkdir()
    write(good / "table.parquet" / "part-0.parquet", np.zeros((3, 784), np.uint8))
    for spec in (good, f"{good}/**/*.parquet"):
        code, data = score(spec)
        assert (code, data["rows"]) == (3, 33)
        assert [failed["reason"] for failed in data["failed_files"]] == [
            "gone.parquet does not exist",
            "pipe.parquet is not a file",
        ]


def test_a_file_that_goes_between_finding_and_reading_it(
    scorer: Path, good: Path, output: Path
) -> None:
    store = Store.open(scorer, writable=False)
    manifest, _ = find_model(store, None)
    job = make_job(store, manifest, str(output), ScoreOptions())
    write(good / "gone.parquet", np.zeros((3, 784), np.uint8))
    files = find_inputs([str(good)])
    (good / "gone.parquet").unlink()
    summary = score_files(job, files, Silent())
    assert [failure.error.headline for failure in summary.failures] == [
        "gone.parquet does not exist"
    ]
    assert summary.tally.scored == 30


def test_a_file_that_is_the_only_one_and_bad(score: Any, tmp_path: Path) -> None:
    cut(tmp_path / "bad.parquet")
    code, data = score(tmp_path / "bad.parquet")
    assert code == 3
    assert data["error"]["headline"] == "bad.parquet is damaged or is not a Parquet file"


ROWS: dict[str, tuple[pa.Array, list[str | None]]] = {
    "nulls": (
        pa.array([None, bytes(784), None], pa.binary()),
        ["image_missing", None, "image_missing"],
    ),
    "lengths": (pa.array([bytes(784), bytes(783), b""]), [None, "image_wrong_size"]),
    "NaN": (
        pa.array([[0.0] * 784, [float("nan")] * 784, [1.0] * 784], pa.list_(pa.float32())),
        [None, "pixel_not_a_number", None],
    ),
    "out of range": (
        pa.array([[0] * 784, [256] * 784, [-1] * 784], pa.list_(pa.int16())),
        [None, "pixel_out_of_range", "pixel_out_of_range"],
    ),
    "pictures": (
        pa.array([{"bytes": b"no", "path": "x"}] * 3),
        ["undecodable_image", "undecodable_image"],
    ),
}


@pytest.mark.parametrize("rows", ROWS)
def test_a_bad_row_is_a_row_without_answer(
    rows: str, score: Any, tmp_path: Path, output: Path
) -> None:
    column, reasons = ROWS[rows]
    pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet")
    words = ["--scale", "255"] if rows == "NaN" else []
    code, data = score(tmp_path / "a.parquet", *words)
    assert code == 0
    assert data["rows"] == 3
    told = answers(output, "a.parquet")
    for row, reason in zip(told, reasons, strict=False):
        assert row["reason"] == reason
        assert row["status"] == ("rejected" if reason else "ok")
        assert (row["label"] is None) == (row["confidence"] is None) == bool(reason)
    assert sum(data["rejected"].values()) == sum(row["status"] == "rejected" for row in told) > 0


def test_bad_rows_are_kept_for_whoever_mends_them(
    score: Any, digits: Any, tmp_path: Path, output: Path
) -> None:
    images = [image.tobytes() for image in digits[0][:300]]
    images[7], images[250] = None, b"short"
    table = pa.table({"image": pa.array(images, pa.binary())})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=40)
    assert score(tmp_path / "a.parquet")[0] == 0
    assert not (output / "_quarantine").exists()
    code, data = score(tmp_path / "a.parquet", "--on-bad-row", "quarantine")
    assert (code, data["skipped_files"]) == (0, ["a.parquet"])
    kept = pq.read_table(output / "_quarantine" / "a.parquet").to_pylist()
    assert [(row["place"], row["reason"], row["payload"]) for row in kept] == [
        (7, "image_missing", b""),
        (250, "image_wrong_size", b"short"),
    ]
    code, data = score(tmp_path / "a.parquet", "--on-bad-row", "fail")
    assert code == 3
    assert "row 7 of a.parquet" in data["error"]["headline"]
    write(tmp_path / "a.parquet", digits[0][:300])  # mended
    assert score(tmp_path / "a.parquet")[0] == 0
    assert not list(output.glob("_quarantine/*.parquet"))


def test_nothing_to_score(score: Any, tmp_path: Path, output: Path) -> None:
    (tmp_path / "empty").mkdir()
    for spec in (tmp_path / "empty", tmp_path / "none.parquet", f"{tmp_path}/*.parquet"):
        code, data = score(spec)
        assert code == 3
        assert data["error"]["remedy"]
    assert not output.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--min-confidence", "1.5"],
        ["--top-k", "11"],
        ["--top-k", "-1"],
        ["--keep", "label"],
        ["--keep", "n=row_id"],
        ["--keep", "n,,m"],
        ["--keep", "nn"],
        ["--id-column", "missing"],
        ["--model", "nobody"],
        ["--model", "digits@7"],
        ["--on-bad-row", "drop"],
        ["--scale", "255"],
        ["--scale", "nan"],
        ["--scale", "inf"],
        ["--scale", "0"],
        ["--output", ""],
    ],
    ids=" ".join,
)
def test_mistakes_are_told_before_anything_is_written(
    words: list[str], score: Any, digits: Any, tmp_path: Path, output: Path
) -> None:
    write(tmp_path / "a.parquet", digits[0][:3], label=[1, 2, 3], n=[1, 2, 3])
    to = " " if "--output" in words else output
    code, data = score(tmp_path / "a.parquet", *words, to=to)
    assert code == 2
    assert data["error"]["headline"]
    assert data["error"]["remedy"]
    assert not (output / "a.parquet").exists()


def test_an_input_that_is_empty(score: Any) -> None:
    """A shell's variable that was not set is not the folder one happens to be in."""
    code, data = score("")
    assert code == 2
    assert data["error"]["headline"] == "an input is empty"


def test_two_folders_of_one_key(score: Any, digits: Any, tmp_path: Path) -> None:
    write(tmp_path / "in" / "y=1" / "y=2" / "a.parquet", digits[0][:3])
    code, data = score(tmp_path / "in")
    assert code == 3
    assert data["error"]["headline"] == "two folders of y=1/y=2/a.parquet give a value to 'y'"


def test_an_output_that_is_a_file(score: Any, good: Path) -> None:
    code, data = score(good, to=good / "good.parquet")
    assert code == 6
    assert data["error"]["facts"]["cause"] == "it is a file, not a folder"
    code, data = score(good, to="/proc/nobody/may/write/here")
    assert code == 6
    assert "workspace" not in json.dumps(data["error"])


def test_two_inputs_of_one_name(score: Any, digits: Any, tmp_path: Path) -> None:
    for folder in ("x", "y"):
        write(tmp_path / folder / "a.parquet", digits[0][:3])
    code, data = score(tmp_path / "x" / "a.parquet", tmp_path / "y" / "a.parquet")
    assert code == 2
    assert "a.parquet" in data["error"]["headline"]


def test_an_output_that_holds_something_else(score: Any, good: Path, output: Path) -> None:
    output.mkdir()
    (output / "thesis.doc").write_text("years of work")
    code, data = score(good)
    assert code == 2
    assert "thesis.doc" in data["error"]["facts"]["found"]
    assert [path.name for path in output.iterdir()] == ["thesis.doc"]


def test_the_input_folder_as_output(score: Any, good: Path) -> None:
    before = (good / "good.parquet").read_bytes()
    code, data = score(good, to=good)
    assert code == 2
    assert "holds something else than answers" in data["error"]["headline"]
    assert (good / "good.parquet").read_bytes() == before
    code, _ = score(good / "good.parquet", to=good)
    assert code == 2
    assert (good / "good.parquet").read_bytes() == before


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be written, by root neither."""
    folder = tmp_path / "read only"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield folder
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("root may write everywhere, and may not mount a read-only folder here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_an_output_that_cannot_be_written(score: Any, good: Path, read_only: Path) -> None:
    code, answer = score(good, to=read_only)
    assert (code, answer["error"]["kind"]) == (6, "outside")
    assert list(read_only.iterdir()) == []


def test_a_full_disk(score: Any, digits: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root, with the right to mount")
    try:
        images = np.random.default_rng(0).integers(0, 256, (4000, 784), np.uint8)
        write(tmp_path / "a.parquet", images)
        code, data = score(tmp_path / "a.parquet", "--probabilities", to=disk)
        assert code == 6
        assert "full" in data["error"]["headline"]
        assert "--output" in data["error"]["remedy"]
        assert not (disk / "a.parquet").exists()
        assert not (disk / "_manifest.json").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_model_that_does_not_hold_is_not_used(
    scorer: Path, good: Path, output: Path, tmp_path: Path, capsys: Any
) -> None:
    import shutil

    workspace = tmp_path / "broken"
    shutil.copytree(scorer, workspace)
    weights = workspace / "models" / "digits" / "versions" / "1" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    words = ["score", str(good), "--output", str(output), "--workspace", str(workspace), "--json"]
    assert main(words) == 5
    assert "model.safetensors" in json.loads(capsys.readouterr().out)["error"]["headline"]
    assert not output.exists()
