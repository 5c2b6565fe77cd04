"""How a scoring comes to its end: written down for the workspace, told where it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mnist_pipeline.data.drift import ALARM
from mnist_pipeline.errors import PipelineError, explained
from mnist_pipeline.overview.page import write_index
from mnist_pipeline.reporting import Reporter
from mnist_pipeline.score.job import Summary
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import now
from mnist_pipeline.store.scorings import record_scoring
from mnist_pipeline.tell import nobody, tell

MOST_FILES = 50


@contextmanager
def telling(
    output: str, reporter: Reporter, told_elsewhere: Callable[[], bool] = nobody
) -> Iterator[Callable[[Summary], Summary]]:
    """Inside, files are scored; a failure or drift is told.

    Args:
        output: where the answers go.
        reporter: who learns that nobody could be told.
        told_elsewhere: asked if it failed: whether somebody else tells of that.

    Yields:
        A function to which the summary is given; it returns it.
    """
    summaries: list[Summary] = []

    def conclude(summary: Summary) -> Summary:
        summaries.append(summary)
        return summary

    try:
        yield conclude
    except Exception as error:
        if not told_elsewhere():
            _tell_failure(explained(error), reporter, output=output)
        raise
    for summary in summaries:
        _record(summary)
        alarming = summary.drift is not None and summary.drift.score >= ALARM
        if (summary.error and not told_elsewhere()) or (alarming and not summary.error):
            _tell(summary, reporter)


def _tell(summary: Summary, reporter: Reporter) -> None:
    facts = summary.to_json()
    facts |= {"failed_files": facts["failed_files"][:MOST_FILES]}
    facts |= {"skipped_files": len(summary.skipped)}
    if summary.error:
        _tell_failure(summary.error, reporter, **facts)
    elif summary.drift:
        model, score = f"{summary.job.model}@{summary.job.version}", summary.drift.score
        words = f"what was scored is not what {model} learned from: drift {score:.2f}"
        tell("drifted", words, reporter, **facts)


def _tell_failure(error: PipelineError, reporter: Reporter, **facts: object) -> None:
    words = f"scoring failed: {error.headline}"
    tell("failed", words, reporter, error=error.to_json(), **facts)


def _record(summary: Summary) -> None:
    """Lets `mnist-pipeline status` know of it, unless scoring may only read the workspace."""
    scoring = {
        "version": summary.job.version,
        "finished": now(),
        "output": summary.job.output,
        "files": summary.files,
        "failed_files": len(summary.failures),
        **summary.tally.to_json(),
        "drift": summary.drift.to_json() if summary.drift else None,
    }
    with suppress(PipelineError):
        store = Store.open(summary.job.workspace)
        record_scoring(store, summary.job.model, scoring)
        write_index(store)
