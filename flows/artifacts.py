"""What a run shows in the Prefect UI: inputs, data, pictures, verdict, answers.

Pictures are data URIs in markdown: both UIs of Prefect 3.8 show them (an image artifact would print
the whole URI under the picture).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from mnist_pipeline.data.sheet import contact_sheet
from mnist_pipeline.evaluate.markup import png
from mnist_pipeline.evaluate.metrics import Metrics, percent
from mnist_pipeline.pipeline import Result
from mnist_pipeline.score.job import MANIFEST, Summary
from mnist_pipeline.stages.evaluate import metrics_of
from mnist_pipeline.stages.ingest import Part
from mnist_pipeline.stages.landing import BadFile
from mnist_pipeline.stages.normalize import SAMPLES_A_CLASS, profile_of, samples_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.stages.version_report import quarantine_key
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
def show_inputs(name: str, arrivals: Sequence[Part | BadFile]) -> None:
    """A table of the inputs, before anything can refuse them: rows accepted and rejected."""
    parts = [part for part in arrivals if isinstance(part, Part)]
    rows: list[dict[str, Any]] = [
        {
            "input": part.name,
            "role": part.role,
            "rows": part.rows,
            "accepted": part.rows - sum(part.rejected.values()),
            "rejected": sum(part.rejected.values()),
            "reasons": _reasons(part.rejected),
        }
        for part in parts
    ]
    rows += [
        {"input": bad.name, "role": "quarantined", "reasons": bad.error["headline"]}
        for bad in arrivals
        if isinstance(bad, BadFile)
    ]
    create_table_artifact(
        rows,
        key=f"{_slug(name)}-inputs",
        description=f"{sum(part.rows for part in parts):,} rows came in",
    )


@best_effort
def show_data(run: Run, snapshot: Snapshot) -> None:
    """A table of the classes by use, and one of the first rejected rows, if there are any."""
    name, rejected = _slug(run.config.name), sum(snapshot.rejected.values())
    rows: list[dict[str, Any]] = [
        {"class": label, **{side: counts[i] for side, counts in snapshot.classes.items()}}
        for i, label in enumerate(run.contract.classes)
    ]
    create_table_artifact(
        [*rows, {"class": "all", **snapshot.sides}],
        key=f"{name}-data",
        description=f"{snapshot.rows:,} rows: {snapshot.rows - rejected:,} accepted, rejected: "
        f"{_reasons(snapshot.rejected)}; data set `{snapshot.digest[:12]}`",
    )
    if rejected:
        create_table_artifact(
            [dict(place) for place in snapshot.places],
            key=f"{name}-rejected",
            description=f"{len(snapshot.places)} of {rejected:,} rejected rows; "
            f"all of them: `{quarantine_key(run)}`",
        )


@best_effort
def show_pictures(run: Run, normalized: StageResult) -> None:
    """Markdown: the average image of each class, and samples of the training rows."""
    contract, profile = run.contract, profile_of(run, normalized)
    shape = (-1, contract.height, contract.width)
    means = profile.mean_images.reshape(shape)
    averages = contact_sheet(means, None, ("average",), columns=len(contract.classes))
    averages = averages.repeat(2, axis=0).repeat(2, axis=1)
    images, labels = samples_of(run, normalized)
    samples = contact_sheet(
        images.reshape(shape), labels, contract.classes, columns=SAMPLES_A_CLASS
    )
    median = percent(profile.ink_quantile(0.5))
    lines = [
        "## The average image of each class",
        f"![average of {', '.join(contract.classes)}]({png(averages)})",
        f"{profile.n:,} training rows; half of them have less ink than {median}.",
        "## Samples",
        f"![the first training rows of each class]({png(samples)})",
    ]
    create_markdown_artifact(
        "\n\n".join(lines),
        key=f"{_slug(run.config.name)}-pictures",
        description="What the training rows look like",
    )


@best_effort
def show_verdict(run: Run, result: Result, evaluated: StageResult | None) -> None:
    """Markdown: verdict with reasons and, where it was judged now, all that was measured."""
    outcome, name = result.outcome, run.config.name
    version = f"{name}@{outcome.version}" if outcome.version else name
    lines = [f"# {version}: {outcome.status}", ""]
    lines += [f"- {reason}" for reason in outcome.reasons]
    lines += [f"- {delivery.words}" for delivery in result.published]
    if evaluated is not None:
        metrics = metrics_of(run, evaluated)
        lines += ["", *_metrics(metrics), "", "## Classes", "", *_classes(metrics)]
        lines += ["", "## Confusion (rows: true class)", ""]
        lines += _confusion(metrics, run.contract.classes)
    lines += ["", f"The whole report: `{result.report}`"]
    create_markdown_artifact(
        "\n".join(lines),
        key=f"{_slug(name)}-verdict",
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
    if summary.drift:
        counts.append((f"drift {summary.drift.score:.2f}, rows looked at", summary.drift.n))
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


def _reasons(rejected: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in rejected.items()) or "none"


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


def _classes(metrics: Metrics) -> list[str]:
    return _table(
        ("class", "precision", "recall", "F1", "images"),
        (
            (c.label, percent(c.precision), percent(c.recall), percent(c.f1), f"{c.support:,}")
            for c in metrics.per_class
        ),
    )


def _confusion(metrics: Metrics, classes: Sequence[str]) -> list[str]:
    rows = zip(classes, metrics.confusion, strict=True)
    return _table(("", *classes), ((f"**{name}**", *map(str, row)) for name, row in rows))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A markdown table."""
    lines = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in (head, *rows))
    first, *rest = (f"| {line} |" for line in lines)
    return [first, "| --- " * len(head) + "|", *rest]


def _slug(name: str) -> str:
    """Artifact keys allow lower-case letters, digits and dashes."""
    return name.replace("_", "-")
