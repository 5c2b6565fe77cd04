"""Every stage as a Prefect task: names and retries, no logic.

Prefect's own caching is off: the stages remember their results themselves, for both engines, and
check that what they remember is still there. Only errors that may pass by themselves are retried.
There are no task timeouts: they cannot stop native code; `train.deadline` is checked in the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from mnist_pipeline.errors import OutsideError
from mnist_pipeline.score.inputs import find_inputs
from mnist_pipeline.score.job import conclude, make_job
from mnist_pipeline.score.shares import assemble_file, plan_files, score_share
from mnist_pipeline.stages.deliver import deliver
from mnist_pipeline.stages.evaluate import evaluate
from mnist_pipeline.stages.inspect import inspect
from mnist_pipeline.stages.landing import take_in, take_stock
from mnist_pipeline.stages.normalize import normalize
from mnist_pipeline.stages.publish import publish
from mnist_pipeline.stages.train import train
from mnist_pipeline.stages.validate import validate

F = TypeVar("F", bound=Callable[..., Any])


def transient(task: Any, task_run: Any, state: Any) -> bool:
    """Whether a failed task may succeed if it is simply tried again."""
    del task, task_run
    try:
        state.result()
    except OutsideError as error:
        return error.transient
    except Exception:
        return False
    return False


def stage(name: str, run_name: str | None = None) -> Callable[[F], Any]:
    """A decorator: a stage as a task."""
    return task(
        name=name,
        task_run_name=run_name or name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=3,
        retry_delay_seconds=[2, 10, 30],
        retry_condition_fn=transient,
    )


# Downloads try their mirrors in turn and go on where they broke off: no retries on top of that.
find_inputs_task = task(name="find inputs", cache_policy=NO_CACHE, persist_result=False)(take_stock)
ingest_task = stage("ingest", "ingest {source.part.name}")(take_in)
validate_task = stage("validate")(validate)
inspect_task = stage("inspect")(inspect)
normalize_task = stage("normalize")(normalize)
train_task = stage("train")(train)
evaluate_task = stage("evaluate")(evaluate)
publish_task = stage("publish")(publish)
deliver_task = stage("deliver")(deliver)

find_files_task = stage("find files")(find_inputs)
make_job_task = stage("verify model")(make_job)
plan_task = stage("plan")(plan_files)
score_task = stage("score", "score {share}")(score_share)
assemble_task = stage("assemble", "assemble {plan.input.relative}")(assemble_file)
conclude_task = stage("manifest")(conclude)
