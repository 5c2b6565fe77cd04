"""Inspect: before anything is trained, the champion is asked about data that is new to it.

A run that is held here makes no version and costs no training. Who has looked at the data may let
it through: `mnist-pipeline data accept`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_pipeline.data.dataset import Index, read_images
from mnist_pipeline.data.drift import Traits, learned_traits
from mnist_pipeline.errors import PipelineError
from mnist_pipeline.evaluate.data_gate import DataGate, NewData, NewPart, Readings
from mnist_pipeline.evaluate.gate import Finding, combine
from mnist_pipeline.evaluate.inspection_page import (
    INSPECTION,
    PICTURES_A_FILE,
    NewFile,
    Objection,
    render_inspection,
)
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.stages.evaluate import questions
from mnist_pipeline.stages.judge import exam_changed
from mnist_pipeline.stages.publish import STATUS, Outcome, exit_code, record_hold
from mnist_pipeline.stages.resolve import gates_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.suspicions import NewRows, new_rows, suspicions
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.bundles import read_bundle
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import ObjectMissingError
from mnist_pipeline.store.overrides import accepted_parts, overrides
from mnist_pipeline.store.registry import Registry

NAMES_SHOWN = 5


def inspect(run: Run, snapshot: Snapshot) -> Outcome | None:
    """Asks the champion about the parts that are new to it.

    Returns:
        How the run ends if it is held; None if it may go on.
    """
    with run.timed("inspect", "what is new") as words:
        seen = Registry(run.store).champion(run.config.name)
        if snapshot.exam is None or seen is None:
            words.append("no champion to ask" if snapshot.exam else "nothing: there is no exam")
            return None
        try:
            manifest = Registry(run.store).manifest(run.config.name, seen.value["version"])
            bundle = read_bundle(run.store, manifest)
        except PipelineError:
            words.append("the champion cannot be asked")  # and the verdict will be to hold
            return None
        record = _dataset_of(run, manifest)
        known = {part["digest"] for part in record.get("parts", ())}
        known |= accepted_parts(overrides(run.store, run.config.name).history())
        numbers = [
            number
            for number, (part, counts) in enumerate(
                zip(snapshot.parts, snapshot.counts, strict=True)
            )
            if counts.role == "train" and part.digest not in known
        ]
        _tell_what_is_gone(run, snapshot, record)
        findings, files = _judge(run, snapshot, manifest, bundle, record, numbers)
        if not findings:
            words.append(f"nothing that {_called(manifest)} does not know")
            return None
        finding = combine(findings)
        if finding.status == "promote":
            them = "1 new file" if len(files) == 1 else f"{len(files):,} new files"
            words.append(f"nothing against {them}")
            return None
        page = render_inspection(run.config.name, _called(manifest), files, finding.reasons)
        report = run.store.put(run.key(INSPECTION), page.encode())
        status = STATUS[finding.status]
        outcome = Outcome(
            status, finding.reasons, None, {}, report.key, exit_code(run.config, status)
        )
        new = [
            {"name": snapshot.counts[number].name, "digest": snapshot.parts[number].digest}
            for number in numbers
        ]
        record_hold(run, snapshot, outcome, new)
        words.append(f"{status} before training")
        return outcome


def _called(manifest: Manifest) -> str:
    return f"{manifest.name}@{manifest.version}"


def _dataset_of(run: Run, manifest: Manifest) -> dict[str, Any]:
    """The record of what the champion learned from; empty if it is lost: then all is new."""
    try:
        record: dict[str, Any] = json.loads(run.store.get(f"datasets/{manifest.dataset}.json"))
        return record
    except (ObjectMissingError, ValueError):
        return {}


def _tell_what_is_gone(run: Run, snapshot: Snapshot, record: dict[str, Any]) -> None:
    """Says which files the champion has learned from are not among the inputs any more."""
    here = {part.digest for part in snapshot.parts}
    gone = [part["name"] for part in record.get("parts", ()) if part["digest"] not in here]
    if gone:
        names = ", ".join(gone[:NAMES_SHOWN]) + ", …" * (len(gone) > NAMES_SHOWN)
        run.reporter.note(f"not among the inputs any more, but known to the champion: {names}")


def _judge(
    run: Run,
    snapshot: Snapshot,
    manifest: Manifest,
    bundle: Bundle,
    record: dict[str, Any],
    numbers: Sequence[int],
) -> tuple[list[Finding], list[NewFile]]:
    """What speaks against the parts with these numbers, and what they are for the page."""
    reasons = [exam_changed(run, snapshot)] if snapshot.exam_changed_to else []
    if not numbers:
        return [Finding("hold", (reason,)) for reason in reasons], []
    with run.store.local(snapshot.index.key) as path:
        index = Index.read(path)
    new = new_rows(index, snapshot.counts, numbers)
    reasons += suspicions(
        index,
        new,
        contract=run.contract,
        learned=record.get("counts", {}).get("classes", {}).get("train"),
        champion=_called(manifest),
        max_reject_fraction=run.config.data.max_reject_fraction,
        min_class_share=run.config.data.min_class_share,
    )
    findings = [Finding("hold", (reason,)) for reason in reasons]
    asked = [_ask(run, snapshot, bundle, part) if part.accepted.any() else None for part in new]
    parts = [each[0] for each in asked if each]
    if parts:
        images, labels = questions(run, snapshot)
        answers = bundle.predict(images)
        data = NewData(
            parts=parts,
            champion=_called(manifest),
            exam=Readings(labels, answers.labels, answers.confidences),
            learned=_learned(run, manifest),
            classes=run.contract.classes,
        )
        gates = [gate for gate in gates_of(run.config) if isinstance(gate, DataGate)]
        findings += [gate.inspect(data) for gate in gates]
    files = [_for_the_page(part, each) for part, each in zip(new, asked, strict=True)]
    return findings or [Finding("promote", ())], files


def _learned(run: Run, manifest: Manifest) -> Traits | None:
    profile = manifest.files.get("profile.json")
    return learned_traits(run.store.get(profile.key)) if profile else None


def _ask(
    run: Run, snapshot: Snapshot, bundle: Bundle, new: NewRows
) -> tuple[NewPart, list[Objection]]:
    """What the champion reads in the accepted rows of a part, and where it is surest to differ."""
    contract = run.contract
    traits = Traits.none(len(contract.classes))
    readings: list[Readings] = []
    objections: list[Objection] = []
    at = 0
    with run.store.local(snapshot.parts[new.number].key) as path:
        for block, block_labels in read_images(path, contract):
            mask = new.accepted[at : at + len(block)]
            at += len(block)
            images, labels = block[mask], block_labels[mask]
            answers = bundle.predict(images)
            predicted, confidences = answers.labels, answers.confidences
            readings.append(Readings(labels, predicted, confidences))
            traits += Traits.of(images, predicted, confidences, len(contract.classes))
            differ = np.flatnonzero(predicted != labels)
            surest = differ[np.argsort(-confidences[differ], kind="stable")[:PICTURES_A_FILE]]
            objections += [
                Objection(
                    images[row].reshape(contract.height, contract.width),
                    contract.classes[labels[row]],
                    contract.classes[predicted[row]],
                    float(confidences[row]),
                )
                for row in surest
            ]
            objections.sort(key=lambda objection: -objection.confidence)
            del objections[PICTURES_A_FILE:]
    return NewPart(new.counts.name, Readings.joined(readings), traits), objections


def _for_the_page(part: NewRows, asked: tuple[NewPart, list[Objection]] | None) -> NewFile:
    differ, objections = None, []
    if asked:
        readings, objections = asked[0].readings, asked[1]
        differ = float((readings.predicted != readings.labels).mean())
    return NewFile(part.counts.name, part.counts.rows, part.counts.rejected, differ, objections)
