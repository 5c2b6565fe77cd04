"""Publish: judge the candidate, make it a version, and promote it if the verdict allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mnist_pipeline.config import Config
from mnist_pipeline.evaluate.gate import Evaluation, Finding
from mnist_pipeline.stages.evaluate import evaluation_of
from mnist_pipeline.stages.judge import Verdict, judge
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.run_key import run_key
from mnist_pipeline.stages.transfer import Transfer, transfer
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.stages.version import make_version
from mnist_pipeline.stages.version_report import render_report
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.memo import StageResult
from mnist_pipeline.store.overrides import overrides
from mnist_pipeline.store.registry import Registry, now
from mnist_pipeline.store.together import beside

GATE_FAILED = 4
STATUS = {"promote": "promoted", "hold": "held", "block": "blocked"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: `promoted`, `held`, `blocked` or `unchanged`.
        reasons: `code: sentence` each, the deciding ones first.
        version: the version it became, or None (`--no-exam`, or held before training).
        metrics: accuracy, log_loss, ece, n.
        report: the key of the report.
        exit_code: 0, or 4 where the gate blocked it (or held it, with `--fail-on-hold`).
        transfer: what a model trained on drawings reads of real handwriting, if that is at hand.
    """

    status: str
    reasons: tuple[str, ...]
    version: int | None
    metrics: dict[str, Any]
    report: str
    exit_code: int
    transfer: Transfer | None = None


def unchanged(run: Run, snapshot: Snapshot) -> Outcome | None:
    """The verdict of the last finished run of this name, if nothing has changed since."""
    if run.force is not None or snapshot.exam is None:
        return None
    last = Registry(run.store).runs(run.config.name).latest()
    if last is None or last.value["run_key"] != run_key(run.config, snapshot):
        return None
    value = last.value
    if any(reason.startswith("champion_unusable") for reason in value["reasons"]):
        return None  # somebody may have mended it
    reading = None
    if value["version"] is not None:
        manifest = Registry(run.store).manifest(run.config.name, value["version"])
        reading = transfer(run, manifest.files)
    elif value["held_by"] != _judges(run):
        return None  # another champion may see it differently, and somebody may have let it through
    return Outcome(
        "unchanged",
        (f"unchanged: same data, configuration and code as run {value['run']}", *value["reasons"]),
        value["version"],
        value["metrics"],
        value["report"],
        exit_code(run.config, value["status"]),
        reading,
    )


def record_hold(
    run: Run, snapshot: Snapshot, outcome: Outcome, new_parts: list[dict[str, str]]
) -> None:
    """Puts a run held before training on record, so that the next one with its data repeats it.

    Args:
        run: the run.
        snapshot: its data.
        outcome: how it ended.
        new_parts: the name and digest of each part that was new.
    """
    record = {
        "run": run.id,
        "run_key": run_key(run.config, snapshot),
        "finished": now(),
        "dataset": snapshot.summary(),
        "seconds": dict(run.seconds),
        **dataclasses.asdict(outcome),
        "held_by": _judges(run),
        "new_parts": new_parts,
    }
    Registry(run.store).record_run(run.config.name, record)


def _judges(run: Run) -> list[int]:
    """Who held it: the champion, by its number in the series, and the last override there was."""
    champion = Registry(run.store).champion(run.config.name)
    override = overrides(run.store, run.config.name).latest()
    return [entry.sequence if entry else 0 for entry in (champion, override)]


def publish(
    run: Run,
    snapshot: Snapshot,
    normalized: StageResult,
    trained: StageResult,
    evaluated: StageResult,
) -> Outcome:
    """Makes the candidate a version with its verdict inside, promotes it if it passed.

    The manifest is written last, so a version is complete or invisible. If the champion moves
    between judging and promoting, the candidate is judged again.
    """
    reading = transfer(run, trained.outputs)
    with (
        run.timed("publish", run.config.name) as words,
        run.reading_ahead(_read_by_publish(snapshot, normalized, trained, evaluated)),
    ):
        candidate = evaluation_of(run, snapshot, evaluated)
        metrics = _summary(candidate)
        if snapshot.exam is None:
            finding = Finding("hold", ("no_exam: judged on validation rows, nothing published",))
            html = render_report(
                run, snapshot, normalized, trained, evaluated, finding, transfer=reading
            )
            report = run.store.put(run.key("report.html"), html)
            words.append("nothing published (--no-exam)")
            return Outcome("held", finding.reasons, None, metrics, report.key, 0, reading)
        registry, key = Registry(run.store), run_key(run.config, snapshot)

        def claimed() -> tuple[Sequence[int], Manifest | None]:
            numbers = registry.numbers(run.config.name)
            return numbers, registry.abandoned(run.config.name, run.id, key, numbers)

        with beside(run.store, claimed) as claims:
            verdict = judge(run, snapshot, candidate)
            numbers, manifest = claims()
        with beside(run.store, registry.runs(run.config.name).sequences) as recorded:
            if manifest is None:
                version = registry.claim(run.config.name, run.id, key, numbers)
                results = (normalized, trained, evaluated)
                manifest = make_version(run, version, snapshot, results, verdict, metrics, reading)
            finding = _promote(run, snapshot, candidate, manifest, verdict)
        status = STATUS[finding.status]
        outcome = Outcome(
            status,
            finding.reasons,
            manifest.version,
            metrics,
            manifest.files["report.html"].key,
            exit_code(run.config, status),
            reading,
        )
        record = {
            "run": run.id,
            "run_key": manifest.run_key,
            "finished": now(),
            "dataset": snapshot.summary(),
            "seconds": dict(run.seconds),
            **dataclasses.asdict(outcome),
        }
        registry.record_run(run.config.name, record, recorded())
        words.append(f"{run.config.name}@{manifest.version} {status}")
        return outcome


def _read_by_publish(snapshot: Snapshot, *results: StageResult) -> list[str]:
    """The keys of what is looked at here: what stages put out, and the exam."""
    exam = [snapshot.exam.data.key] if snapshot.exam else []
    return [ref.key for result in results for ref in result.outputs.values()] + exam


def exit_code(config: Config, status: str) -> int:
    """0, or 4 where the gate blocked it (or held it, with `--fail-on-hold`)."""
    failed = status == "blocked" or (status == "held" and config.gate.fail_on_hold)
    return GATE_FAILED if failed else 0


def _summary(candidate: Evaluation) -> dict[str, Any]:
    """The `metrics` object of `--json`: only what the data determines."""
    metrics = candidate.metrics.to_json()
    keys = ("accuracy", "log_loss", "ece", "n")
    return {key: metrics[key] for key in keys if metrics[key] is not None}


def _promote(
    run: Run, snapshot: Snapshot, candidate: Evaluation, manifest: Manifest, verdict: Verdict
) -> Finding:
    """Moves the champion if the verdict says so; judges again if somebody else moved it."""
    registry, name, version = Registry(run.store), run.config.name, manifest.version
    if verdict.seen and verdict.seen.value["version"] == version:
        # A killed run came as far as the promotion: its verdict stands.
        return Finding(manifest.verdict["status"], tuple(manifest.verdict["reasons"]))
    while verdict.finding.status == "promote":
        if not run.config.publish.promote:
            reason = "no_promote: the gate would promote it, but promotion is switched off"
            return Finding("hold", (reason, *verdict.finding.reasons))
        reason = "; ".join(verdict.finding.reasons)
        if registry.promote(name, version, reason, after=verdict.seen):
            break
        verdict = judge(run, snapshot, candidate)
    return verdict.finding
