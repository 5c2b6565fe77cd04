"""The report of a run: what its stages left in the store, gathered for `evaluate.report`."""

from __future__ import annotations

import json

from mnist_pipeline.configfile import to_toml
from mnist_pipeline.evaluate.gate import Evaluation, Finding
from mnist_pipeline.evaluate.report import ReportData, render
from mnist_pipeline.refs import code_digest
from mnist_pipeline.stages.evaluate import metrics_of, mistakes_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.transfer import Transfer
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.memo import StageResult


def render_report(
    run: Run,
    snapshot: Snapshot,
    trained: StageResult,
    evaluated: StageResult,
    finding: Finding,
    *,
    version: int | None = None,
    champion: Evaluation | None = None,
    transfer: Transfer | None = None,
) -> bytes:
    """`report.html` of a candidate with its verdict; the same run gives the same bytes."""
    data = ReportData(
        model=run.config.name,
        version=version,
        status=finding.status,
        reasons=finding.reasons,
        metrics=metrics_of(run, evaluated),
        classes=run.contract.classes,
        history=json.loads(run.store.get(trained.outputs["history.json"].key)),
        mistakes=mistakes_of(run, evaluated),
        dataset={**snapshot.summary(), "class_counts": snapshot.classes},
        rejects=list(snapshot.places),
        lineage={
            "data set": snapshot.digest,
            "exam": snapshot.exam.digest if snapshot.exam else "none (validation rows)",
            "parts": ", ".join(ref.digest[:12] for ref in snapshot.parts),
            "weights": trained.outputs["model.safetensors"].digest,
            "code": code_digest(),
            "seed": str(run.config.train.seed),
        },
        config_toml=to_toml(run.config.to_json()),
        champion=champion.metrics if champion else None,
        transfer=transfer.to_json() if transfer else None,
        height=run.contract.height,
        width=run.contract.width,
    )
    return render(data).encode()
