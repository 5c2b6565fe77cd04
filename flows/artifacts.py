"""What a run shows in the Prefect UI: the data's counts, the metrics, the verdict, the answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from mnist_pipeline.evaluate.metrics import Metrics, percent
from mnist_pipeline.score.job import MANIFEST, Summary
from mnist_pipeline.stages.evaluate import metrics_of
from mnist_pipeline.stages.publish import Outcome
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.memo import StageResult

MOST_FAILURES = 50

F = TypeVar("F", bound=Callable[..., None])


def best_effort(show: F) -> F:
    """A picture that could not be hung must not fail a run whose work is done."""

    @functools.wraps(show)
    def wrapped(*arguments: Any) -> None:
        try:
            show(*arguments)
        except Exception as error:  # whatever the server or the network says
            get_run_logger().warning("the Prefect UI was not told: %s", error)

    return wrapped  # type: ignore[return-value]


@best_effort
def show_data(name: str, snapshot: Snapshot) -> None:
    """A table: rows by side and by reason of rejection."""
    rows = [{"rows": count, "of": side} for side, count in snapshot.sides.items()]
    rows += [{"rows": count, "of": f"rejected: {r}"} for r, count in snapshot.rejected.items()]
    create_table_artifact(
        rows,
        key=f"{_slug(name)}-data",
        description=f"{snapshot.rows:,} rows, data set `{snapshot.digest[:12]}`",
    )


@best_effort
def show_verdict(run: Run, evaluated: StageResult, outcome: Outcome) -> None:
    """Markdown: verdict with reasons, metrics, confusion matrix."""
    metrics = metrics_of(run, evaluated)
    version = f"{run.config.name}@{outcome.version}" if outcome.version else run.config.name
    lines = [f"# {version}: {outcome.status}", ""]
    lines += [f"- {reason}" for reason in outcome.reasons]
    lines += ["", *_metrics(metrics), "", "## Confusion (rows: true class)", ""]
    lines += _confusion(metrics, run.contract.classes)
    create_markdown_artifact(
        "\n".join(lines),
        key=f"{_slug(run.config.name)}-verdict",
        description=f"{version}: {outcome.status}",
    )


@best_effort
def show_scoring(summary: Summary) -> None:
    """Markdown: the counts, where the answers are, the files that have none."""
    tally, job, version = summary.tally, summary.job, f"{summary.job.model}@{summary.job.version}"
    counts = [
        ("files", summary.files),
        ("answered before", len(summary.skipped)),
        ("failed", len(summary.failures)),
        ("rows", tally.rows),
        ("scored", tally.scored),
        ("not confident enough", tally.abstained),
        *((f"rejected: {reason}", rows) for reason, rows in sorted(tally.rejected.items())),
    ]
    lines = [f"# {version}: {summary.words}", "", f"Answers: `{job.output}`", ""]
    lines += _table(("", "count"), [(name, f"{count:,}") for name, count in counts])
    if summary.failures:
        shown = summary.failures[:MOST_FAILURES]
        lines += ["", "## Files without answers", ""]
        lines += _table(("file", "reason"), [(f"`{f.file}`", f.error.headline) for f in shown])
    if len(summary.failures) > MOST_FAILURES:
        lines += ["", f"… and {len(summary.failures) - MOST_FAILURES:,} more, in `{MANIFEST}`"]
    create_markdown_artifact(
        "\n".join(lines),
        key=f"{_slug(job.model)}-scoring",
        description=f"{version}: {summary.words}",
    )


def _metrics(metrics: Metrics) -> list[str]:
    interval = metrics.accuracy_interval
    spread = f" ({percent(interval[0])} to {percent(interval[1])})" if interval else ""
    rows = [("accuracy", percent(metrics.accuracy) + spread)]
    rows += [
        (name, f"{value:.4f}")
        for name, value in (("log loss", metrics.log_loss), ("ECE", metrics.ece))
        if value is not None
    ]
    rows.append(("images", f"{metrics.n:,}"))
    return _table(("metric", "value"), rows)


def _confusion(metrics: Metrics, classes: tuple[str, ...]) -> list[str]:
    lines = ["| | " + " | ".join(classes) + " |", "| --- " * (len(classes) + 1) + "|"]
    for name, row in zip(classes, metrics.confusion, strict=True):
        lines.append(f"| **{name}** | " + " | ".join(str(count) for count in row) + " |")
    return lines


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> list[str]:
    """Lines of a Markdown table of two columns."""
    cells = [(left.replace("|", "\\|"), right.replace("|", "\\|")) for left, right in rows]
    return [f"| {left} | {right} |" for left, right in (head, ("---", "---"), *cells)]


def _slug(name: str) -> str:
    """Artifact keys allow lower-case letters, digits and dashes."""
    return name.replace("_", "-")
