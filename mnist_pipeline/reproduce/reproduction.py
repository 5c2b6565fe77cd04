"""A version, and what came of making it again: identical, or what differs first, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_pipeline.config import Config
from mnist_pipeline.configfile import resolve
from mnist_pipeline.errors import ConfigError, DataError, IntegrityError, PipelineError
from mnist_pipeline.plugins import MissingPluginError, uninstalled
from mnist_pipeline.reporting import Reporter, listening
from mnist_pipeline.reproduce.cause import REMEDIES, Difference, causes, differences
from mnist_pipeline.reproduce.origin import origin_of
from mnist_pipeline.reproduce.rebuild import (
    Rebuild,
    StageReport,
    dataset_record_of,
    rebuild,
    skipped_from,
)
from mnist_pipeline.stages.resolve import resolved
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.manifest import Manifest, packages_in
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.overlay import Overlay
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.scratch import make_scratch, removed_afterwards


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """What came of making a version again.

    Attributes:
        manifest: the version.
        stages: every stage, in order.
        causes: what may have made the first one differ, the likeliest first.
        differences: all on record that is not today what it was.
        metrics: what was measured now, if it came to that.
        error: what is wrong, and what to do about it; None if all is identical.
    """

    manifest: Manifest
    stages: Sequence[StageReport]
    causes: Sequence[str] = ()
    differences: Sequence[Difference] = ()
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    error: PipelineError | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON object of `mnist-pipeline reproduce --json`."""
        data = {
            "model": self.manifest.name,
            "version": self.manifest.version,
            "identical": self.error is None,
            "stages": [stage.to_json() for stage in self.stages],
            "cause": " or ".join(self.causes) or None,
            "differences": [dataclasses.asdict(difference) for difference in self.differences],
            "metrics": {"expected": dict(self.manifest.metrics), "found": dict(self.metrics)},
        }
        return data if self.error is None else {**data, "error": self.error.to_json()}


def reproduce(
    store: Store, reference: str, *, from_sources: bool = False, reporter: Reporter
) -> Reproduction:
    """Makes a published version again, beside the workspace, and compares the two.

    Args:
        store: the workspace; nothing in it is changed.
        reference: `name@version`, or `name` for its champion.
        from_sources: read the sources again in place of the parts.
        reporter: who is told how far it is.

    Raises:
        ConfigError: there is no such version, or this program does not understand how it was made.
        OutsideError: a plugin that made it is not installed.
        IntegrityError: its manifest is damaged.
        DataError: with `from_sources`: a source cannot be read.
    """
    manifest = Registry(store).find(reference)
    config = _config(manifest)
    record, found = dataset_record_of(store, manifest)
    if record is None:
        return _judged(manifest, [found, *skipped_from("validate")], [])
    with removed_afterwards(make_scratch(None)) as folder, listening(reporter):
        # A deadline changes no result, and this machine may be slower.
        recipe = dataclasses.replace(config.train, deadline=None)
        config = config.model_copy(update={"train": recipe})
        run = Run(Overlay(store, folder), config, force="ingest", reporter=reporter)
        work = Rebuild(run, manifest, record)
        stages = rebuild(work, store, from_sources=from_sources)
        known = differences(manifest, config, work.snapshot)
        made = from_sources or work.snapshot is not None
        judged = _judged(manifest, stages, known if made else [], work)
    return dataclasses.replace(judged, metrics=work.metrics)


def _config(manifest: Manifest) -> Config:
    """The configuration of a version, as this program understands it.

    Raises:
        ConfigError: it does not.
        OutsideError: a plugin that made it is not installed.
    """
    try:
        return resolved(resolve([manifest.config]))
    except ConfigError as error:
        packages = packages_in(manifest.environment)
        if isinstance(error, MissingPluginError) and error.name in packages:
            headline = f"{_name(manifest)} cannot be made again here"
            raise uninstalled(headline, error, packages[error.name]) from None
        raise ConfigError(
            f"this program does not understand how {_name(manifest)} was configured",
            cause=error.headline,
            code=manifest.code,
            environment=dict(manifest.environment),
            remedy="run this with the code and the plugins that made it",
        ) from None


def _judged(
    manifest: Manifest,
    stages: Sequence[StageReport],
    known: Sequence[Difference],
    work: Rebuild | None = None,
) -> Reproduction:
    """The first stage that is not as it was, and why."""
    first = next((stage for stage in stages if stage.status != "identical"), None)
    if first is None:
        return Reproduction(manifest, stages, differences=known)
    why = causes(first.name, known if first.status == "differs" else [])
    error = _error(manifest, first, why, known, work)
    return Reproduction(manifest, stages, why, known, error=error)


def _error(
    manifest: Manifest,
    stage: StageReport,
    why: Sequence[str],
    known: Sequence[Difference],
    work: Rebuild | None,
) -> PipelineError:
    name, what = _name(manifest), stage.wrong[0]
    facts: dict[str, Any] = {
        "stage": stage.name,
        "object" if "/" in what else "what": what,
        "expected": stage.expected[what],
        "found": stage.found.get(what),
        "cause": " or ".join(why),
    }
    facts |= {d.what: f"{d.then} then, {d.now} now" for d in known if d.cause in why}
    part = next((part for part in work.parts if part.key in what), None) if work else None
    if work and part:
        origin = origin_of(manifest, work.run.contract, part)
        facts["source"] = origin.spec
        thing, remedy = f"the part {part.name} of {name}", origin.remedy(name)
    else:
        thing, remedy = f"an object that {name} was made of", REMEDIES[why[0]]
    if stage.status == "missing":
        return DataError(f"{thing} is gone", **facts, remedy=remedy)
    if "/" in what:
        return IntegrityError(f"{thing} is not what it was", **facts, remedy=remedy)
    headline = f"{name} made again is not the same: {stage.name} gives another {what}"
    return IntegrityError(headline, **facts, remedy=remedy)


def _name(manifest: Manifest) -> str:
    return f"{manifest.name}@{manifest.version}"
