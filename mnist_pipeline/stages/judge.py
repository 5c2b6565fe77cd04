"""Judge: may the candidate become champion? The gates decide, and a few facts of the pipeline."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from mnist_pipeline.data.dataset import Index
from mnist_pipeline.data.split import Side, contained
from mnist_pipeline.errors import ConfigError, IntegrityError, OutsideError, PipelineError
from mnist_pipeline.evaluate.gate import Case, Evaluation, Finding, Floors, Gate, combine
from mnist_pipeline.evaluate.metrics import measure
from mnist_pipeline.refs import Ref
from mnist_pipeline.stages.evaluate import questions
from mnist_pipeline.stages.exam import exam_questions
from mnist_pipeline.stages.resolve import gates_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.bundles import read_bundle
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.series import Entry
from mnist_pipeline.store.together import together


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
    """What was decided, and against whom.

    Attributes:
        finding: promote, hold or block, with all reasons.
        seen: the champion series' latest entry when it was decided; None if there was none.
        champion: the champion's evaluation on the same exam, where there is one.
    """

    finding: Finding
    seen: Entry | None
    champion: Evaluation | None


def judge(run: Run, snapshot: Snapshot, candidate: Evaluation) -> Verdict:
    """Holds the candidate against the present champion on the exam."""
    registry = Registry(run.store)
    champions = registry.champions(run.config.name).history()
    seen = champions[-1] if champions else None
    manifests = _manifests(run, champions)
    champion: Evaluation | None = None
    findings: list[Finding] = []
    if seen is not None:
        try:
            manifest = manifests[seen.value["version"]]
            if isinstance(manifest, PipelineError):
                raise manifest
            champion = _champion_evaluation(run, snapshot, manifest)
        except PipelineError as error:
            if isinstance(error, OutsideError) and error.transient:
                raise  # it is the line to the store, and no verdict
            # A champion that cannot be used must not be replaced unseen: somebody has to look.
            findings.append(Finding("hold", (f"champion_unusable: {error.headline}",)))
    if snapshot.exam_changed_to:
        findings.append(Finding("hold", (exam_changed(run, snapshot),)))
    case = Case(candidate, champion, _best_accuracy(snapshot, manifests.values()))
    # Without the champion's answers there is nothing to compare, but the floors still hold.
    comparable = champion is not None or seen is None
    gates = [gate for gate in gates_of(run.config) if isinstance(gate, Gate)]
    findings += [gate.judge(case) for gate in gates if comparable or isinstance(gate, Floors)]
    return Verdict(combine(findings), seen, champion)


def exam_changed(run: Run, snapshot: Snapshot) -> str:
    """Why a run is held whose sources bring other test rows than the model is judged on."""
    name = run.config.name
    own = snapshot.exam.digest[:12] if snapshot.exam else "none"
    brought = str(snapshot.exam_changed_to)[:12]
    return (
        f"exam_changed: the sources bring test rows of their own ({brought}), but {name!r} is "
        f"judged on other ones ({own}); train under another --name, or choose the new ones with "
        f"`mnist-pipeline models exam set {name} {brought} --reason …`"
    )


def _champion_evaluation(run: Run, snapshot: Snapshot, manifest: Manifest) -> Evaluation:
    bundle = read_bundle(run.store, manifest)
    images, labels = questions(run, snapshot)
    probabilities = bundle.predict(images).probabilities
    assert snapshot.exam is not None
    return Evaluation(
        name=f"{manifest.name}@{manifest.version}",
        labels=labels,
        probabilities=probabilities,
        metrics=measure(labels, probabilities, run.contract.classes),
        exam_digest=snapshot.exam.digest,
        exam_rows_trained_on=_exam_rows_in_training(run, snapshot, manifest),
        microseconds=manifest.cost.get("microseconds"),
    )


def _exam_rows_in_training(run: Run, snapshot: Snapshot, manifest: Manifest) -> int:
    """How many questions of the exam the champion has trained on."""
    assert snapshot.exam is not None
    if manifest.exam == snapshot.exam.digest:
        return 0  # its own run kept them out
    record: dict[str, Any] = json.loads(run.store.get(f"datasets/{manifest.dataset}.json"))
    with run.store.local(Ref.from_json(record["index"]).key) as path:
        index = Index.read(path)
    asked = exam_questions(run, snapshot.exam)
    return int(contained(asked, index.digest[index.side == Side.TRAIN]).sum())


def _manifests(run: Run, champions: list[Entry]) -> dict[int, Manifest | PipelineError]:
    """The manifest of each version that was ever champion, or what is wrong with it."""
    registry = Registry(run.store)

    def manifest_of(version: int) -> Manifest | PipelineError:
        try:
            return registry.manifest(run.config.name, version)
        except (ConfigError, IntegrityError) as error:
            return error

    versions = list(dict.fromkeys(entry.value["version"] for entry in champions))
    return dict(zip(versions, together(run.store, manifest_of, versions), strict=True))


def _best_accuracy(
    snapshot: Snapshot, manifests: Iterable[Manifest | PipelineError]
) -> float | None:
    """The best accuracy that any champion had on this exam; lost ones are not counted."""
    exam = snapshot.exam.digest if snapshot.exam else None
    known = [
        manifest.metrics.get("accuracy")
        for manifest in manifests
        if isinstance(manifest, Manifest) and exam is not None and manifest.exam == exam
    ]
    return max((accuracy for accuracy in known if accuracy is not None), default=None)
