"""A version: its files, written together, and its manifest last."""

from __future__ import annotations

import functools
from typing import Any

from mnist_pipeline.data.drift import profile_with_answers
from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import code_digest
from mnist_pipeline.stages.evaluate import cost_of, evaluation_of
from mnist_pipeline.stages.judge import Verdict
from mnist_pipeline.stages.resolve import plugin_packages
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.run_key import run_key
from mnist_pipeline.stages.transfer import Transfer
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.stages.version_report import render_report
from mnist_pipeline.store.bundles import BUNDLE_FILES
from mnist_pipeline.store.manifest import Manifest, environment
from mnist_pipeline.store.memo import StageResult
from mnist_pipeline.store.registry import Registry, now
from mnist_pipeline.store.together import together


def make_version(
    run: Run,
    version: int,
    snapshot: Snapshot,
    results: tuple[StageResult, StageResult, StageResult],
    verdict: Verdict,
    metrics: dict[str, Any],
    reading: Transfer | None,
) -> Manifest:
    """Writes the files of a version that was claimed, its manifest last."""
    normalized, trained, evaluated = results
    registry, name = Registry(run.store), run.config.name
    sources = {file: trained.outputs[file] for file in (*BUNDLE_FILES, "history.json")}
    sources |= {file: evaluated.outputs[file] for file in ("metrics.json", "golden.parquet")}
    contents = {file: run.store.get(ref.key) for file, ref in sources.items()}
    profile = run.store.get(normalized.outputs["profile.json"].key)
    probabilities = evaluation_of(run, snapshot, evaluated).probabilities
    contents["profile.json"] = profile_with_answers(profile, probabilities)
    contents["report.html"] = render_report(
        run,
        snapshot,
        normalized,
        trained,
        evaluated,
        verdict.finding,
        version=version,
        champion=verdict.champion,
        transfer=reading,
    )
    prefix = registry.prefix(name, version)
    refs = together(
        run.store, lambda item: run.store.put(f"{prefix}/{item[0]}", item[1]), contents.items()
    )
    files = dict(zip(contents, refs, strict=True))
    against = verdict.seen.value["version"] if verdict.seen else None
    manifest = Manifest(
        name=name,
        version=version,
        created=now(),
        run=run.id,
        run_key=run_key(run.config, snapshot),
        verdict={
            "status": verdict.finding.status,
            "reasons": list(verdict.finding.reasons),
            "against": against,
        },
        metrics=metrics,
        contract=run.contract.fingerprint,
        dataset=snapshot.digest,
        exam=snapshot.exam.digest if snapshot.exam else None,
        config=run.config.meaning(),
        code=code_digest(),
        environment=environment(plugin_packages(run.config)),
        files=files,
        cost=cost_of(run, evaluated),
    )
    _check_named(run, snapshot, version)
    registry.publish(manifest)
    return manifest


def _check_named(run: Run, snapshot: Snapshot, version: int) -> None:
    """A last look, before a version is visible, at what it is going to name.

    Raises:
        IntegrityError: something is gone: the run stood still for so long that `gc` took it for
            dead.
    """
    exam = [snapshot.exam.data.key] if snapshot.exam else []
    parts = [part.key for part in snapshot.parts]
    named = [f"datasets/{snapshot.digest}.json", snapshot.index.key, *exam, *parts]
    registry, name = Registry(run.store), run.config.name
    checks = [functools.partial(run.store.exists, key) for key in named]
    checks.append(functools.partial(registry.holds_claim, name, version, run.id))
    *there, ours = together(run.store, lambda check: check(), checks)
    gone = [key for key, exists in zip(named, there, strict=True) if not exists]
    if gone or not ours:
        raise IntegrityError(
            "what this run was about to publish was tidied away while it stood still",
            gone=", ".join(gone) or f"its claim of version {version}",
            remedy="run it again: it makes anew what is missing",
        )
