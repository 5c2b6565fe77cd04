"""A scoring's end: known to `status`, told if it failed or drifted, never in its way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_samples import write
from webhooks import Webhook

from mnist_pipeline import tell
from mnist_pipeline.cli import main
from mnist_pipeline.overview.page import INDEX
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.scorings import last_scoring

Score = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def images(digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """1,200 images: enough to tell drift."""
    return np.concatenate([digits[0], digits[0]])


def test_a_scoring_is_known_to_status(
    score: Score, images: np.ndarray, scorer: Path, tmp_path: Path, listener: Webhook, capsys
) -> None:
    code, told = score(write(tmp_path / "a.parquet", images))
    assert code == 0
    assert listener.told == []
    known = last_scoring(Store.open(scorer), "digits")
    assert known is not None
    assert (known["version"], known["rows"], known["failed_files"]) == (1, 1200, 0)
    assert known["drift"] == told["drift"]
    assert "1,200" in (scorer / INDEX).read_text()
    assert main(["status", "--workspace", str(scorer), "--no-server", "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["scoring"] == known


def test_drift_is_told(score: Score, images: np.ndarray, tmp_path: Path, listener: Webhook) -> None:
    inverted = write(tmp_path / "a.parquet", 255 - images)
    code, data = score(inverted)
    assert code == 0
    (told,) = listener.told
    assert told["event"] == "drifted"
    assert told["drift"] == data["drift"]
    assert told["text"].startswith("what was scored is not what digits@1 learned from: drift 1.")

    assert score(inverted, "--max-drift", "0.3")[0] == 3
    assert [each["event"] for each in listener.told] == ["drifted", "failed"]
    assert "have drifted" in listener.told[1]["text"]


def test_failures_are_told(
    score: Score, images: np.ndarray, tmp_path: Path, listener: Webhook
) -> None:
    write(tmp_path / "in/a.parquet", images)
    (tmp_path / "in/b.parquet").write_bytes(b"PAR1 nothing of the kind")
    assert score(tmp_path / "in")[0] == 3
    assert score(tmp_path / "nowhere")[0] == 3
    one, none = listener.told
    assert one["event"] == none["event"] == "failed"
    assert "b.parquet is damaged" in one["text"]
    assert (one["scored"], one["skipped_files"]) == (1200, 0)
    assert [failure["file"] for failure in one["failed_files"]] == ["b.parquet"]
    assert "nowhere" in none["text"]
    assert none["error"]["remedy"]


def test_who_may_only_read_the_workspace_can_score(
    score: Score, images: np.ndarray, tmp_path: Path, monkeypatch
) -> None:
    opened = Store.open.__func__  # type: ignore[attr-defined]

    def open_to_read(cls: type[Store], where: Any, *, writable: bool = True, **more: Any) -> Store:
        if writable and str(where).endswith("workspace"):
            raise tell.ConfigError("this workspace may only be read")
        store: Store = opened(cls, where, writable=writable, **more)
        return store

    monkeypatch.setattr(Store, "open", classmethod(open_to_read))
    code, _ = score(write(tmp_path / "a.parquet", images))
    assert code == 0
