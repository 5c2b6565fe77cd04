"""Nights on a real server with a real worker: scheduled runs, killed, overlapping, late.

Newer SQLAlchemy and FastAPI than the pinned ones break scheduled runs in silence, and nothing else
shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from real import ROOT, Prefect, Webhook, descendants, kill, listening_webhook, wait_for
from small import write_idx

from mnist_pipeline.sources.synthetic import draw_digits
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

EVERY = 8
SILENCE = 35  # seconds; runs give a sign of life every 30
NIGHT = """
[data]
sources = ["idx:landing"]
[model]
kind = "softmax"
[train]
epochs = {epochs}
[gate]
min_accuracy = 0
min_recall = 0
"""


class Nights:
    """A folder with data and a configuration, deployed on a server."""

    def __init__(self, prefect: Prefect, folder: Path, webhook: Webhook) -> None:
        self.prefect, self.folder, self.webhook = prefect, folder, webhook
        self.deployments = folder / "deployments"
        self.deployments.mkdir(parents=True)
        for name in ("prefect.yaml", "scoring.toml"):
            (self.deployments / name).write_bytes((ROOT / "deployments" / name).read_bytes())
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()

    def configure(self, *, epochs: int) -> None:
        (self.deployments / "nightly.toml").write_text(NIGHT.format(epochs=epochs))

    def new_data(self, seed: int, rows: int = 400) -> None:
        """Other files in the landing: the next night has something to learn."""
        labels = (np.arange(rows) % 10).astype(np.uint8)
        images = draw_digits(labels, np.random.default_rng(seed))
        write_idx(self.folder / "landing", "train", images, labels)

    def deploy(self, *words: str) -> dict[str, Any]:
        file = str(self.deployments / "prefect.yaml")
        told = self.prefect.deploy("--file", file, *words, cwd=self.folder)
        assert told["workspace"] == str(self.folder / "workspace")
        return told

    def versions(self) -> int:
        registry = Registry(Store.open(self.folder / "workspace"))
        return len(registry.versions("digits"))

    def ends(self) -> list[dict[str, Any]]:
        """The records of all runs that came to an end, oldest first."""
        found = sorted((self.folder / "workspace/runs").glob("*/end.json"))
        return [json.loads(path.read_text()) for path in found]

    def training(self) -> Any:
        """The run that is in its train stage, if one is."""
        running = self.prefect.runs("training", "Running")
        tasks = self.prefect.post(
            "task_runs/filter",
            flow_runs={"id": {"any_": [run["id"] for run in running]}},
            task_runs={"name": {"any_": ["train"]}, "state": {"name": {"any_": ["Running"]}}},
        )
        return running[0] if running and tasks else None

    def new_run(self) -> dict[str, Any]:
        """A run that somebody asks for by hand."""
        deployment = self.prefect.get("deployments/name/training/nightly")["id"]
        path, now = f"deployments/{deployment}/create_flow_run", {"type": "SCHEDULED"}
        return dict(self.prefect.post(path, state=now))

    def told_of(self, run: dict[str, Any]) -> dict[str, Any] | None:
        """What the server has told of a run."""
        told = [each for each in self.webhook.told if each.get("url", "").endswith(run["id"])]
        return told[0] if told else None

    def state(self, run: dict[str, Any]) -> dict[str, Any]:
        return dict(self.prefect.get(f"flow_runs/{run['id']}")["state"])


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[Prefect]:
    prefect = Prefect(tmp_path_factory.mktemp("server"), MNIST_PIPELINE_WEBHOOK=webhook.url)
    try:
        prefect.start_server()
        yield prefect
    finally:
        prefect.stop()


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with listening_webhook() as webhook:
        yield webhook


@pytest.fixture(scope="module")
def nights(prefect: Prefect, webhook: Webhook, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """Deployed as shipped but for the data: nothing is due within seconds yet."""
    nights = Nights(prefect, tmp_path_factory.mktemp("nights"), webhook)
    nights.configure(epochs=1000)
    nights.new_data(seed=1)
    told = nights.deploy()
    assert [plan["deployment"] for plan in told["deployments"]] == [
        "housekeeping/weekly",
        "scoring/daily",
        "training/nightly",
    ]
    assert [plan["active"] for plan in told["deployments"]] == [True, False, True]
    assert any("no worker is online" in line for line in told["missing"])
    assert any("landing" in line for line in told["missing"])  # no Parquet there to score
    return nights


@pytest.mark.parametrize("change", ["2027-03-28", "2027-10-31"], ids=["spring", "autumn"])
def test_each_local_day_has_one_night_when_clocks_change(nights: Nights, change: str) -> None:
    prefect, day = nights.prefect, date.fromisoformat(change)
    deployment = prefect.get("deployments/name/training/nightly")
    first, last = (datetime.combine(day + timedelta(days=n), time(), UTC) for n in (-3, 3))
    window = {"start_time": first.isoformat(), "end_time": last.isoformat()}
    prefect.post(f"deployments/{deployment['id']}/schedule", **window, min_runs=6, max_runs=50)
    due = [
        datetime.fromisoformat(run["expected_start_time"]).astimezone(ZoneInfo("Europe/Berlin"))
        for run in prefect.runs("training", "Scheduled")
    ]
    nights_around = [moment for moment in due if first <= moment < last]
    assert [moment.date() for moment in nights_around] == [
        day + timedelta(days=n) for n in range(-3, 3)
    ]
    assert {f"{moment:%H:%M}" for moment in nights_around} == {"04:30"}
    offsets = {moment.utcoffset() for moment in nights_around}
    assert offsets == {timedelta(hours=1), timedelta(hours=2)}  # the clocks did change


def enough(found: list[Any], least: int) -> list[Any]:
    return found if len(found) >= least else []


def hasten_alarms(prefect: Prefect) -> None:
    """Lets the server declare a run dead that has been silent for seconds, not for minutes."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.alarms import set_alarms

    settings = {PREFECT_API_URL: prefect.url}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        set_alarms(client, silence=timedelta(seconds=SILENCE))


