"""How a training comes to its end: written down, shown on the first page, told where it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mnist_pipeline.errors import explained
from mnist_pipeline.overview.page import write_index
from mnist_pipeline.plugins import blamed
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.endings import Ending, record_ending
from mnist_pipeline.store.registry import now
from mnist_pipeline.tell import nobody, tell

if TYPE_CHECKING:
    from mnist_pipeline.pipeline import Result

TOLD = ("held", "blocked")
"""Verdicts that somebody should know; `unchanged` repeats one that was told when it was new."""


UNPUBLISHED = "unpublished"
"""The event of a version that is in the registry, and not everywhere else where it should be."""


@contextmanager
def concluding(
    run: Run, told_elsewhere: Callable[[], bool] = nobody
) -> Iterator[Callable[[Result], Result]]:
    """Inside, a run works; however it ends is written down, shown and told.

    None of that can fail a run: what it has published is published.

    Args:
        run: the run.
        told_elsewhere: asked if it failed: whether somebody else tells of that.

    Yields:
        A function to which the result is given; it returns it.
    """
    results: list[Result] = []

    def conclude(result: Result) -> Result:
        results.append(result)
        return result

    try:
        yield conclude
    except BaseException as error:
        failure = blamed(error) or (explained(error) if isinstance(error, Exception) else None)
        if failure is None:  # Ctrl-C, SIGTERM, a run that Prefect cancels
            _show(run, _ending(run, "interrupted", ()))
            raise
        ending = _ending(run, "failed", (failure.headline,), error=failure.to_json())
        _show(run, ending)
        if not told_elsewhere():
            _tell(run, ending, f"training {run.config.name} failed: {failure.headline}")
        raise
    for result in results:
        outcome, model = result.outcome, run.config.name
        ending = _ending(
            run,
            outcome.status,
            outcome.reasons,
            version=outcome.version,
            report=outcome.report,
            published=tuple(delivery.to_json() for delivery in result.published),
        )
        _show(run, ending)
        version = f"{model}@{outcome.version}" if outcome.version else model
        missing = [delivery.words for delivery in result.published if not delivery.ok]
        if outcome.status in TOLD and result.judged_on_exam:
            reason = "; ".join([outcome.reasons[0], *missing])
            _tell(run, ending, f"{version} is {outcome.status}: {reason}", result)
        elif missing:
            text = f"{version} ({outcome.status}) is in the registry, but {'; '.join(missing)}"
            _tell(run, ending, text, result, event=UNPUBLISHED)


def _ending(run: Run, status: str, reasons: tuple[str, ...], **more: Any) -> Ending:
    return Ending(run.id, run.config.name, status, reasons, finished=now(), **more)


def _show(run: Run, ending: Ending) -> None:
    try:
        record_ending(run.store, ending)
        write_index(run.store)
    except Exception as error:  # whatever stands in that workspace: the run has done its work
        run.reporter.note(
            f"the workspace's first page does not show this run: {explained(error).headline}"
        )


def _tell(
    run: Run, ending: Ending, text: str, result: Result | None = None, *, event: str = ""
) -> None:
    facts = ending.to_json() | {"workspace": str(run.store.root or run.store.url)}
    if result:
        facts |= {"metrics": result.outcome.metrics, "report": result.report}
    tell(event or ending.status, text, run.reporter, **facts)
