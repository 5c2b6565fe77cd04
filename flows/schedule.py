"""What runs when, as the Prefect server has it."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL

TAG = "mnist-pipeline"
"""The tag of our deployments; the automations watch it."""


@dataclasses.dataclass(frozen=True)
class Planned:
    """A deployment, and when it runs.

    Attributes:
        deployment: `flow/deployment`.
        schedule: cron, or seconds between runs; None if it has no schedule.
        timezone: of a cron.
        active: whether the schedule is switched on.
        next: when it runs next, ISO 8601 in UTC; None if that is not known (yet).
        workspace: the workspace it works in.
    """

    deployment: str
    schedule: str | None
    timezone: str | None
    active: bool
    next: str | None
    workspace: str | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def planned(client: SyncPrefectClient) -> list[Planned]:
    """Every deployment of ours on the server."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found = client.read_deployments(deployment_filter=tagged)
    return sorted((_planned(client, each) for each in found), key=lambda plan: plan.deployment)


def _planned(client: SyncPrefectClient, deployment: DeploymentResponse) -> Planned:
    flow = client.read_flow(deployment.flow_id)
    schedule = deployment.schedules[0] if deployment.schedules else None
    rule = schedule.schedule if schedule else None
    interval = getattr(rule, "interval", None)
    waiting = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    due = waiting[0].expected_start_time if waiting else None
    return Planned(
        f"{flow.name}/{deployment.name}",
        f"every {interval.total_seconds():g} s" if interval else getattr(rule, "cron", None),
        None if interval else getattr(rule, "timezone", None),
        bool(schedule and schedule.active and not deployment.paused),
        f"{due:%Y-%m-%dT%H:%M:%SZ}" if due else None,
        deployment.parameters.get("workspace"),
    )


def schedule_of(workspace: str) -> dict[str, Any]:
    """What is planned for a workspace, or why nobody knows; never an error.

    Returns:
        `server`: its address or None; `deployments`: see `Planned`; `problem`: why there are none.
    """
    server = PREFECT_API_URL.value()
    told: dict[str, Any] = {"server": server, "deployments": [], "problem": None}
    if server is None:
        return told | {"problem": "no Prefect server is named (PREFECT_API_URL)"}
    try:
        with get_client(sync_client=True) as client:
            plans = [plan for plan in planned(client) if plan.workspace == workspace]
    except (httpx.HTTPError, httpx.InvalidURL, PrefectException, RuntimeError, ValueError) as error:
        return told | {"problem": f"the Prefect server cannot be asked ({type(error).__name__})"}
    told["deployments"] = [plan.to_json() for plan in plans]
    return told if plans else told | {"problem": "nothing is deployed; `mnist-pipeline deploy`"}