@pytest.mark.parametrize("state", ["FAILED", "CRASHED", "CANCELLED"])
def test_the_server_tells_of_runs_that_went_wrong(nights: Nights, state: str) -> None:
    run = nights.new_run()
    words = {"type": state, "message": 'it said "no"'}
    nights.prefect.post(f"flow_runs/{run['id']}/set_state", state=words, force=True)
    told = wait_for(lambda: nights.told_of(run), 20)
    assert told["event"] == state.lower()
    assert told["deployment"] == "training/nightly"
    assert told["message"] == 'it said "no"'
    assert told["text"] == f'training/nightly: run {run["name"]}: {state.title()}. it said "no"'
    assert told["url"].endswith(run["id"])


def test_nights_that_are_killed_overlap_or_come_late(nights: Nights) -> None:
    prefect = nights.prefect
    before = prefect.get("deployments/name/training/nightly")["id"]
    nights.deploy("--every", str(EVERY))
    assert prefect.get("deployments/name/training/nightly")["id"] == before
    hasten_alarms(prefect)

    # A scheduled run comes, and is still at work when the next is due: that one is cancelled.
    worker = prefect.start_worker(nights.elsewhere)
    run = wait_for(nights.training)
    assert run["auto_scheduled"]
    by_hand = nights.new_run()
    (second, *_) = wait_for(lambda: prefect.runs("training", "Cancelled"))
    assert second["state"]["message"] == "Deployment concurrency limit reached."
    # (A server waits 15 minutes for the event before that of a run it has just scheduled itself.)
    assert wait_for(lambda: nights.told_of(by_hand))["event"] == "cancelled"

    # The run is killed: the worker sees it, and the next run does what is left.
    for process in descendants(worker.pid):
        kill(process)
    wait_for(lambda: nights.state(run)["name"] == "Crashed")
    run = wait_for(nights.training)

    # The worker is killed, and with it the run: after a while the server declares it dead.
    kill(worker.pid)
    wait_for(lambda: nights.state(run)["name"] == "Crashed")
    assert nights.state(run)["message"] == "It has fallen silent."
    late = wait_for(lambda: enough(prefect.runs("training", "Late"), 3))
    assert nights.versions() == 0

    # Nobody worked for three nights: the first is made up for, the others are not.
    prefect.start_worker(nights.elsewhere)
    (done,) = wait_for(lambda: prefect.runs("training", "Completed"))
    assert done["id"] == late[0]["id"]
    assert {nights.state(each)["name"] for each in late[1:3]} == {"Cancelled"}
    assert [end["status"] for end in nights.ends()] == ["promoted"]

    # The server is killed while a run is at work, and started again: the run does not notice.
    nights.new_data(seed=2)
    run = wait_for(nights.training)
    prefect.kill_server()
    prefect.start_server()
    wait_for(lambda: nights.state(run)["name"] in ("Completed", "Held"))
    assert nights.versions() == 2

    # Nothing new: said, and nothing is trained.
    wait_for(lambda: nights.ends()[-1]["status"] == "unchanged")
    assert nights.versions() == 2
    assert not list((nights.folder / "workspace").rglob(".scratch/*"))
