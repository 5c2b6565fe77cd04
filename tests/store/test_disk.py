"""Files moved into place, even while somebody tidies empty folders away."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from mnist_pipeline.store.disk import move


def test_a_file_is_moved_into_a_folder_that_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("new")
    for _ in range(2):
        (tmp_path / "file").write_text("new")
        move(tmp_path / "file", tmp_path / "a/b/c")
        assert (tmp_path / "a/b/c").read_text() == "new"
        assert not (tmp_path / "file").exists()


def test_a_file_that_is_not_there_cannot_be_moved(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        move(tmp_path / "file", tmp_path / "a/b")


def test_a_file_cannot_be_moved_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("new")
    (tmp_path / "a").write_text("not a folder")
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        move(tmp_path / "file", tmp_path / "a/b")
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize(("times", "moved"), [(1, True), (2, True), (3, False)])
def test_an_empty_folder_that_is_tidied_away_meanwhile_is_made_again(
    tmp_path: Path, times: int, moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir, tidied = Path.mkdir, []

    def mkdir_and_tidy(self: Path, **options: bool) -> None:
        mkdir(self, **options)
        if len(tidied) < times:
            tidied.append(self)
            self.rmdir()

    monkeypatch.setattr(Path, "mkdir", mkdir_and_tidy)
    (tmp_path / "file").write_text("x")
    with nullcontext() if moved else pytest.raises(FileNotFoundError):
        move(tmp_path / "file", tmp_path / "folder/file")
    assert (tmp_path / "folder/file").exists() == moved
    assert (tmp_path / "file").exists() != moved
