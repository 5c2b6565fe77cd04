"""Records: reasons that are closed, inputs that are identified by their bytes alone."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from mnist_pipeline.contract.records import REASONS, Records, identity_of_files, unreadable
from mnist_pipeline.errors import DataError


def test_the_reasons_of_the_manual_are_all_there_and_explained() -> None:
    assert set(REASONS) >= {
        "label_missing",
        "label_out_of_range",
        "image_missing",
        "image_wrong_size",
        "pixel_not_a_number",
        "pixel_out_of_range",
        "wrong_column_count",
        "undecodable_image",
        "conflicting_duplicate",
        "exam_overlap",
    }
    assert all(len(meaning) > 10 for meaning in REASONS.values())


def test_records_count_their_rows() -> None:
    images = np.zeros((3, 4), np.uint8)
    assert len(Records(images, None, np.arange(3), "a.csv")) == 3


def write(folder: Path, **contents: bytes) -> tuple[Path, ...]:
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return tuple(folder / name for name in contents)


def test_an_input_is_its_bytes_not_its_name_or_place(tmp_path: Path) -> None:
    one = write(tmp_path / "a", images=b"1", labels=b"2")
    other = write(tmp_path / "b", renamed=b"1", also=b"2")
    assert identity_of_files(one) == identity_of_files(other)


def test_every_byte_of_every_file_counts_and_so_does_their_order(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a", images=b"1", labels=b"2"),
        write(tmp_path / "b", images=b"2", labels=b"1"),
        write(tmp_path / "c", images=b"1", labels=b"3"),
        write(tmp_path / "d", images=b"12", labels=b""),
        write(tmp_path / "e", images=b"", labels=b"12"),
        write(tmp_path / "f", images=b"12"),
    ]
    assert len({identity_of_files(paths) for paths in files}) == len(files)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (there,) = write(tmp_path / "a", images=b"1")
    with pytest.raises(DataError, match=r"labels\.gz does not exist") as caught:
        identity_of_files((there, tmp_path / "labels.gz"))
    assert caught.value.facts["file"] == str(tmp_path / "labels.gz")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a directory") as caught:
        identity_of_files((tmp_path,))
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOENT, "does not exist"),
        (errno.EISDIR, "is a directory"),
        (errno.EACCES, "may not be read"),
        (errno.EPERM, "may not be read"),
        (errno.EIO, "cannot be read"),
    ],
)
def test_what_the_system_says_becomes_a_sentence(number: int, words: str) -> None:
    error = unreadable(Path("in/a.csv"), OSError(number, "said the system"))
    assert error.headline.startswith("a.csv ")
    assert words in error.headline
    assert error.facts == {"file": "in/a.csv", "cause": "said the system"}
    assert error.remedy


def test_an_error_without_words_still_has_a_cause() -> None:
    assert unreadable(Path("a"), OSError("odd")).facts["cause"] == "odd"
