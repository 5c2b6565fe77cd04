"""The exam: frozen last, the same bytes whoever brings it, each question asked once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import write_idx

from mnist_pipeline.errors import ConfigError, DataError, IntegrityError
from mnist_pipeline.store.exams import exam_of
from mnist_pipeline.store.objects import Store


def write_csv(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    header = "label," + ",".join(f"pixel{i}" for i in range(784))
    table = np.column_stack([labels, images])
    np.savetxt(path, table, fmt="%d", delimiter=",", header=header, comments="")
    return path


def test_another_order_of_the_same_rows_is_the_same_exam(
    train, tmp_path: Path, workspace: Path, digits
) -> None:
    images, labels = digits
    one = write_csv(tmp_path / "one.csv", images[:300], labels[:300])
    two = write_csv(tmp_path / "two.csv", images[300:], labels[300:])
    train([f"csv:{one}", f"csv:{two}"], "name=a")
    (file,) = (workspace / "exams").glob("*.parquet")
    before = file.read_bytes()
    train([f"csv:{two}", f"csv:{one}"], "name=b")
    assert list((workspace / "exams").glob("*.parquet")) == [file]
    assert file.read_bytes() == before
    again = train([f"csv:{one}", f"csv:{two}"], "name=a", force="publish").outcome
    assert again.status == "held"


def test_refused_data_freezes_no_exam(train, tmp_path: Path, workspace: Path, digits) -> None:
    images, labels = digits
    twice = np.concatenate([images, images[:30]])
    answers = np.concatenate([labels, (labels[:30] + 1) % 10])
    write_idx(tmp_path / "bad", "train", twice, answers)
    with pytest.raises(DataError, match="the data set were rejected"):
        train(f"idx:{tmp_path / 'bad'}")
    assert exam_of(Store.open(workspace), "digits") is None
    assert list((workspace / "quarantine").rglob("*.parquet"))

    write_idx(tmp_path / "good", "train", images, labels)
    assert train(f"idx:{tmp_path / 'good'}").dataset["rejected"] == {}


def test_a_question_is_asked_once(train, tmp_path: Path, digits) -> None:
    images, labels = digits
    one = write_csv(tmp_path / "one.csv", images, labels)
    write_idx(tmp_path / "idx", "train", images, labels)
    single = train(f"csv:{one}", "name=single")
    double = train([f"csv:{one}", f"idx:{tmp_path / 'idx'}"], "name=double")
    assert double.outcome.metrics["n"] == single.outcome.metrics["n"]
    sides = double.dataset["sides"]
    assert sides["set_aside"] == sides["exam"] == single.dataset["sides"]["exam"]
    assert sides["train"] == 2 * single.dataset["sides"]["train"]


def test_an_input_given_twice_is_counted_once(train, tmp_path: Path, digits) -> None:
    one = write_csv(tmp_path / "one.csv", *digits)
    copy = write_csv(tmp_path / "copy.csv", *digits)
    result = train([f"csv:{one}", f"csv:{one}", f"csv:{copy}"])
    assert result.dataset["rows"] == 600


def test_a_damaged_official_exam_is_made_whole_by_its_source(
    train, idx_folder: Path, workspace: Path
) -> None:
    train(f"idx:{idx_folder}")
    (file,) = (workspace / "exams").glob("*.parquet")
    before = file.read_bytes()
    file.write_bytes(before[:-50])
    assert train(f"idx:{idx_folder}", "train.seed=1").outcome.status in ("held", "promoted")
    assert file.read_bytes() == before


def test_a_damaged_share_exam_stops_everything(train, workspace: Path) -> None:
    train("synthetic:n=500")
    (file,) = (workspace / "exams").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(IntegrityError) as caught:
        train("synthetic:n=500", "train.seed=1")
    assert "backup" in caught.value.remedy


def test_tuning_never_trains_on_test_rows_either(train, tmp_path: Path, digits) -> None:
    images, labels = digits
    write_idx(tmp_path / "idx", "train", images[:450], labels[:450])
    write_idx(tmp_path / "idx", "t10k", images[400:], labels[400:])
    result = train(f"idx:{tmp_path / 'idx'}", "data.use_exam=false")
    assert result.dataset["rejected"] == {"exam_overlap": 50}
    shared = train("synthetic:n=500", "data.use_exam=false", "name=shared")
    assert "exam" not in shared.dataset["sides"]
    assert shared.dataset["sides"]["set_aside"] > 40


def test_there_must_be_something_to_judge_on(train, idx_folder: Path) -> None:
    with pytest.raises(ConfigError, match="validation rows"):
        train(f"idx:{idx_folder}", "data.use_exam=false", "data.validation_fraction=0")
    with pytest.raises(DataError, match="make an exam"):
        train("synthetic:n=500", "data.exam_fraction=0")
