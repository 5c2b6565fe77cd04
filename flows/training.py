"""The training flow: ingest → validate → normalize → train → evaluate → publish.

Run it with `mnist-pipeline train`, `python -m flows.training`, or from a Prefect deployment.

Annotations are not postponed here: `serve` pickles the flow's function by value, and the names of
its types would not be found on the other side.
"""

import sys
from urllib.parse import urlsplit

import httpx
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.artifacts import show_data, show_inputs, show_pictures, show_verdict
from flows.tasks import (
    evaluate_task,
    find_inputs_task,
    ingest_task,
    normalize_task,
    publish_task,
    train_task,
    validate_task,
)
from mnist_pipeline.config import Config
from mnist_pipeline.errors import OutsideError
from mnist_pipeline.pipeline import Result, result_of
from mnist_pipeline.reporting import Reporter, Step, listener, listening
from mnist_pipeline.stages.publish import unchanged
from mnist_pipeline.stages.resolve import resolved
from mnist_pipeline.stages.run import Run, Stage
from mnist_pipeline.store.objects import Store

_NO_HEARTBEATS = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}


@flow(
    name="training",
    flow_run_name="train {config.name}",
    description="Ingest, validate, normalize, train, evaluate and publish a digit model.",
    persist_result=False,
)
def training_flow(
    config: Config, workspace: str = "workspace", force: Stage | None = None
) -> Result:
    """Train a model, judge it, publish it.

    Args:
        config: the whole configuration; what is left out has its default.
        workspace: a folder or a URL.
        force: redo this stage and what follows, whatever is remembered.

    Raises:
        PipelineError: the run cannot go on; nothing published was touched.
    """
    reporter = RunLog(listener())
    run = Run(Store.open(workspace), resolved(config), force=force, reporter=reporter)
    inputs = find_inputs_task(config.data.sources, run.store)
    parts = [ingest_task(run, source) for source in inputs]
    show_inputs(config.name, parts)
    snapshot = validate_task(run, parts)
    show_data(run, snapshot)
    outcome, evaluated = unchanged(run, snapshot), None
    if outcome is None:
        normalized = normalize_task(run, snapshot)
        show_pictures(run, normalized)
        trained = train_task(run, snapshot, normalized)
        evaluated = evaluate_task(run, snapshot, trained)
        outcome = publish_task(run, snapshot, normalized, trained, evaluated)
    result = result_of(run, snapshot, outcome)
    show_verdict(run, result, evaluated)
    return result


class RunLog:
    """Writes what a run tells into the log of its Prefect run, and passes it on."""

    def __init__(self, listener: Reporter) -> None:
        self._listener = listener

    def begin(self, stage: str, what: str) -> None:
        self._listener.begin(stage, what)

    def step(self, step: Step) -> None:
        self._listener.step(step)

    def end(self, stage: str, result: str, seconds: float, *, reused: bool) -> None:
        get_run_logger().info("%s: %s (%.2f s)", stage, result, seconds)
        self._listener.end(stage, result, seconds, reused=reused)

    def note(self, text: str) -> None:
        get_run_logger().info("%s", text)
        self._listener.note(text)


def run_training_flow(
    config: Config, workspace: str, *, force: Stage | None, reporter: Reporter
) -> Result:
    """Runs the flow in this process, telling `reporter` how it goes.

    Without heartbeats: somebody is watching, and joining their thread would cost a second.
    """
    with listening(reporter), temporary_settings(_NO_HEARTBEATS):
        _check_server()
        try:
            result: Result = training_flow(config, workspace, force)
        except (httpx.HTTPError, PrefectException) as error:
            raise _no_server(error) from error
        return result


def _check_server() -> None:
    """Reaches the server, or starts the temporary one, before anything else is tried.

    Raises:
        OutsideError: it cannot be reached.
    """
    failure: Exception | None
    try:
        with get_client(sync_client=True) as client:
            failure = client.api_healthcheck()
    except (httpx.HTTPError, httpx.InvalidURL, PrefectException, RuntimeError, ValueError) as error:
        failure = error
    if failure is not None:
        raise _no_server(failure)


def _no_server(error: Exception) -> OutsideError:
    url = urlsplit(PREFECT_API_URL.value() or "")
    return OutsideError(
        "the Prefect server cannot be reached",
        url=f"{url.scheme}://{url.hostname}:{url.port}{url.path}" if url.hostname else url.path,
        cause=f"{type(error).__name__}: {error}".partition("\n")[0],
        remedy="start it with `prefect server start`, or mend PREFECT_API_URL (unset: a temporary "
        "server), or run without Prefect: --engine plain",
    )


if __name__ == "__main__":
    from mnist_pipeline.cli import main

    sys.exit(main(["train", *sys.argv[1:]]))
