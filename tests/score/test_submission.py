"""Kaggle: test.csv in, submission.csv out; every row, in order, or nothing at all."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_pipeline.cli import main
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.score import submission

HEADER = ",".join(f"pixel{n}" for n in range(784))


def write_test(path: Path, images: np.ndarray) -> Path:
    """A file as Kaggle's test.csv: 784 columns and no label."""
    lines = [HEADER, *(",".join(map(str, image)) for image in images.tolist())]
    path.write_text("\n".join(lines) + "\n")
    return path


def expected(model: Bundle, images: np.ndarray) -> str:
    labels = model.predict(images).labels
    return "ImageId,Label\n" + "".join(f"{n},{label}\n" for n, label in enumerate(labels, 1))


def test_every_row_in_order(score: Any, digits: Any, model: Bundle, tmp_path: Path) -> None:
    images = digits[0]
    to = tmp_path / "deep" / "submission.csv"
    code, data = score(write_test(tmp_path / "test.csv", images), to=to)
    assert (code, data["rows"], data["scored"], data["output"]) == (0, 600, 600, str(to))
    assert to.read_text() == expected(model, images)
    packed = tmp_path / "test.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "test.csv").read_bytes()))
    assert score(packed, to=to)[0] == 0  # an older submission is replaced
    assert to.read_text() == expected(model, images)


def test_columns_in_any_order_and_a_label_that_is_ignored(
    score: Any, digits: Any, model: Bundle, tmp_path: Path
) -> None:
    images = digits[0][:20]
    order = np.random.default_rng(1).permutation(784)
    head = ",".join(["label", *(f"pixel{n}" for n in order)])
    rows = [",".join(["7", *map(str, image[order])]) for image in images]
    (tmp_path / "train.csv").write_text("\n".join([head, *rows]))
    to = tmp_path / "submission.csv"
    assert score(tmp_path / "train.csv", to=to)[0] == 0
    assert to.read_text() == expected(model, images)


@pytest.mark.slow
def test_28000_rows(score: Any, digits: Any, model: Bundle, tmp_path: Path) -> None:
    images = np.resize(digits[0], (28_000, 784))
    to = tmp_path / "submission.csv"
    code, data = score(write_test(tmp_path / "test.csv", images), to=to)
    assert (code, data["drift"]["n"]) == (0, 28_000)
    lines = to.read_text().splitlines()
    assert (len(lines), lines[-1].partition(",")[0]) == (28_001, "28000")
    assert to.read_text() == expected(model, images)


@pytest.mark.parametrize("line", [2, 5, 11])
def test_a_row_without_an_image_is_named_and_nothing_is_written(
    score: Any, digits: Any, tmp_path: Path, line: int
) -> None:
    file = write_test(tmp_path / "test.csv", digits[0][:10])
    lines = file.read_text().splitlines()
    lines[line - 1] = lines[line - 1].replace(",0,", ",999,", 1)
    file.write_text("\n".join(lines))
    to = tmp_path / "submission.csv"
    code, data = score(file, to=to)
    assert code == 3
    assert data["error"]["facts"]["line"] == line
    assert data["error"]["facts"]["reason"] == "pixel_out_of_range"
    assert f"line {line} of test.csv" in data["error"]["headline"]
    assert [path.name for path in tmp_path.iterdir()] == ["test.csv"]


def test_only_a_submission_is_replaced(score: Any, digits: Any, tmp_path: Path) -> None:
    file = write_test(tmp_path / "test.csv", digits[0][:10])
    before = file.read_bytes()
    code, data = score(file, to=file)
    assert (code, data["error"]["headline"]) == (2, "test.csv exists and is no submission")
    assert file.read_bytes() == before


def test_a_submission_that_broke_off_leaves_the_old_one(
    score: Any, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, to = write_test(tmp_path / "test.csv", digits[0][:10]), tmp_path / "submission.csv"
    assert score(file, to=to)[0] == 0
    before = to.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(submission.Traits, "of", full)
    code, data = score(file, to=to)
    assert (code, data["error"]["headline"]) == (6, "the disk is full")
    assert to.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["submission.csv", "test.csv"]


@pytest.mark.parametrize(
    ("words", "to", "headline"),
    [
        (["a.parquet"], "s.csv", "a submission is made of one CSV file"),
        (["a.csv", "b.csv"], "s.csv", "a submission is made of one CSV file"),
        (["a.csv"], "s3://bucket/s.csv", "a submission is made of one CSV file"),
        (["a.csv", "--top-k", "3"], "s.csv", "nothing can be chosen"),
        (["a.csv", "--on-bad-row", "quarantine"], "s.csv", "nothing can be chosen"),
        (["a.csv", "--engine", "prefect"], "s.csv", "no work for a flow"),
        (["a.csv"], "answers", "files of answers are made of Parquet files"),
        (["there-is-none.csv"], "s.csv", "does not exist"),
    ],
)
def test_what_cannot_be_a_submission(
    score: Any, words: list[str], to: str, headline: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    code, data = score(*words, to=to)
    assert code in (2, 3)
    assert headline in data["error"]["headline"]
    assert list(tmp_path.iterdir()) == []


def test_it_reads_well_on_a_terminal(
    scorer: Path, digits: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, to = write_test(tmp_path / "test.csv", digits[0]), tmp_path / "submission.csv"
    assert main(["score", str(file), "--output", str(to), "--workspace", str(scorer)]) == 0
    told = capsys.readouterr()
    assert "digits@1: 600 rows: 600 scored" in told.out
    assert f"output: {to}" in told.out
