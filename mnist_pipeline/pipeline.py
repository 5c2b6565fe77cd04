"""The pipeline without an orchestrator: the stages one after the other, in this process."""

from __future__ import annotations

import dataclasses
from typing import Any

from mnist_pipeline.concluding import concluding
from mnist_pipeline.errors import OutsideError
from mnist_pipeline.reporting import listening
from mnist_pipeline.stages.deliver import deliver
from mnist_pipeline.stages.evaluate import evaluate
from mnist_pipeline.stages.inputs import Input
from mnist_pipeline.stages.inspect import inspect
from mnist_pipeline.stages.landing import take_in, take_stock
from mnist_pipeline.stages.normalize import normalize
from mnist_pipeline.stages.publish import Outcome, publish, unchanged
from mnist_pipeline.stages.resolve import resolved
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.train import train
from mnist_pipeline.stages.transfer import drawn
from mnist_pipeline.stages.validate import Snapshot, validate
from mnist_pipeline.store.publishers import Delivery


@dataclasses.dataclass(frozen=True)
class Result:
    """What a training tells its caller.

    Attributes:
        model: the model's name.
        outcome: status, reasons, version, metrics.
        dataset: counts and digest of the snapshot.
        judged_on_exam: False with `--no-exam`.
        drawn: whether the model has seen nothing but drawings.
        report: where the report lies: a path, or a URL where the workspace is one.
        seconds: wall-clock seconds by stage.
        profile: what the training did with its time; empty if nothing was trained.
        published: where else the version went, or did not get.
    """

    model: str
    outcome: Outcome
    dataset: dict[str, Any]
    judged_on_exam: bool
    drawn: bool
    report: str
    seconds: dict[str, float]
    profile: dict[str, Any]
    published: tuple[Delivery, ...] = ()

    @property
    def exit_code(self) -> int:
        """That of the verdict; where it is 0, that of something outside that did not take it."""
        missing = not all(delivery.ok for delivery in self.published)
        return self.outcome.exit_code or (OutsideError.exit_code if missing else 0)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of `mnist-pipeline train --json`."""
        return {
            "status": self.outcome.status,
            "reasons": list(self.outcome.reasons),
            "model": self.model,
            "version": self.outcome.version,
            "metrics": self.outcome.metrics,
            "dataset": self.dataset,
            "report": self.report,
            "transfer": self.outcome.transfer.to_json() if self.outcome.transfer else None,
            "seconds": self.seconds,
            "profile": self.profile,
            "published": [delivery.to_json() for delivery in self.published],
        }


def result_of(
    run: Run, snapshot: Snapshot, outcome: Outcome, published: tuple[Delivery, ...] = ()
) -> Result:
    """The result of a finished run."""
    store = run.store
    report = f"{store.url.rstrip('/')}/{outcome.report}"
    if store.root is not None:
        report = str(store.root / outcome.report)
    return Result(
        run.config.name,
        dataclasses.replace(outcome, reasons=(*outcome.reasons, *snapshot.all_remarks)),
        snapshot.summary(),
        snapshot.exam is not None,
        drawn(run.config.data.specs) == "all",
        report,
        dict(run.seconds),
        dict(run.profile),
        published,
    )


def run_pipeline(run: Run) -> Result:
    """Everything from sources to verdict; what is remembered is not done again.

    Raises:
        PipelineError: the run cannot go on; nothing published was touched.
    """
    run.config = resolved(run.config)
    with listening(run.reporter), run.at_work(), concluding(run) as conclude:
        return conclude(_run_stages(run))


def _run_stages(run: Run) -> Result:
    arrivals = [
        take_in(run, arrival) if isinstance(arrival, Input) else arrival
        for arrival in take_stock(run)
    ]
    snapshot = validate(run, arrivals)
    if outcome := unchanged(run, snapshot) or inspect(run, snapshot):
        return result_of(run, snapshot, outcome, deliver(run, outcome))
    normalized = normalize(run, snapshot)
    trained = train(run, snapshot, normalized)
    evaluated = evaluate(run, snapshot, trained)
    outcome = publish(run, snapshot, normalized, trained, evaluated)
    return result_of(run, snapshot, outcome, deliver(run, outcome))
