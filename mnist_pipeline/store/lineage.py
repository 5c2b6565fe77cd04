"""What names what: from published versions to the data sets, parts and exams they were made of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

from mnist_pipeline.refs import Ref
from mnist_pipeline.store.exams import exam_of
from mnist_pipeline.store.objects import ObjectMissingError, Store
from mnist_pipeline.store.registry import Registry

DATASET = "dataset.json"
"""In the folder of a run: which data set it saw."""

DIGITS_SHOWN = 12
"""Digits of an exam's digest by which a verdict names it."""


@dataclasses.dataclass(frozen=True)
class Roots:
    """What the models of a workspace name.

    Attributes:
        versions: every version that is visible, or that a champion or a finished run names.
        datasets, exams: digests.
        runs: the runs that made a visible version.
        verdicts: the reasons of all verdicts.
    """

    versions: frozenset[tuple[str, int]]
    datasets: frozenset[str]
    exams: frozenset[str]
    runs: frozenset[str]
    verdicts: str

    def names_exam(self, digest: str) -> bool:
        """Whether an exam has judged, judges, or was named by a verdict that offered it."""
        return digest in self.exams or digest[:DIGITS_SHOWN] in self.verdicts


def roots_of(store: Store) -> Roots:
    """Reads every manifest, exam record and series.

    Raises:
        IntegrityError: one is damaged, so that nobody knows what it names.
    """
    registry = Registry(store)
    versions: set[tuple[str, int]] = set()
    datasets, exams, runs, verdicts = set(), set(), set(), []
    visible = {info.key for info in store.list("models") if info.key.endswith("/manifest.json")}
    for name in registry.names():
        for series in (registry.champions(name), registry.runs(name)):
            for entry in series.history():
                if entry.value["version"] is not None:  # a run held before training made none
                    versions.add((name, entry.value["version"]))
                verdicts += entry.value.get("reasons", ())
        if exam := exam_of(store, name):
            exams |= {exam.digest, *(former["digest"] for former in exam.former)}
        for number in registry.numbers(name):
            if f"{registry.prefix(name, number)}/manifest.json" not in visible:
                continue
            manifest = registry.manifest(name, number)
            versions.add((name, number))
            datasets.add(manifest.dataset)
            runs.add(manifest.run)
            verdicts += manifest.verdict["reasons"]
            if manifest.exam:
                exams.add(manifest.exam)
    return Roots(
        frozenset(versions),
        frozenset(datasets),
        frozenset(exams),
        frozenset(runs),
        "\n".join(verdicts),
    )


@dataclasses.dataclass(frozen=True)
class DatasetRecord:
    """The keys that the record of a data set names: its parts, with their names, and its index."""

    parts: tuple[str, ...]
    index: str

    @property
    def things(self) -> frozenset[str]:
        """The key of its index, and the part keys of its parts."""
        return frozenset([self.index, *(key.split("/")[1] for key in self.parts)])


def dataset_record(store: Store, digest: str) -> DatasetRecord | None:
    """What a data set names; None if its record is gone or cannot be read."""
    try:
        record = json.loads(store.get(f"datasets/{digest}.json"))
        return DatasetRecord(tuple(part["key"] for part in record["parts"]), record["index"]["key"])
    except (ObjectMissingError, ValueError, KeyError, TypeError):
        return None


def dataset_of(store: Store, run: str) -> str | None:
    """The digest of the data set that a run saw; None if it came to none."""
    try:
        return str(json.loads(store.get(f"runs/{run}/{DATASET}"))["dataset"])
    except (ObjectMissingError, ValueError, KeyError, TypeError):
        return None


def outputs_of(store: Store, memo: str) -> frozenset[str] | None:
    """The keys that a memo names; None if it is gone or cannot be read."""
    try:
        outputs: Iterable[dict[str, str]] = json.loads(store.get(memo))["outputs"].values()
        return frozenset(Ref.from_json(ref).key for ref in outputs)
    except (ObjectMissingError, ValueError, KeyError, TypeError, AttributeError):
        return None
