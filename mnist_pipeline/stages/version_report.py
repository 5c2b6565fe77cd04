"""The report of a run: what its stages left in the store, gathered for `evaluate.report`."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np

from mnist_pipeline.configfile import to_toml
from mnist_pipeline.contract.quarantine import QUARANTINE_SCHEMA, rejects_from
from mnist_pipeline.contract.records import Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import read_head
from mnist_pipeline.data.pictures import picture_of
from mnist_pipeline.evaluate.data_section import MOST_REJECTS
from mnist_pipeline.evaluate.gate import Evaluation, Finding
from mnist_pipeline.evaluate.metrics import cost_in_words
from mnist_pipeline.evaluate.report import render
from mnist_pipeline.evaluate.report_data import Images, RejectedRow, ReportData
from mnist_pipeline.model.augment import Distorter
from mnist_pipeline.refs import code_digest
from mnist_pipeline.stages.evaluate import cost_of, metrics_of, mistakes_of
from mnist_pipeline.stages.normalize import profile_of, samples_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.transfer import Transfer, drawn
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.memo import StageResult

REJECTS_READ = 512
"""Rejected rows among which those to show are looked for; the quarantine may have millions."""

_BEGINNING = 60  # bytes of a row of which no picture can be had
_PIXEL = re.compile(r"\bpixel ?(\d+) is ")


def render_report(
    run: Run,
    snapshot: Snapshot,
    normalized: StageResult,
    trained: StageResult,
    evaluated: StageResult,
    finding: Finding,
    *,
    version: int | None = None,
    champion: Evaluation | None = None,
    transfer: Transfer | None = None,
) -> bytes:
    """`report.html` of a candidate with its verdict; the same run gives the same bytes."""
    samples = samples_of(run, normalized)
    data = ReportData(
        model=run.config.name,
        version=version,
        status=finding.status,
        reasons=finding.reasons,
        metrics=metrics_of(run, evaluated),
        classes=run.contract.classes,
        champion=champion.metrics if champion else None,
        champion_name=champion.name if champion else "the champion",
        history=json.loads(run.store.get(trained.outputs["history.json"].key)),
        mistakes=mistakes_of(run, evaluated),
        dataset={**snapshot.summary(), "class_counts": snapshot.classes},
        drawn=drawn(run.config.data.specs),
        profile=profile_of(run, normalized),
        samples=samples,
        bent=_bent(run, samples[0]),
        rejects=rejected_rows(run, snapshot),
        quarantine=quarantine_key(run) if snapshot.rejected else "",
        lineage={
            "data set": snapshot.digest,
            "exam": snapshot.exam.digest if snapshot.exam else "none (validation rows)",
            "parts": ", ".join(ref.digest[:12] for ref in snapshot.parts),
            "weights": trained.outputs["model.safetensors"].digest,
            "code": code_digest(),
            "seed": str(run.config.train.seed),
            "cost of an answer": cost_in_words(cost_of(run, evaluated)),
        },
        config_toml=to_toml(run.config.to_json()),
        transfer=transfer.to_json() if transfer else None,
        height=run.contract.height,
        width=run.contract.width,
    )
    return render(data).encode()


def _bent(run: Run, images: Images) -> Images | None:
    """The images as one epoch of this training's augmentation might show them."""
    recipe = run.config.train
    if not recipe.augment:
        return None
    shape = (run.contract.height, run.contract.width)
    distort = Distorter(recipe.augment, shape, len(images), np.random.default_rng(recipe.seed))
    return distort(images, np.empty_like(images))


def quarantine_key(run: Run) -> str:
    """Where the validate stage has put the rejected rows of a run."""
    return f"quarantine/{run.id}/rejected.parquet"


def rejected_rows(run: Run, snapshot: Snapshot) -> list[RejectedRow]:
    """Some rejected rows with pictures: every reason among them, file by file in their order."""
    if not snapshot.rejected:
        return []
    with run.store.local(quarantine_key(run)) as path:
        rejects = rejects_from(read_head(path, QUARANTINE_SCHEMA, REJECTS_READ))
    # The first of each reason, then the second of each …
    seen: Counter[str] = Counter()
    turns = []
    for row, reject in enumerate(rejects):
        turns.append((seen[reject.reason], row))
        seen[reject.reason] += 1
    chosen = [rejects[row] for _, row in sorted(turns)[:MOST_REJECTS]]
    # A block's rows came in the order in which they failed: by reading first, by judging then.
    files = list(dict.fromkeys(reject.source for reject in rejects))
    chosen.sort(key=lambda reject: (files.index(reject.source), reject.place))
    return [_seen(reject, run.contract) for reject in chosen]


def _seen(reject: Reject, contract: ImageContract) -> RejectedRow:
    pixel = _PIXEL.search(reject.detail)
    letters = reject.payload[:_BEGINNING].decode(errors="replace")
    return RejectedRow(
        source=reject.source,
        place=reject.place,
        reason=reject.reason,
        detail=reject.detail,
        picture=picture_of(reject.payload, contract),
        pixel=int(pixel[1]) if pixel else None,
        beginning="".join(c if c.isprintable() and c != "\ufffd" else "·" for c in letters),
    )
