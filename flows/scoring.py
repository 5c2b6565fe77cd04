"""The scoring flow: plan → one task a share of the input → assemble → manifest.

Run it with `mnist-pipeline score --engine prefect`, or from a Prefect deployment. The tasks run on
threads of this machine, or with `task_runner(dask="tcp://…")` on a Dask cluster whose workers reach
the same inputs, workspace and output, and have the same version of this package.

Annotations are not postponed here: `serve` pickles the flow's function by value, and the names of
its types would not be found on the other side.
"""

import os
import time
from collections.abc import Sequence
from itertools import chain
from typing import Any

from prefect import flow, unmapped
from prefect.client.schemas.objects import State
from prefect.futures import as_completed
from prefect.states import Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.alarms import server_tells
from flows.artifacts import show_scoring
from flows.cluster import check_dask, dask_runner, is_of_dask, no_dask
from flows.running import RunLog, running_here
from flows.tasks import (
    assemble_task,
    conclude_task,
    find_files_task,
    make_job_task,
    plan_task,
    score_task,
)
from mnist_pipeline.reporting import Reporter, Step, listener
from mnist_pipeline.score.job import Failure, Summary, find_model
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.score.shares import SHARE_ROWS, Share, batches, shares
from mnist_pipeline.score.slices import FilePlan, Job
from mnist_pipeline.score.telling import telling
from mnist_pipeline.store.objects import Store

DEFAULTS = ScoreOptions()


def task_runner(dask: str | None = None, workers: int | None = None) -> TaskRunner[Any]:
    """Where the tasks of a scoring run.

    Args:
        dask: the address of a Dask scheduler; threads of this process if it is left out.
        workers: how many threads; one a core if it is left out.

    Raises:
        ConfigError: this is no address.
        OutsideError: Dask is not installed.
    """
    if dask is None:
        return ThreadPoolTaskRunner(max_workers=workers or len(os.sched_getaffinity(0)))
    return dask_runner(dask)


@flow(
    name="scoring",
    flow_run_name="score to {output}",
    description="Answer every row of Parquet files of images.",
    task_runner=task_runner(),
    persist_result=False,
)
def scoring_flow(
    inputs: list[str],
    output: str,
    model: str | None = None,
    options: ScoreOptions = DEFAULTS,
    workspace: str = "workspace",
    slice_rows: int = SHARE_ROWS,
) -> Summary | State[Summary]:
    """Answer every row of Parquet files of images; what was answered before is not done again.

    The run fails if a file could not be scored, unless `options.on_bad_file` is `skip`; the others
    have their answers then.

    Args:
        inputs: files, folders, patterns, URLs.
        output: the folder or URL of the answers.
        model: `name`, `name@version` or `name@champion`; the only champion if it is left out.
        options: how rows are read and what is written.
        workspace: the folder or URL where the model is.
        slice_rows: rows that a task answers, about.

    Raises:
        PipelineError: nothing could be scored, or bad files fail the job.
    """
    started = time.perf_counter()
    reporter = RunLog(listener())
    with telling(output, reporter, server_tells) as conclude:
        store = Store.open(workspace, writable=False)
        manifest, _ = find_model(store, model)
        files = find_files_task(inputs, store.place)
        job = make_job_task(store, manifest, output, options, slice_rows=slice_rows)
        reporter.begin("score", f"{len(files):,} files")

        planned = list(chain.from_iterable(plan_task.map(unmapped(job), batches(files)).result()))
        plans = [plan for plan in planned if isinstance(plan, FilePlan)]
        failures = {failure.file: failure for failure in planned if isinstance(failure, Failure)}

        parts = shares(job, plans)
        failures |= {failure.file: failure for failure in _score(job, parts, reporter)}
        answered = [plan for plan in plans if plan.input.relative not in failures]

        sliced = [plan for plan in answered if len(plan.cuts) > 1 and not plan.done]
        assembled = assemble_task.map(unmapped(job), sliced).result()
        failures |= {failure.file: failure for failure in assembled if failure}
        answered = [plan for plan in answered if plan.input.relative not in failures]
        summary: Summary = conclude_task(job, answered, list(failures.values()), started)
        show_scoring(summary)
        reporter.end("score", summary.words, summary.seconds, reused=not parts)
        conclude(summary)
    if summary.error is None:
        return summary
    return Failed(message=str(summary.error), data=summary)


def _score(job: Job, parts: Sequence[Share], reporter: Reporter) -> list[Failure]:
    """Answers all parts, telling how far it is; returns the files that failed.

    When it returns nobody holds the tasks' futures any more: a Dask scheduler would otherwise do
    again what a worker has done that dies later, after the slices have been put together.
    """
    futures = score_task.map(unmapped(job), parts)
    rows = dict(zip(futures, (part.rows for part in parts), strict=True))
    failures: list[Failure] = []
    done, total, started = 0, sum(rows.values()), time.perf_counter()
    for future in as_completed(list(futures)):
        failures += future.result()
        done += rows[future]
        rate = done / max(time.perf_counter() - started, 1e-6)
        reporter.step(Step(done, total, "rows", f"{rate:,.0f} images/s"))
    return failures


def run_scoring_flow(
    inputs: Sequence[str],
    output: str,
    *,
    model: str | None,
    options: ScoreOptions,
    workspace: str,
    slice_rows: int,
    dask: str | None,
    workers: int | None,
    reporter: Reporter,
) -> Summary:
    """Runs the flow in this process, telling `reporter` how it goes.

    Raises:
        PipelineError: nothing could be scored, bad files fail the job, or the server or the Dask
            cluster cannot be reached.
    """
    flow_here = scoring_flow.with_options(task_runner=task_runner(dask, workers))
    if dask is not None:
        check_dask(dask, reporter)
    with running_here(reporter):
        state = flow_here(
            list(inputs), output, model, options, workspace, slice_rows, return_state=True
        )
        result: Any = state.result(raise_on_failure=False)
    if isinstance(result, Summary):  # also where files failed, and with them the flow
        return result
    if is_of_dask(result):
        raise no_dask(dask, result) from result
    raise result
