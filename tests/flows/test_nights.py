"""Nights on a real server with a real worker: scheduled runs, killed, overlapping, late.

Newer SQLAlchemy and FastAPI than the pinned ones break scheduled runs in silence, and nothing else
shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from nightly import Nights
from real import Prefect, descendants, kill, wait_for
from webhooks import Webhook

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

EVERY = 8
SILENCE = 35  # seconds; runs give a sign of life every 30


@pytest.fixture(scope="module")
def nights(
    prefect: Prefect, webhook: Webhook, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nights]:
    """Deployed as shipped but for the data: nothing is due within seconds yet."""
    nights = Nights(prefect, tmp_path_factory.mktemp("nights"), webhook)
    nights.configure(epochs=20_000)  # half a minute, to be killed in
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
    yield nights
    prefect.clear()


@pytest.mark.parametrize("change", ["2027-03-28", "2027-10-31"], ids=["spring", "autumn"])
def test_each_local_day_has_one_night_when_clocks_change(nights: Nights, change: str) -> None:
    prefect, day = nights.prefect, date.fromisoformat(change)
    first, last = (datetime.combine(day + timedelta(days=n), time(), UTC) for n in (-3, 3))
    window = {"start_time": first.isoformat(), "end_time": last.isoformat()}
    prefect.post(
        f"deployments/{nights.deployment['id']}/schedule", **window, min_runs=6, max_runs=50
    )
    due = [
        datetime.fromisoformat(run["expected_start_time"]).astimezone(ZoneInfo("Europe/Berlin"))
        for run in nights.runs("Scheduled")
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


def alarm_after(prefect: Prefect, seconds: int) -> None:
    """Lets the server declare a run dead that has been silent for so long."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.alarms import set_alarms

    settings = {PREFECT_API_URL: prefect.url}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        set_alarms(client, silence=timedelta(seconds=seconds))


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
    before = nights.deployment["id"]
    nights.training_alone()
    nights.deploy("--every", str(EVERY))
    assert nights.deployment["id"] == before
    alarm_after(prefect, SILENCE)

    # A scheduled run comes, and is still at work when the next is due: that one is cancelled.
    worker = prefect.start_worker(nights.elsewhere)
    run = wait_for(nights.training)
    assert run["auto_scheduled"]
    by_hand = [nights.new_run() for _ in range(3)]
    (second, *_) = wait_for(lambda: nights.runs("Cancelled"))
    assert second["state"]["message"] == "Deployment concurrency limit reached."
    wait_for(lambda: {nights.state(asked)["name"] for asked in by_hand} == {"Cancelled"})

    # The run is killed: the worker sees it, and the next run does what is left.
    for process in descendants(worker.pid):
        kill(process)
    wait_for(lambda: nights.state(run)["name"] == "Crashed")
    # (A server waits 15 minutes for the event before that of a run it has just scheduled itself,
    # and on SQLite, "database is locked" costs it an event now and then: one of three is enough.)
    told = wait_for(lambda: [event for asked in by_hand if (event := nights.told_of(asked))])
    assert told[0]["event"] == "cancelled"
    run = wait_for(nights.training)

    # The worker is killed, and with it the run: after a while the server declares it dead.
    kill(worker.pid)
    wait_for(lambda: nights.state(run)["name"] == "Crashed")
    assert nights.state(run)["message"] == "It has fallen silent."
    late = wait_for(lambda: enough(nights.runs("Late"), 3))
    assert nights.versions() == 0

    # Nobody worked for three nights: one is made up for, the others are not. (A fourth may have
    # come due since, and be the one.)
    worker = prefect.start_worker(nights.elsewhere)
    (done,) = wait_for(lambda: nights.runs("Completed"))
    others = [nights.state(each)["name"] for each in late if each["id"] != done["id"]]
    assert set(others) == {"Cancelled"}
    assert [end["status"] for end in nights.ends()] == ["promoted"]

    # The server is killed while a run is at work, and started again: the run does not notice.
    # (While there is no server a run is silent, however long it takes to come back.)
    alarm_after(prefect, 600)
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
