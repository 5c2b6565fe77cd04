"""A job: which model answers which files, and what came of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from mnist_pipeline.data.drift import Drift, Traits, drift, learned_traits
from mnist_pipeline.errors import ConfigError, DataError, PipelineError, shortened
from mnist_pipeline.refs import readable_json
from mnist_pipeline.score.inputs import InputFile
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.score.outputs import Record, open_output, stored_record
from mnist_pipeline.score.quarantine import FOLDER as QUARANTINE
from mnist_pipeline.score.quarantine import quarantine_rows
from mnist_pipeline.score.slices import FilePlan, Job, clear_slices, model_digest, open_bundle
from mnist_pipeline.score.tally import Tally
from mnist_pipeline.sources.files import path_of
from mnist_pipeline.store.bundles import DEFAULT_MODEL
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import FOLDERS, Store
from mnist_pipeline.store.registry import Registry, now

MANIFEST = "_manifest.json"
SLICE_ROWS = 250_000
LOOKERS = 8
"""Answers looked at at once in the end: in a bucket each takes a while, and little of a CPU."""
FILE_ERRORS = (DataError, ConfigError)
"""What can be wrong with one file; any other error ends the job."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """A file without answers."""

    file: str
    error: PipelineError

    @property
    def words(self) -> str:
        """Which file and why, in a line."""
        facts = self.error.facts.get("difference") or self.error.facts.get("found") or []
        why = shortened("; ".join(facts), 160) if isinstance(facts, list) else ""
        return f"{self.file}: {self.error.headline}" + (f" ({why})" if why else "")

    def to_json(self) -> dict[str, Any]:
        return {"file": self.file, "reason": self.error.headline, "error": self.error.to_json()}


def failed(job: Job, file: InputFile, error: PipelineError) -> Failure:
    """What becomes of a job one of whose files is bad.

    Raises:
        PipelineError: this one, if bad files fail the job.
    """
    if job.options.on_bad_file == "fail":
        raise error
    return Failure(file.relative, error)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What came of a scoring.

    Attributes:
        files: how many were given.
        tally: the counts over all files with answers, read from the outputs themselves.
        failures: files without answers.
        skipped: files whose answers were there before.
        drift: how far the images lie from what the model learned from; None if that is not known.
        job: what was scored with.
        seconds: wall-clock seconds.
    """

    files: int
    tally: Tally
    failures: tuple[Failure, ...]
    skipped: tuple[str, ...]
    drift: Drift | None
    job: Job
    seconds: float

    @property
    def words(self) -> str:
        """The counts in a few words."""
        return f"{self.tally.rows:,} rows: {self.tally.scored:,} scored"

    @property
    def error(self) -> PipelineError | None:
        """Why a scoring counts as failed, if it does."""
        return self._bad_files() or self._drifted()

    def _drifted(self) -> PipelineError | None:
        limit = self.job.options.max_drift
        if limit is None or self.drift is None or self.drift.score <= limit:
            return None
        return DataError(
            f"the images have drifted from what {self.job.model}@{self.job.version} learned from",
            drift=self.drift.score,
            limit=limit,
            distances=[f"{name} {value}" for name, value in self.drift.distances.items()],
            remedy="look at the images; the answers are there, and may be wrong",
        )

    def _bad_files(self) -> PipelineError | None:
        if not self.failures or self.job.options.on_bad_file == "skip":
            return None
        errors = [failure.error for failure in self.failures]
        if len(errors) == self.files and all(isinstance(error, ConfigError) for error in errors):
            return errors[0]  # nothing was wrong with the files: the question was
        if len(errors) == 1:
            return errors[0]
        return DataError(
            f"{len(errors):,} of {self.files:,} files could not be scored",
            first=[failure.words for failure in self.failures[:5]],
            remedy="mend or remove them and score again; the others are not done twice",
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object of `mnist-pipeline score --json`."""
        return {
            "files": self.files,
            **self.tally.to_json(),
            "failed_files": [failure.to_json() for failure in self.failures],
            "skipped_files": list(self.skipped),
            "drift": self.drift.to_json() if self.drift else None,
            "model": self.job.model,
            "version": self.job.version,
            "output": self.job.output,
            "seconds": round(self.seconds, 3),
        }


def find_model(store: Store, reference: str | None) -> tuple[Manifest, bool]:
    """The model to score with, and whether it had to be guessed.

    Without a reference `digits@champion`, or the only champion there is.

    Raises:
        ConfigError: there is none, or several could be meant.
    """
    registry = Registry(store)
    if reference:
        return registry.find(reference), False
    names = registry.names()
    usual = DEFAULT_MODEL.partition("@")[0]
    champions = [name for name in names if registry.champion(name)]
    if usual in champions or not champions:
        return registry.find(DEFAULT_MODEL), False
    if len(champions) == 1:
        return registry.find(champions[0]), True
    raise ConfigError(
        f"there is no model called {usual!r}, and several others have a champion",
        models=", ".join(champions),
        remedy=f"name one: --model {champions[0]}",
    )


def make_job(
    store: Store,
    manifest: Manifest,
    output: str,
    options: ScoreOptions,
    *,
    slice_rows: int = SLICE_ROWS,
) -> Job:
    """A job, its model verified and its output folder ready.

    Its folders are absolute: whoever takes a part in it may run elsewhere.

    Raises:
        IntegrityError: the model does not hold; nothing was written.
        ConfigError: the output holds something else, or more classes are asked for than there are.
    """
    digest = model_digest(manifest)
    bundle = open_bundle(store.url, manifest.name, manifest.version, digest)
    classes = len(bundle.contract.classes)
    if options.top_k > classes:
        raise ConfigError(
            f"--top-k cannot be {options.top_k}: the model has {classes} classes",
            remedy=f"give at most {classes}",
        )
    keep_out(store, output)
    answers = open_output(output)
    job = (store.place, manifest.name, manifest.version, digest, answers.place)
    return Job(*job, options, slice_rows)


def keep_out(store: Store, output: str) -> None:
    """Refuses answers among the folders that make up a workspace, or nowhere at all."""
    if not output.strip():
        raise ConfigError("no place for the answers is named", remedy="name one with --output")
    place = output.rstrip("/") if "://" in output else str(path_of(output).resolve())
    first, _, _ = place.removeprefix(f"{store.place}/").partition("/")
    if place.startswith(f"{store.place}/") and first in FOLDERS:
        raise ConfigError(
            f"{output} is a part of the workspace, where models and data are kept",
            workspace=store.place,
            remedy="name a folder outside of it with --output",
        )


def conclude(
    job: Job,
    plans: Sequence[FilePlan],
    failures: Sequence[Failure],
    started: float,
) -> Summary:
    """Adds up what the outputs say of themselves and writes `_manifest.json`.

    Args:
        job: what was scored with.
        plans: the files that have answers now.
        failures: those that have none.
        started: `time.perf_counter()` when it began.

    Raises:
        DataError: an output is not there any more, or rows were lost.
    """
    output = Store.open(job.output, called="output")
    clear_slices(job, plans)
    quarantined = {info.key for info in output.list(QUARANTINE)}
    with ThreadPoolExecutor(LOOKERS) as pool:
        records = list(pool.map(partial(_answered, job, output, quarantined), plans))
    skipped = [plan.input.relative for plan in plans if plan.done]
    summary = Summary(
        files=len(records) + len(failures),
        tally=Tally.total(record.tally for record in records),
        failures=tuple(sorted(failures, key=lambda failure: failure.file)),
        skipped=tuple(skipped),
        drift=drift_of(job, [record.traits for record in records]),
        job=job,
        seconds=time.perf_counter() - started,
    )
    output.put(MANIFEST, readable_json(_manifest(job, records, summary)))
    return summary


def _answered(job: Job, output: Store, quarantined: Collection[str], plan: FilePlan) -> Record:
    """What the answers to a file say of themselves, its bad rows in quarantine if asked for."""
    quarantine_rows(job, plan, quarantined)
    record = stored_record(output, plan.input.relative)
    if record is None or record.key != plan.key or not record.tally.holds:
        raise DataError(
            f"the answers to {plan.input.relative} are not there any more",
            output=job.output,
            remedy="somebody else writes to this folder: score again, or into another one",
        )
    return record


def _manifest(job: Job, records: Sequence[Record], summary: Summary) -> Mapping[str, Any]:
    return {
        "format": 1,
        "created": now(),
        "model": {"name": job.model, "version": job.version, "digest": job.digest},
        "options": job.options.to_json(),
        **summary.tally.to_json(),
        "drift": summary.drift.to_json() if summary.drift else None,
        "files": [
            {**record.input, **record.tally.to_json(), "key": record.key} for record in records
        ],
        "failed_files": [failure.to_json() for failure in summary.failures],
    }


def drift_of(job: Job, traits: Sequence[Traits]) -> Drift | None:
    """How far images lie from what the model of a job learned from; None if that is not known."""
    store = Store.open(job.workspace, writable=False)
    profile = Registry(store).manifest(job.model, job.version).files.get("profile.json")
    learned = learned_traits(store.get(profile.key)) if profile else None
    if learned is None or not traits:
        return None
    return drift(sum(traits, Traits.none(len(learned.labels))), learned)
