"""`mnist-pipeline status`: champions, runs, what comes next, for people and programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_pipeline.cli import main

Train = Callable[..., Any]


@pytest.fixture
def status(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `mnist-pipeline status` prints."""

    def run(*words: str) -> str:
        assert main(["status", "--workspace", str(workspace), "--no-server", *words]) == 0
        return capsys.readouterr().out

    return run


def test_people_see_champion_runs_and_page(
    train: Train, idx_folder: Path, workspace: Path, status: Callable[..., str]
) -> None:
    accuracy = train(f"idx:{idx_folder}").outcome.metrics["accuracy"]
    lines = status().splitlines()
    assert lines[0] == f"digits@1 is champion, {accuracy:.2%} in the exam"
    assert lines[1].startswith("  since 20")
    began, ended, model, why = lines[3].split("\t")
    assert (ended, model) == ("promoted", "digits@1")
    assert began.endswith("Z")
    assert why.startswith("first_version: ")
    assert lines[-1] == f"page: {workspace}/index.html"


def test_programs_get_one_object(
    train: Train, idx_folder: Path, workspace: Path, status: Callable[..., str]
) -> None:
    train(f"idx:{idx_folder}")
    data = json.loads(status("--json"))
    assert set(data) == {"workspace", "models", "runs", "schedule", "page"}
    assert data["workspace"] == str(workspace)
    (model,) = data["models"]
    assert (model["name"], model["champion"]["version"], model["scoring"]) == ("digits", 1, None)
    (run,) = data["runs"]
    assert (run["status"], run["version"], run["error"]) == ("promoted", 1, None)
    assert data["schedule"] == {"server": None, "deployments": [], "problem": None}


def test_an_empty_workspace_and_none(
    workspace: Path, status: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.mkdir()
    assert "no model yet" in status()
    assert not list(workspace.iterdir())
    nowhere = str(workspace / "nowhere")
    assert main(["status", "--workspace", nowhere, "--no-server"]) == 6
    assert "there is no workspace" in capsys.readouterr().err


def test_a_promotion_by_hand_is_on_the_page_at_once(
    train: Train, idx_folder: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(f"idx:{idx_folder}")
    train(f"idx:{idx_folder}", "train.seed=1")
    page, where = workspace / "index.html", ["--workspace", str(workspace)]
    assert "digits@1, champion" in page.read_text()
    assert main(["models", "promote", "digits@2", "--reason", "looked at it", *where]) == 0
    assert "digits@2, champion" in page.read_text()
    assert "looked at it" in page.read_text()
    assert main(["models", "rollback", "digits", *where]) == 0
    assert "digits@1, champion" in page.read_text()
