"""How flows end: states with the verdict's name, one message each, whoever sends it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from small import SETTINGS
from webhooks import Webhook

from mnist_pipeline import tell
from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.errors import DataError
from mnist_pipeline.store.endings import newest_endings
from mnist_pipeline.store.objects import Store

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
]


def config_for(folder: Path, *settings: str) -> Any:
    layers = [parse_setting(setting) for setting in (*SETTINGS, *settings)]
    return resolve([*layers, {"data": {"sources": [f"idx:{folder}"]}}])


def newest_state() -> Any:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        return client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0].state


def test_a_verdict_is_the_name_of_the_state(
    idx_folder: Path, workspace: Path, listener: Webhook
) -> None:
    from flows.training import training_flow

    names = []
    for settings in ((), ("train.seed=1",), ("gate.min_accuracy=0.999",)):
        result: Any = training_flow(config_for(idx_folder, *settings), str(workspace))
        state = newest_state()
        assert state.type.value == "COMPLETED"
        names.append((state.name, result.outcome.status))
    assert names == [("Completed", "promoted"), ("Held", "held"), ("Blocked", "blocked")]
    assert "below_floor" in state.message
    assert [told["event"] for told in listener.told] == ["held", "blocked"]
    ended = {ending.status for ending in newest_endings(Store.open(workspace), 9)}
    assert ended == {"promoted", "held", "blocked"}


def test_a_failure_is_told_by_the_run_where_no_server_does(
    idx_folder: Path, workspace: Path, listener: Webhook
) -> None:
    from flows.training import training_flow

    (idx_folder / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError):
        training_flow(config_for(idx_folder), str(workspace))
    assert [told["event"] for told in listener.told] == ["failed"]
    assert newest_endings(Store.open(workspace), 1)[0].status == "failed"


def test_a_failure_is_told_once(
    idx_folder: Path, workspace: Path, listener: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run of a deployment whose server has the automation: the run leaves it to the server."""
    from prefect.client.orchestration import get_client

    from flows.alarms import server_tells, set_alarms
    from flows.training import training_flow

    assert not server_tells()  # this is no run
    told: list[bool] = []

    def in_a_deployment() -> bool:
        from prefect.context import FlowRunContext

        context = FlowRunContext.get()
        assert context
        assert context.flow_run
        monkeypatch.setattr(context.flow_run, "deployment_id", context.flow_run.id)
        told.append(server_tells())
        return told[-1]

    monkeypatch.setattr("flows.training.server_tells", in_a_deployment)
    (idx_folder / "train-labels-idx1-ubyte").write_bytes(b"")
    with get_client(sync_client=True) as client:
        for automation in client.read_automations():
            client.delete_automation(automation.id)
        with pytest.raises(DataError):
            training_flow(config_for(idx_folder), str(workspace))
        assert len(set_alarms(client)) == 2
        with pytest.raises(DataError):
            training_flow(config_for(idx_folder), str(workspace))
        before = {each.id for each in client.read_automations()}
        assert len(set_alarms(client)) == 2
        assert {each.id for each in client.read_automations()} == before  # neither new nor doubled
        assert len(set_alarms(client, silence=timedelta(minutes=1))) == 2
        assert len({each.id for each in client.read_automations()} - before) == 1  # replaced
        assert len(client.read_automations()) == 2
    assert told == [False, True]
    assert [each["event"] for each in listener.told] == ["failed"]


def test_without_a_webhook_the_server_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client.orchestration import get_client

    from flows.alarms import CRASHES, set_alarms

    monkeypatch.delenv(tell.WEBHOOK, raising=False)
    with get_client(sync_client=True) as client:
        assert set_alarms(client) == [CRASHES]
