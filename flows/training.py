"""The training flow: ingest → validate → inspect → normalize → train → evaluate → publish.

Run it with `mnist-pipeline train`, `python -m flows.training`, or from a Prefect deployment.

Annotations are not postponed here: `serve` pickles the flow's function by value, and the names of
its types would not be found on the other side.
"""

import sys
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.alarms import server_tells
from flows.artifacts import show_data, show_inputs, show_pictures, show_verdict
from flows.running import RunLog, running_here
from flows.tasks import (
    deliver_task,
    evaluate_task,
    find_inputs_task,
    ingest_task,
    inspect_task,
    normalize_task,
    publish_task,
    train_task,
    validate_task,
)
from mnist_pipeline.concluding import TOLD, concluding
from mnist_pipeline.config import Config
from mnist_pipeline.pipeline import Result, result_of
from mnist_pipeline.reporting import Reporter, listener
from mnist_pipeline.stages.inputs import Input
from mnist_pipeline.stages.publish import unchanged
from mnist_pipeline.stages.resolve import resolved
from mnist_pipeline.stages.run import Run, Stage
from mnist_pipeline.store.objects import Store


@flow(
    name="training",
    flow_run_name="train {config.name}",
    description="Ingest, validate, inspect, normalize, train, evaluate and publish a digit model.",
    persist_result=False,
)
def training_flow(
    config: Config,
    workspace: str = "workspace",
    force: Stage | None = None,
    verify: bool = False,
) -> Result | State[Result]:
    """Train a model, judge it, publish it.

    Args:
        config: the whole configuration; what is left out has its default.
        workspace: a folder or a URL.
        force: redo this stage and what follows, whatever is remembered.
        verify: look at the bytes of all files, however unchanged they seem.

    Raises:
        PipelineError: the run cannot go on; nothing published was touched.
    """
    reporter = RunLog(listener())
    run = Run(
        Store.open(workspace), resolved(config), force=force, verify=verify, reporter=reporter
    )
    with run.at_work(), concluding(run, server_tells) as conclude:
        arrivals = [
            ingest_task(run, arrival) if isinstance(arrival, Input) else arrival
            for arrival in find_inputs_task(run)
        ]
        show_inputs(config.name, arrivals)
        snapshot = validate_task(run, arrivals)
        show_data(run, snapshot)
        outcome, evaluated = unchanged(run, snapshot) or inspect_task(run, snapshot), None
        if outcome is None:
            normalized = normalize_task(run, snapshot)
            show_pictures(run, normalized)
            trained = train_task(run, snapshot, normalized)
            evaluated = evaluate_task(run, snapshot, trained)
            outcome = publish_task(run, snapshot, normalized, trained, evaluated)
        published = deliver_task(run, outcome) if run.config.publish.to else ()
        result = result_of(run, snapshot, outcome, published)
        show_verdict(run, result, evaluated)
        conclude(result)
    if result.outcome.status in TOLD:  # the state's name can be seen, and automations listen to it
        words = "; ".join(result.outcome.reasons)
        return Completed(name=result.outcome.status.capitalize(), message=words, data=result)
    return result


def run_training_flow(
    config: Config, workspace: str, *, force: Stage | None, verify: bool, reporter: Reporter
) -> Result:
    """Runs the flow in this process, telling `reporter` how it goes.

    Raises:
        PipelineError: the run cannot go on, or the server cannot be reached.
    """
    with running_here(reporter):
        result: Any = training_flow(config, workspace, force, verify)
    return cast(Result, result)


if __name__ == "__main__":
    from mnist_pipeline.cli import main

    sys.exit(main(["train", *sys.argv[1:]]))
