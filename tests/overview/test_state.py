"""The state of a workspace: read from what runs, promotions and scorings have left there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_pipeline.overview.state import MOST_VERSIONS, state_of
from mnist_pipeline.store.endings import Ending, newest_endings, record_ending
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.owner import Owner
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.scorings import last_scoring, record_scoring

Train = Callable[..., Any]


def ending(run: str, **changes: Any) -> Ending:
    return Ending(**({"run": run, "model": "digits", "status": "held"} | changes))


def test_runs_come_newest_first_and_no_more_than_asked(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    runs = [f"203001{day:02d}T030405Z-0000000{day}" for day in range(1, 6)]
    for run in runs:
        record_ending(store, ending(run, reasons=("a: b",), version=3))
    found = newest_endings(store, 3)
    assert [each.run for each in found] == runs[:1:-1]
    assert found[0] == ending(runs[-1], reasons=("a: b",), version=3)
    assert found[0].began == "2030-01-05T03:04:05Z"


def test_a_run_without_a_record_was_killed_or_is_at_work(tmp_path: Path) -> None:
    store, this = Store.open(tmp_path), Owner.this()
    gone, elsewhere = Owner(this.host, this.space, 2**22 + 1), Owner("other", this.space, this.pid)
    for run, owner in (("1", gone), ("2", this), ("3", elsewhere)):
        sign = {"model": "digits", "owner": vars(owner)}
        store.put(f"runs/{run}/at-work.json", json.dumps(sign).encode())
    store.put("runs/4/stages/01-ingest.json", b"{}")
    store.put("runs/5/end.json", b'{"status": ["what"')
    found = {each.run: (each.status, each.model) for each in newest_endings(store, 9)}
    assert found == {
        "1": ("killed", "digits"),
        "2": ("at work", "digits"),
        "3": ("not ended", "digits"),
        "4": ("not ended", None),
        "5": ("not ended", None),
    }


def test_that_a_floor_was_passed_is_not_why() -> None:
    assert ending("1", reasons=("above_floors: a", "not_better: b")).why == "not_better: b"
    assert ending("1", reasons=("above_floors: a",)).why == "above_floors: a"
    assert ending("1").why == ""


def test_champion_versions_and_scoring(train: Train, idx_folder: Path, workspace: Path) -> None:
    train(f"idx:{idx_folder}")
    train(f"idx:{idx_folder}", "train.seed=1")
    store = Store.open(workspace)
    record_scoring(store, "digits", {"version": 1, "rows": 7, "drift": None, "finished": "now"})
    (model,) = state_of(store).models
    assert [row.version for row in model.versions] == [2, 1]
    assert model.champion == model.versions[1]
    assert model.reign["by"] == "gate"
    assert model.scoring == {"version": 1, "rows": 7, "drift": None, "finished": "now"}
    told = json.loads(json.dumps(state_of(store).to_json()))
    assert told["models"][0]["champion"]["version"] == 1
    assert {run["status"] for run in told["runs"]} == {"held", "promoted"}


def test_damage_is_said_and_not_raised(train: Train, idx_folder: Path, workspace: Path) -> None:
    train(f"idx:{idx_folder}")
    store = Store.open(workspace)
    (workspace / "models/digits/scoring.json").write_text("{")
    assert last_scoring(store, "digits") is None
    (workspace / "models/digits/versions/1/manifest.json").write_text("{")
    (model,) = state_of(store).models
    assert model.versions[0].status == "damaged"
    (workspace / "models/digits/channels/champion/000001.json").write_text("{")
    (model,) = state_of(store).models
    assert model.damage == "an entry of a series is damaged"


def test_only_the_newest_versions_are_read_and_the_champion(
    train: Train, idx_folder: Path, workspace: Path
) -> None:
    train(f"idx:{idx_folder}")
    folder = workspace / "models/digits/versions"
    manifest = json.loads((folder / "1/manifest.json").read_text())
    for number in range(2, MOST_VERSIONS + 3):
        (folder / str(number)).mkdir()
        (folder / str(number) / "manifest.json").write_text(
            json.dumps(manifest | {"version": number})
        )
    (model,) = state_of(Store.open(workspace)).models
    newest = list(range(MOST_VERSIONS + 2, 2, -1))
    assert [row.version for row in model.versions] == [*newest, 1]
    assert len(Registry(Store.open(workspace)).versions("digits")) == MOST_VERSIONS + 2
