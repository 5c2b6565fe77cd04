"""The report of a run: what its stages left, rejected rows with their pictures among it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mnist_pipeline.config import Config
from mnist_pipeline.contract.quarantine import quarantine_table
from mnist_pipeline.contract.records import Reject
from mnist_pipeline.data.parquet import write_table
from mnist_pipeline.evaluate.data_section import MOST_REJECTS
from mnist_pipeline.stages import version_report
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.stages.version_report import (
    REJECTS_READ,
    drawn,
    quarantine_key,
    rejected_rows,
)
from mnist_pipeline.store.objects import Store

HEADER = "label," + ",".join(f"pixel{k}" for k in range(784))


def write_csv(path: Path, digits: tuple[np.ndarray, np.ndarray], spoilt: dict[int, str]) -> None:
    """400 drawn digits as Kaggle writes them; `spoilt` rows are replaced."""
    images, labels = digits
    rows = [
        ",".join(map(str, [label, *image])) for label, image in zip(labels, images, strict=True)
    ]
    for row, line in spoilt.items():
        rows[row] = line
    path.write_text("\n".join([HEADER, *rows, ""]))


def quarantined(workspace: Path, rejects: list[Reject]) -> tuple[Run, Snapshot]:
    """A run that has put these rows into its quarantine."""
    run = Run(Store.open(workspace), Config())
    path = workspace / quarantine_key(run)
    path.parent.mkdir(parents=True)
    write_table(path, quarantine_table(rejects))
    blank = {field.name: None for field in dataclasses.fields(Snapshot)}
    return run, Snapshot(**{**blank, "rejected": {"label_missing": len(rejects)}})


def test_a_bad_row_is_shown_with_its_picture_and_its_pixel(
    train, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    cells = [str(value) for value in digits[0][7]]
    cells[300] = "abc"
    write_csv(tmp_path / "a.csv", digits, {7: ",".join(["7", *cells]), 30: "junk,row"})
    result = train(f"csv:{tmp_path / 'a.csv'}", "data.max_reject_fraction=0.1")
    page = Path(result.report).read_text()
    assert "column pixel300 is &#x27;abc&#x27;" in page
    assert 'alt="the row at a.csv:9, as far as it can be read"' in page
    left, top = 100 * (300 % 28 + 0.5) / 28, 100 * (300 // 28 + 0.5) / 28
    assert f'style="left:{left:.2f}%;top:{top:.2f}%"' in page
    assert '<div class="raw">junk,row</div>' in page
    assert "a.csv:32" in page
    (quarantine,) = (tmp_path / "workspace").glob("quarantine/*/rejected.parquet")
    assert quarantine.relative_to(tmp_path / "workspace").as_posix() in page


def test_every_reason_is_among_the_rows_shown_and_they_stand_in_order(workspace: Path) -> None:
    def reject(place: int, reason: str, source: str = "b.csv") -> Reject:
        return Reject(source, place, reason, "pixel 5 is 300", bytes(784))

    rejects = [reject(place, "label_missing") for place in range(2, 200)]
    rejects += [reject(1, "pixel_out_of_range"), reject(9, "image_missing", "a.csv")]
    rows = rejected_rows(*quarantined(workspace, rejects))
    assert Counter(row.reason for row in rows) == {
        "label_missing": MOST_REJECTS - 2,
        "pixel_out_of_range": 1,
        "image_missing": 1,
    }
    assert [(row.source, row.place) for row in rows] == [
        *(("b.csv", place) for place in range(1, MOST_REJECTS)),
        ("a.csv", 9),
    ]
    assert {row.pixel for row in rows} == {5}
    assert all(row.picture is not None for row in rows)


def test_of_many_rows_only_the_first_are_read(workspace: Path, monkeypatch) -> None:
    rejects = [Reject("a", i, f"reason {i}", "", b"") for i in range(REJECTS_READ + 500)]
    run, snapshot = quarantined(workspace, rejects)
    converted = []
    from_table = version_report.rejects_from
    monkeypatch.setattr(
        version_report,
        "rejects_from",
        lambda table: converted.append(len(table)) or from_table(table),
    )
    assert len(rejected_rows(run, snapshot)) == MOST_REJECTS
    assert converted == [REJECTS_READ]


def test_raw_bytes_are_shown_as_letters(workspace: Path) -> None:
    payload = "naïve\t".encode() + b"\x00\xff" + b"x" * 100
    (row,) = rejected_rows(*quarantined(workspace, [Reject("a", 1, "r", "d", payload)]))
    assert row.beginning.startswith("naïve···xxx")
    assert len(row.beginning) < 70


def test_without_rejects_no_quarantine_is_looked_for(train, idx_folder: Path) -> None:
    page = Path(train(f"idx:{idx_folder}").report).read_text()
    assert "Rejected rows" not in page
    assert "quarantine/" not in page


@pytest.mark.parametrize(
    ("sources", "answer"),
    [
        (["synthetic:n=10"], "all"),
        (["synthetic.v1:n=10", "synthetic:n=3"], "all"),
        (["synthetic:n=10", "csv:a.csv"], "some"),
        (["mnist"], "none"),
    ],
)
def test_drawings_are_known_by_their_source(sources: list[str], answer: str) -> None:
    assert drawn(sources) == answer


def test_a_training_on_drawings_says_so(train, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("MNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("MNIST_PIPELINE_CACHE", str(tmp_path))
    page = Path(train("synthetic:n=600").report).read_text()
    assert "Trained on drawings." in page
    assert "this report cannot say" in page


def test_the_quarantine_keeps_every_row(
    train, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    write_csv(tmp_path / "a.csv", digits, dict.fromkeys(range(40), "x"))
    page = Path(train(f"csv:{tmp_path / 'a.csv'}", "data.max_reject_fraction=0.1").report)
    assert "24 of 40 are shown, 16 are not." in page.read_text()
    (quarantine,) = (tmp_path / "workspace").glob("quarantine/*/rejected.parquet")
    assert pq.read_metadata(quarantine).num_rows == 40
