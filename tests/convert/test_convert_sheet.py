"""Contact sheets of sources: which images, how many, and no more read than needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import write_idx

from mnist_pipeline.convert.sheet import Sheet, write_sheet
from mnist_pipeline.data.sheet import contact_sheet
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.reporting import Silent, Step


class Counting(Silent):
    rows = 0

    def step(self, step: Step) -> None:
        self.rows = step.done


def draw(spec: str, output: Path, *, columns: int = 4, **options: bool) -> tuple[Sheet, int]:
    """A sheet, and how many rows were read for it."""
    reporter = Counting()
    sheet = write_sheet(
        spec,
        output,
        columns=columns,
        labelled=options.get("labelled", True),
        overwrite=options.get("overwrite", False),
        store=None,
        reporter=reporter,
    )
    return sheet, reporter.rows


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_first_of_each_class(idx_folder: Path, digits: tuple, tmp_path: Path) -> None:
    images, labels = digits[0][:400], digits[1][:400]  # without the official test part
    sheet, _ = draw(f"idx:{idx_folder}", tmp_path / "s.png", columns=7)
    expected = contact_sheet(images, labels, "0123456789", columns=7)
    np.testing.assert_array_equal(pixels(tmp_path / "s.png"), expected)
    assert sheet.shown == dict.fromkeys("0123456789", 7)
    assert (sheet.height, sheet.width) == expected.shape
    assert sheet.to_json()["output"] == str(tmp_path / "s.png")


def test_it_reads_no_further_than_it_must(
    idx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnist_pipeline.sources.idx.BLOCK_ROWS", 25)
    _, rows = draw(f"idx:{idx_folder}", tmp_path / "s.png", columns=4)
    assert rows == 50  # ten classes in turn: the fourth of the last one is row 39


def test_a_class_that_is_rare_or_missing(digits: tuple, tmp_path: Path) -> None:
    images, labels = digits[0][:30], digits[1][:30].copy()
    labels[labels == 3] = 4
    labels[labels == 5][1:] = 6
    write_idx(tmp_path / "i", "train", images, labels)
    sheet, _ = draw(f"idx:{tmp_path / 'i'}", tmp_path / "s.png")
    assert sheet.shown["3"] == 0
    expected = contact_sheet(images, labels, "0123456789", columns=4)
    np.testing.assert_array_equal(pixels(tmp_path / "s.png"), expected)


def test_official_test_rows_where_there_is_nothing_else(
    idx_folder: Path, digits: tuple, tmp_path: Path
) -> None:
    draw(f"idx:{idx_folder / 't10k-images-idx3-ubyte'}", tmp_path / "s.png")
    expected = contact_sheet(digits[0][400:], digits[1][400:], "0123456789", columns=4)
    np.testing.assert_array_equal(pixels(tmp_path / "s.png"), expected)


def test_without_labels(idx_folder: Path, digits: tuple, tmp_path: Path) -> None:
    sheet, _ = draw(f"idx:{idx_folder}", tmp_path / "s.png", labelled=False)
    assert sheet.shown == {"": 40}
    expected = contact_sheet(digits[0][:40], None, "0123456789", columns=4)
    np.testing.assert_array_equal(pixels(tmp_path / "s.png"), expected)
    with pytest.raises(ConfigError, match="without labels"):
        draw(f"idx:{idx_folder},labelled=false", tmp_path / "t.png")


def test_mistakes(idx_folder: Path, digits: tuple, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        draw(f"idx:{idx_folder}", tmp_path / "sheet.jpg")
    assert "sheet.jpg.png" in caught.value.remedy
    write_idx(tmp_path / "bad", "train", digits[0], np.full(600, 11, np.uint8))
    with pytest.raises(DataError, match="not one row"):
        draw(f"idx:{tmp_path / 'bad'}", tmp_path / "s.png")
    assert not list(tmp_path.glob("*.png"))
    draw(f"idx:{idx_folder}", tmp_path / "s.png")
    with pytest.raises(ConfigError, match="exists already"):
        draw(f"idx:{idx_folder}", tmp_path / "s.png")
    draw(f"idx:{idx_folder}", tmp_path / "s.png", overwrite=True)
