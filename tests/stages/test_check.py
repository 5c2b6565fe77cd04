"""`validate` says what training would say, and keeps nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small import write_idx

from mnist_pipeline.cli import main
from mnist_pipeline.configfile import resolve
from mnist_pipeline.errors import DataError
from mnist_pipeline.reporting import Silent
from mnist_pipeline.stages.check import Findings, check


def checked(*sources: str, labelled: bool = True) -> Findings:
    config = resolve([{"data": {"sources": list(sources)}}])
    return check(config, labelled=labelled, store=None, reporter=Silent())


def test_clean_data(idx_folder: Path) -> None:
    findings = checked(f"idx:{idx_folder}")
    assert (findings.rows, findings.accepted, findings.error) == (600, 600, None)


def test_unlabelled_data(idx_folder: Path) -> None:
    findings = checked(f"idx:{idx_folder}", labelled=False)
    assert (findings.rows, findings.accepted, findings.error) == (600, 600, None)


def test_test_rows_in_training_are_an_overlap_as_in_training(train, tmp_path: Path, digits) -> None:
    images, labels = digits
    write_idx(tmp_path / "idx", "train", images[:450], (labels[:450] + 1) % 10)
    write_idx(tmp_path / "idx", "t10k", images[400:], labels[400:])
    findings = checked(f"idx:{tmp_path / 'idx'}")
    result = train(f"idx:{tmp_path / 'idx'}")
    assert findings.rejected == result.dataset["rejected"] == {"exam_overlap": 50}
    assert findings.error is None


def test_a_missing_class_is_told(tmp_path: Path, digits) -> None:
    images, labels = digits
    write_idx(tmp_path / "idx", "train", images[labels != 4], labels[labels != 4])
    error = checked(f"idx:{tmp_path / 'idx'}").error
    assert isinstance(error, DataError)
    assert "class '4'" in error.headline


def test_one_unreadable_input_hides_nothing_of_the_others(tmp_path: Path, digits) -> None:
    images, labels = digits[0], digits[1].copy()
    labels[7] = 12
    for name in ("a", "b"):
        write_idx(tmp_path / name, "train", images, labels)
    cut = tmp_path / "a" / "train-images-idx3-ubyte"
    cut.write_bytes(cut.read_bytes()[:-1])
    findings = checked(f"idx:{tmp_path / 'a'}", f"idx:{tmp_path / 'b'}")
    assert findings.rows == findings.accepted + sum(findings.rejected.values()) == 600
    assert findings.rejected == {"label_out_of_range": 1}
    assert findings.error is not None
    assert "train-images" in findings.error.headline


def test_a_thousand_places_and_the_rest_as_a_number(tmp_path: Path, digits) -> None:
    images = digits[0].repeat(2, axis=0)
    write_idx(tmp_path / "idx", "train", images, digits[1].repeat(2) + 10)
    answer = checked(f"idx:{tmp_path / 'idx'}").to_json()
    assert len(answer["places"]) == 1000
    assert answer["places_left_out"] == 200
    with pytest.raises(DataError, match="all 1,200 rows"):
        raise checked(f"idx:{tmp_path / 'idx'}").error or AssertionError


def write_unlabelled_csv(path: Path, rows: int) -> str:
    """Kaggle's test.csv: 784 pixels a row, and no label."""
    header = ",".join(f"pixel{k}" for k in range(784))
    row = ",".join(["0"] * 400 + ["255"] * 384)
    path.write_text("\n".join([header, *[row] * rows]) + "\n")
    return f"csv:{path}"


def test_kaggles_unlabelled_test_file(tmp_path: Path) -> None:
    source = write_unlabelled_csv(tmp_path / "test.csv", 28_000)
    findings = checked(source, labelled=False)
    assert (findings.rows, findings.accepted, findings.error) == (28_000, 28_000, None)
    error = checked(source).error
    assert isinstance(error, DataError)
    assert "has no labels" in error.headline
    assert "--unlabelled" in error.remedy


def test_kaggles_unlabelled_test_file_on_the_command_line(tmp_path: Path, capsys) -> None:
    source = write_unlabelled_csv(tmp_path / "test.csv", 100)
    assert main(["validate", "--unlabelled", source, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accepted"] == 100
    assert main(["validate", source, "--json"]) == 3
    assert "--unlabelled" in json.loads(capsys.readouterr().out)["error"]["remedy"]


def test_conflicts_and_faults_of_parsing_add_up(tmp_path: Path, digits) -> None:
    images, labels = digits
    table = np.column_stack([labels, images])
    table = np.concatenate([table, table[:3]])
    table[600:, 0] = (table[600:, 0] + 1) % 10
    lines = ["label," + ",".join(f"pixel{k}" for k in range(784))]
    lines += [",".join(map(str, row)) for row in table.tolist()] + ["#"]
    (tmp_path / "digits.csv").write_text("\n".join(lines))
    findings = checked(f"csv:{tmp_path / 'digits.csv'}")
    assert findings.rows == 604
    assert findings.rejected == {"conflicting_duplicate": 6, "wrong_column_count": 1}
    assert findings.accepted == 597
    assert [place["place"] for place in findings.to_json()["places"]] == [
        *(605, 2, 3, 4),
        *(602, 603, 604),
    ]
    assert findings.to_json()["places_left_out"] == 0
