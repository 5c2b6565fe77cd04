"""Inputs, answers and the workspace in or around each other: told, or harmless."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from score_samples import answers, write


@pytest.fixture
def home(tmp_path: Path, scorer: Path, digits: Any) -> Path:
    """A folder as people have it: images in folders, and the workspace beside them."""
    shutil.copytree(scorer, tmp_path / "home" / "workspace")
    write(tmp_path / "home" / "a.parquet", digits[0][:5])
    write(tmp_path / "home" / "more" / "b.parquet", digits[0][5:9])
    return tmp_path / "home"


TOLD = ("index.html", "models/digits/scoring.json")
"""Where a workspace is told that its model has scored."""


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in TOLD}


def test_the_workspace_below_the_input_is_left_out(
    home: Path, score: Any, monkeypatch: Any
) -> None:
    workspace = home / "workspace"
    for spec in (home, f"{home}/**/*.parquet"):
        code, data = score(spec, workspace=workspace, to=home / "answers")
        assert (code, data["files"], data["rows"]) == (0, 2, 9)
    monkeypatch.chdir(home)
    assert score(".", workspace="workspace", to="answers")[1]["files"] == 2


def test_the_workspace_is_no_input(home: Path, score: Any, output: Path) -> None:
    code, data = score(home / "workspace", workspace=home / "workspace")
    assert code == 2
    assert "is the workspace" in data["error"]["headline"]
    assert not output.exists()
    # What is named in it counts: somebody wants to know.
    parts = home / "workspace" / "parts"
    code, data = score(f"{parts}/*/part.parquet", workspace=home / "workspace")
    assert (code, data["rows"]) == (0, 600)


@pytest.mark.parametrize("place", ["models", "models/digits/new", "parts/x", ".scratch/x", "."])
def test_no_answers_among_what_makes_up_a_workspace(place: str, home: Path, score: Any) -> None:
    before = contents(home)
    code, data = score(
        home / "a.parquet", workspace=home / "workspace", to=home / "workspace" / place
    )
    assert code == 2
    assert data["error"]["remedy"]
    assert contents(home) == before


def test_a_folder_of_answers_in_the_workspace_is_harmless(home: Path, score: Any) -> None:
    workspace = home / "workspace"
    before = contents(workspace)
    for _ in range(2):
        assert score(home, workspace=workspace, to=workspace / "answers")[1]["files"] == 2
    after = contents(workspace)
    assert all(name.startswith("answers/") for name in after.keys() - before.keys())
    assert all(after[name] == data for name, data in before.items())


def test_a_workspace_among_answers_is_harmless(home: Path, score: Any, output: Path) -> None:
    workspace = output / "workspace"
    score(home / "a.parquet", workspace=home / "workspace")
    shutil.copytree(home / "workspace", workspace)
    before = contents(workspace)
    assert score(home / "more", workspace=workspace)[0] == 0
    assert contents(workspace) == before


def test_a_file_that_is_no_answer_is_not_replaced(home: Path, score: Any, output: Path) -> None:
    """Whoever puts new images into the folder of answers still has them afterwards."""
    assert score(home / "a.parquet", workspace=home / "workspace")[0] == 0
    images = write(output / "b.parquet", np.zeros((3, 784), np.uint8))
    before = images.read_bytes()
    for spec in (images, home / "more"):
        code, data = score(spec, workspace=home / "workspace")
        assert code == 2
        assert data["failed_files"][0]["file"] == "b.parquet"
        assert "no file of answers" in data["error"]["headline"]
        assert images.read_bytes() == before
    (output / "b.parquet").unlink()
    assert score(home / "more", workspace=home / "workspace")[0] == 0
    assert len(answers(output, "b.parquet")) == 4
    assert pq.read_metadata(output / "a.parquet").num_rows == 5


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder in which this process has no special rights, even if it is root's."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_folders_that_may_not_be_read_are_not_passed_over(nobody: Path) -> None:
    from mnist_pipeline.errors import DataError
    from mnist_pipeline.score.inputs import find_inputs

    write(nobody / "in" / "a.parquet", np.zeros((3, 784), np.uint8))
    write(nobody / "in" / "closed" / "b.parquet", np.zeros((3, 784), np.uint8))
    write(nobody / "in" / ".hidden" / "b.parquet", np.zeros((3, 784), np.uint8))
    for name in ("closed", ".hidden"):
        (nobody / "in" / name).chmod(0)
    try:
        with pytest.raises(DataError, match="closed may not be read"):
            find_inputs([str(nobody / "in")])
        (nobody / "in" / "closed").chmod(0o700)
        assert len(find_inputs([str(nobody / "in")])) == 2
    finally:
        for name in ("closed", ".hidden"):
            (nobody / "in" / name).chmod(0o700)
