"""However a training ends: recorded, shown, told where somebody should know; never in its way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import Page
from webhooks import Webhook

from mnist_pipeline.errors import DataError, OutsideError
from mnist_pipeline.overview.page import INDEX
from mnist_pipeline.reporting import Silent
from mnist_pipeline.store.endings import Ending, newest_endings
from mnist_pipeline.store.objects import Store

Train = Callable[..., Any]


class Notes(Silent):
    """A reporter that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def last(workspace: Path) -> Ending:
    return newest_endings(Store.open(workspace), 1)[0]


def test_a_promotion_is_shown_and_not_told(
    train: Train, idx_folder: Path, workspace: Path, listener: Webhook
) -> None:
    result = train(f"idx:{idx_folder}")
    ending = last(workspace)
    assert (ending.status, ending.model, ending.version) == ("promoted", "digits", 1)
    assert ending.reasons == result.outcome.reasons
    assert (workspace / str(ending.report)).is_file()
    assert "Digits@1 is the new champion." in Page((workspace / INDEX).read_text()).text
    assert listener.told == []


def test_a_hold_and_a_block_are_told_once(
    train: Train, idx_folder: Path, workspace: Path, listener: Webhook
) -> None:
    train(f"idx:{idx_folder}")
    train(f"idx:{idx_folder}", "train.seed=1")
    train(f"idx:{idx_folder}", "train.seed=1")  # unchanged: said in the morning, told before
    train(f"idx:{idx_folder}", "train.seed=1", "gate.min_accuracy=0.999")
    assert [told["status"] for told in listener.told] == ["held", "blocked"]
    held = listener.told[0]
    assert held["event"] == "held"
    assert held["text"] == f"digits@2 is held: {held['reasons'][0]}"
    assert (held["model"], held["version"]) == ("digits", 2)
    assert held["metrics"]["n"] == 200
    assert Path(held["report"]).is_file()
    assert held["workspace"] == str(workspace)
    shown = {each.status for each in newest_endings(Store.open(workspace), 9)}
    assert shown == {"blocked", "unchanged", "held", "promoted"}


def test_a_failure_is_told_with_its_remedy(
    train: Train, tmp_path: Path, workspace: Path, listener: Webhook
) -> None:
    with pytest.raises(DataError):
        train(f"csv:{tmp_path}/*.csv")
    (told,) = listener.told
    assert told["event"] == told["status"] == "failed"
    assert told["text"] == "training digits failed: *.csv leads to no file"
    assert told["error"]["code"] == 3
    assert told["error"]["remedy"]
    ending = last(workspace)
    assert (ending.status, ending.reasons) == ("failed", ("*.csv leads to no file",))
    assert "→ check the path" in Page((workspace / INDEX).read_text()).text


def test_an_exception_nobody_expected_is_recorded_and_told(
    train: Train, idx_folder: Path, workspace: Path, listener: Webhook, monkeypatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("mnist_pipeline.pipeline.evaluate", fail)
    with pytest.raises(ZeroDivisionError):
        train(f"idx:{idx_folder}")
    assert last(workspace).reasons == ("ZeroDivisionError: by nothing",)
    assert listener.told[0]["error"]["kind"] == "bug"


def test_an_interrupted_run_is_recorded_and_not_told(
    train: Train, idx_folder: Path, workspace: Path, listener: Webhook, monkeypatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mnist_pipeline.pipeline.train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(f"idx:{idx_folder}")
    assert last(workspace).status == "interrupted"
    assert listener.told == []


def test_tuning_is_nobodys_business(
    train: Train, idx_folder: Path, workspace: Path, listener: Webhook
) -> None:
    assert train(f"idx:{idx_folder}", "data.use_exam=false").outcome.status == "held"
    assert listener.told == []


def test_a_webhook_that_is_down_fails_nothing_and_is_said(
    train: Train, idx_folder: Path, listener: Webhook
) -> None:
    train(f"idx:{idx_folder}")
    reporter = Notes()
    listener.answers = [500] * 3
    assert train(f"idx:{idx_folder}", "train.seed=1", reporter=reporter).outcome.status == "held"
    assert reporter.notes == ["nobody was told of this: the webhook answers 500"]


def test_a_page_that_cannot_be_written_fails_nothing_and_is_said(
    train: Train, idx_folder: Path, workspace: Path
) -> None:
    reporter = Notes()
    (workspace / INDEX).mkdir(parents=True)
    assert train(f"idx:{idx_folder}", reporter=reporter).outcome.status == "promoted"
    (note,) = reporter.notes
    assert note.startswith("the workspace's first page does not show this run: ")
    assert last(workspace).status == "promoted"


def test_a_record_that_cannot_be_written_hides_no_failure(
    train: Train, tmp_path: Path, monkeypatch
) -> None:
    def full(*_: Any) -> None:
        raise OutsideError("the disk is full")

    monkeypatch.setattr("mnist_pipeline.concluding.record_ending", full)
    with pytest.raises(DataError):
        train(f"csv:{tmp_path}/*.csv")


def test_what_was_left_in_the_workspace_fails_nothing(
    train: Train, idx_folder: Path, workspace: Path
) -> None:
    train(f"idx:{idx_folder}")
    (workspace / "models/digits/scoring.json").write_text(json.dumps({"rows": "many"}))
    (end,) = workspace.glob("runs/*/end.json")
    end.write_text(json.dumps({"run": 1, "model": 2, "status": 3, "reasons": [4]}))
    reporter = Notes()
    assert train(f"idx:{idx_folder}", reporter=reporter).outcome.status == "unchanged"
    assert len(reporter.notes) == 1
