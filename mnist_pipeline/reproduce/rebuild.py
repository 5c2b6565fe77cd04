"""Reproduce: every stage of a published version is done again, and its results are compared.

It works in an overlay of the workspace: what is there is read, nothing in it is changed. Nothing
remembered is used (a memo would only be compared with itself). What is compared are digests: of the
parts, the exam, the split, the data set, the normalizer, the contract, the weights, the metrics.
What is not: version number, times, report.

A manifest says what a version was made of, so the rows come from the parts in the workspace. With
`from_sources` they are read from their sources once more, and ingest is compared too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import OutsideError, PipelineError
from mnist_pipeline.reproduce.origin import PartOfVersion, inputs_by_key
from mnist_pipeline.stages.evaluate import evaluate, metrics_of
from mnist_pipeline.stages.ingest import Part, ingest, recall_part
from mnist_pipeline.stages.normalize import normalize
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.train import train
from mnist_pipeline.stages.validate import Snapshot, validate
from mnist_pipeline.store.exams import Exam, exam_of, offered_exam, set_exam
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.memo import StageResult
from mnist_pipeline.store.objects import ObjectMissingError, Store

Status = Literal["identical", "differs", "missing", "skipped"]
Digests = Mapping[str, str | None]

STAGES = ("ingest", "validate", "normalize", "train", "evaluate")
BUNDLE = ("contract.json", "model.json", "model.safetensors")


@dataclasses.dataclass(frozen=True)
class StageReport:
    """What came of a stage.

    Attributes:
        name: one of `STAGES`.
        status: `missing` if something that it needs is gone, `skipped` behind another one.
        expected: digests on record, by what they are of.
        found: digests of today; None for what is gone.
    """

    name: str
    status: Status
    expected: Digests = dataclasses.field(default_factory=dict)
    found: Digests = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, name: str, expected: Digests, found: Digests) -> StageReport:
        """The comparison of two sets of digests."""
        gone = any(found.get(what) is None for what in expected)
        status: Status = "missing" if gone else "identical" if found == expected else "differs"
        return cls(name, status, expected, found)

    @property
    def wrong(self) -> list[str]:
        """What is not as it was."""
        return [what for what, digest in self.expected.items() if self.found.get(what) != digest]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Rebuild:
    """The stages of a version, done again one after the other.

    Attributes:
        run: works in an overlay of the workspace, and uses nothing that is remembered.
        manifest: the version.
        parts: what its data set was made of.
        snapshot: its data set, once `validate` was done again.
        metrics: its metrics, once `evaluate` was.
    """

    def __init__(self, run: Run, manifest: Manifest, record: Mapping[str, Any]) -> None:
        contract = ImageContract.from_json(record["contract"])
        self.run = dataclasses.replace(run, contract=contract)
        self.manifest = manifest
        self.parts = [PartOfVersion.from_json(entry) for entry in record["parts"]]
        self.snapshot: Snapshot | None = None
        self.metrics: dict[str, Any] = {}
        self._split: str = record["index"]["digest"]
        self._ingested: list[Part] = []
        self._normalized: StageResult | None = None
        self._trained: StageResult | None = None

    def ingest(self) -> StageReport:
        """Looks whether the parts are there and whole."""
        expected: dict[str, str | None] = {}
        found: dict[str, str | None] = {}
        with self.run.timed("ingest", "the parts") as words:
            for part in self.parts:
                key = part.data.key
                expected[key], found[key] = part.data.digest, digest_of_object(self.run.store, key)
                if found[key] != expected[key]:
                    continue
                stored = recall_part(self.run.store, part.key, part.name, part.role)
                if stored is None:  # the record beside it, or the rejected rows that this names
                    record = f"parts/{part.key}/part.json"
                    expected[record] = "whole, with its rejected rows"
                    found[record] = "damaged" if self.run.store.exists(record) else None
                    continue
                self._ingested.append(dataclasses.replace(stored, data=part.data))
            words.append(f"{len(self._ingested)} of {len(self.parts)} are whole")
        return StageReport.of("ingest", expected, found)

    def ingest_sources(self, below: Store) -> StageReport:
        """Reads the sources again.

        Raises:
            PipelineError: a source is gone, or cannot be read any more.
        """
        downloads = below.root / "downloads" / "mnist" if below.root else None
        run = self.run
        inputs = inputs_by_key(self.manifest, run.contract, run.store, downloads)
        found: dict[str, str | None] = {}
        for part in self.parts:
            source = inputs.get(part.key)
            found[part.data.key] = None
            if source:
                made = ingest(run, source)
                found[part.data.key] = made.data.digest
                named = dataclasses.replace(made, name=part.name, role=part.role)
                self._ingested.append(named)
        expected = {part.data.key: part.data.digest for part in self.parts}
        return StageReport.of("ingest", expected, found)

    def validate(self) -> StageReport:
        """Splits the rows again."""
        exam = self._exam()
        if exam:
            expected: dict[str, str | None] = {exam.data.key: exam.data.digest}
            rows = {exam.data.key: digest_of_object(self.run.store, exam.data.key)}
        else:
            expected, rows = {f"exams/{self.manifest.exam}.json": "an exam"}, {}
        if exam is None or rows != expected:
            return StageReport.of("validate", expected, rows)
        set_exam(self.run.store, self.manifest.name, exam, "the version's own")
        self.snapshot = validate(self.run, self._ingested)
        expected |= {"split": self._split, "dataset": self.manifest.dataset}
        found = {"split": self.snapshot.index.digest, "dataset": self.snapshot.digest}
        return StageReport.of("validate", expected, rows | found)

    def normalize(self) -> StageReport:
        """Fits the normalizer again."""
        assert self.snapshot is not None
        self._normalized = normalize(self.run, self.snapshot)
        found = {"normalizer.json": self._normalized.outputs["normalizer"].digest}
        return StageReport.of("normalize", self._published(found), found)

    def train(self) -> StageReport:
        """Trains again."""
        assert self.snapshot is not None
        assert self._normalized is not None
        self._trained = train(self.run, self.snapshot, self._normalized)
        found = {name: self._trained.outputs[name].digest for name in BUNDLE}
        return StageReport.of("train", self._published(found), found)

    def evaluate(self) -> StageReport:
        """Measures again."""
        assert self.snapshot is not None
        assert self._trained is not None
        evaluated = evaluate(self.run, self.snapshot, self._trained)
        measured = metrics_of(self.run, evaluated).to_json()
        self.metrics = {key: measured.get(key) for key in self.manifest.metrics}
        found = {"metrics.json": evaluated.outputs["metrics.json"].digest}
        return StageReport.of("evaluate", self._published(found), found)

    def _published(self, names: Iterable[str]) -> dict[str, str | None]:
        files = self.manifest.files
        return {name: files[name].digest if name in files else None for name in names}

    def _exam(self) -> Exam | None:
        """The exam of the version, which need not be that of its name any more."""
        present = exam_of(self.run.store, self.manifest.name)
        if present and present.digest == self.manifest.exam:
            return present
        return offered_exam(self.run.store, self.manifest.exam or "")


def rebuild(work: Rebuild, below: Store, *, from_sources: bool) -> list[StageReport]:
    """Every stage again, until one is not as it was.

    Behind weights that differ the metrics are still compared: they tell how much it matters.

    Args:
        work: what to do.
        below: the workspace itself.
        from_sources: read the sources in place of the parts.

    Raises:
        PipelineError: a source cannot be read; or the disk, or the store, fails.
    """
    first = work.ingest_sources(below) if from_sources else work.ingest()
    reports = [first]
    for name in STAGES[1:]:
        done = [report.name for report in reports if report.status in ("differs", "missing")]
        if done and not (done == ["train"] and name == "evaluate"):
            reports.append(StageReport(name, "skipped"))
            continue
        try:
            report: StageReport = getattr(work, name)()
        except OutsideError:
            raise
        except PipelineError as error:  # it was done once, so that it cannot be done is a finding
            report = StageReport(name, "differs", {"error": ""}, {"error": error.headline})
        reports.append(report)
    return reports


def skipped_from(stage: str) -> list[StageReport]:
    """Reports of a stage and all behind it, none of which was done."""
    return [StageReport(name, "skipped") for name in STAGES[STAGES.index(stage) :]]


def dataset_record_of(
    store: Store, manifest: Manifest
) -> tuple[dict[str, Any] | None, StageReport]:
    """The record of a version's data set, if it is there and unaltered; and what was found."""
    key = f"datasets/{manifest.dataset}.json"
    found = digest_of_object(store, key)
    report = StageReport.of("ingest", {key: manifest.dataset}, {key: found})
    return (json.loads(store.get(key)) if found == manifest.dataset else None), report


def digest_of_object(store: Store, key: str) -> str | None:
    """The sha256 of an object, or None if it is not there."""
    try:
        return store.digest(key)
    except ObjectMissingError:
        return None
