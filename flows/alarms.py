"""What a Prefect server does by itself when a run goes wrong: it tells, and it declares dead.

A run tells of its own verdict (`mnist_pipeline/tell.py`). What it cannot tell, the server does:
that its process is gone, that nobody came for it, that it was cancelled since the one before it was
still at work. That it failed the server tells too, since some runs fail before they have begun.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import PrefectException

from flows.schedule import TAG
from mnist_pipeline.tell import webhook

TELLS = "mnist-pipeline: tell of a run that went wrong"
CRASHES = "mnist-pipeline: a run that falls silent has crashed"

SILENCE = timedelta(minutes=5)
"""Ten times as long as runs wait between two signs of life; see `deployments/prefect.yaml`."""

_BLOCK = "mnist-pipeline"
_WRONG = ("Failed", "Crashed", "TimedOut", "Cancelled", "Late")
_BODY = """{% set state = event.resource["prefect.state-name"] -%}
{% set message = event.resource["prefect.state-message"] or "" -%}
{% set name = flow.name ~ "/" ~ deployment.name -%}
{
  "event": {{ state | lower | tojson }},
  "text": {{ (name ~ ": run " ~ flow_run.name ~ ": " ~ state ~ ". " ~ message) | tojson }},
  "message": {{ message | tojson }},
  "deployment": {{ name | tojson }},
  "flow_run": {{ flow_run.name | tojson }},
  "url": {{ flow_run | ui_url | tojson }},
  "time": {{ event.occurred.isoformat() | tojson }}
}"""


def set_alarms(client: SyncPrefectClient, silence: timedelta = SILENCE) -> list[str]:
    """Registers the automations, in place of other ones of these names; returns the names.

    Without a webhook there is nobody to tell, and only silent runs are declared dead. One that is
    there already stays as it is: a new one would not know of a run that has just fallen silent.

    Raises:
        ConfigError: the webhook's address is none.
    """
    ours = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
    tagged = ResourceSpecification(
        {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
    )
    automations = [
        AutomationCore(
            name=CRASHES,
            description="Whatever has killed it: its slot is free for the next one.",
            trigger=EventTrigger(
                match=ours,
                match_related=tagged,
                for_each={"prefect.resource.id"},
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.*"},
                posture=Posture.Proactive,
                within=silence,
            ),
            actions=[ChangeFlowRunState(state=StateType.CRASHED, message="It has fallen silent.")],
        )
    ]
    if address := webhook():
        block = Webhook(url=address)
        automations.append(
            AutomationCore(
                name=TELLS,
                description="Whoever listens at MNIST_PIPELINE_WEBHOOK.",
                trigger=EventTrigger(
                    match=ours,
                    match_related=tagged,
                    expect={f"prefect.flow-run.{state}" for state in _WRONG},
                    posture=Posture.Reactive,
                    for_each={"prefect.resource.id"},
                    threshold=1,
                ),
                actions=[
                    CallWebhook(block_document_id=block.save(_BLOCK, overwrite=True), payload=_BODY)
                ],
            )
        )
    for automation in automations:
        known = client.read_automations_by_name(automation.name)
        if any(_meaning(old) == _meaning(automation) for old in known):
            continue
        for old in known:
            client.delete_automation(old.id)
        client.create_automation(automation)
    return [automation.name for automation in automations]


def _meaning(automation: AutomationCore) -> dict[str, Any]:
    """What an automation does, without the id that a server gives to it."""
    return automation.model_dump(include={"enabled", "trigger", "actions"})


def server_tells() -> bool:
    """Whether the server tells of the failure of the run in this context."""
    context = FlowRunContext.get()
    if not context or not context.flow_run or not context.flow_run.deployment_id:
        return False
    try:
        with get_client(sync_client=True) as client:
            return any(each.enabled for each in client.read_automations_by_name(TELLS))
    except (httpx.HTTPError, PrefectException):
        return False
