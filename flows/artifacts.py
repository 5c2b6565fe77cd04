"""What a run shows in the Prefect UI: the data's counts, the metrics, the verdict."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from mnist_pipeline.evaluate.metrics import Metrics, percent
from mnist_pipeline.stages.evaluate import metrics_of
from mnist_pipeline.stages.publish import Outcome
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.memo import StageResult

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
    return ["| metric | value |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in rows)]


def _confusion(metrics: Metrics, classes: tuple[str, ...]) -> list[str]:
    lines = ["| | " + " | ".join(classes) + " |", "| --- " * (len(classes) + 1) + "|"]
    for name, row in zip(classes, metrics.confusion, strict=True):
        lines.append(f"| **{name}** | " + " | ".join(str(count) for count in row) + " |")
    return lines


def _slug(name: str) -> str:
    """Artifact keys allow lower-case letters, digits and dashes."""
    return name.replace("_", "-")
