"""Paths, folders and patterns, as users name files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from mnist_pipeline.errors import DataError
from mnist_pipeline.plugins import build
from mnist_pipeline.sources.csv import Csv
from mnist_pipeline.sources.files import base_name, files_at, path_of


def names(paths: Iterable[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_files_folders_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in "b.csv", "a.csv.gz", ".hidden.csv", "notes.txt", "more/c.csv", "odd[1].csv":
        (tmp_path / name).touch()

    def found(pattern: str) -> list[str]:
        return names(files_at(str(tmp_path / pattern), (".csv", ".csv.gz")), tmp_path)

    assert found("") == ["a.csv.gz", "b.csv", "odd[1].csv"]
    assert found("*.csv") == ["b.csv", "odd[1].csv"]
    assert found("**/*.csv") == ["b.csv", "more/c.csv", "odd[1].csv"]
    assert found("odd[1].csv") == ["odd[1].csv"]
    assert found("notes.txt") == ["notes.txt"]
    parts = build("source", "csv", {"path": str(tmp_path / "*.csv*")}).parts()
    assert [(part.name, part.role) for part in parts] == [
        ("a.csv.gz", "train"),
        ("b.csv", "train"),
        ("odd[1].csv", "train"),
    ]


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for pattern, headline in [
        ("none.csv", "none.csv does not exist"),
        ("*.tsv", r"\*.tsv leads to no file"),
        ("folder", "folder leads to no file"),
        ("fold*", "leads to no file"),
        ("pipe.csv", "pipe.csv is a pipe, not a file"),
    ]:
        with pytest.raises(DataError, match=headline) as caught:
            Csv(str(tmp_path / pattern)).parts()
        assert caught.value.remedy
        assert caught.value.facts["file"] == str(tmp_path / pattern)


@pytest.mark.parametrize("text", ["~nosuchuser/x", "a\0b"])
def test_what_cannot_be_a_path_is_explained(text: str) -> None:
    with pytest.raises(DataError, match="cannot be a path") as caught:
        path_of(text)
    assert caught.value.remedy


def test_a_name_that_is_no_text_becomes_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.csv")
    assert base_name(tmp_path / name) == "\ufffd.csv"
