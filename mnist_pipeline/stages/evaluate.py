"""Evaluate: the candidate's answers in the exam, measured."""

from __future__ import annotations

import json
import time
from typing import Any

import pyarrow as pa

from mnist_pipeline.data.dataset import Images, Labels, gather, read_images
from mnist_pipeline.data.parquet import bytes_column, bytes_view, read_table, write_table
from mnist_pipeline.data.split import Side
from mnist_pipeline.evaluate.gate import Evaluation
from mnist_pipeline.evaluate.metrics import Metrics, measure, mistakes, percent
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.refs import readable_json
from mnist_pipeline.stages.resolve import plugin_packages
from mnist_pipeline.stages.run import Made, Run, memoized
from mnist_pipeline.stages.train import rows_of
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.bundles import BUNDLE_FILES, bundle_from, golden_file
from mnist_pipeline.store.memo import StageResult

VALIDATION_ONLY = "validation rows"
"""Stands for the exam's digest where there is none (`--no-exam`)."""


def evaluate(run: Run, snapshot: Snapshot, trained: StageResult) -> StageResult:
    """Measures a trained bundle on the exam, or on the validation rows if there is no exam.

    Outputs: `metrics.json`, `predictions.parquet` (label, probabilities), `golden.parquet`,
    `mistakes.parquet` (image, label, predicted, confidence).
    """
    exam = snapshot.exam.digest if snapshot.exam else VALIDATION_ONLY

    def make() -> Made:
        bundle = candidate_bundle(run, trained)
        images, labels = questions(run, snapshot)
        predictor, started = bundle.predictor, time.thread_time()
        probabilities = predictor(images)
        seconds = time.thread_time() - started
        metrics = measure(labels, probabilities, run.contract.classes)
        wrong = mistakes(labels, probabilities)
        answers = pa.FixedSizeListArray.from_arrays(probabilities.ravel(), probabilities.shape[1])
        tables = {
            "predictions.parquet": pa.table({"label": labels, "probabilities": answers}),
            "mistakes.parquet": pa.table(
                {
                    "image": bytes_column(images[[mistake.row for mistake in wrong]]),
                    "label": [mistake.label for mistake in wrong],
                    "predicted": [mistake.predicted for mistake in wrong],
                    "confidence": [mistake.confidence for mistake in wrong],
                }
            ),
        }
        outputs = {
            "metrics.json": run.store.put(
                run.key("metrics.json"), readable_json(metrics.to_json())
            ),
            "golden.parquet": run.store.put(
                run.key("golden.parquet"), golden_file(bundle, images, labels)
            ),
        }
        with run.store.scratch() as folder:
            for name, table in tables.items():
                write_table(folder / name, table)
                outputs[name] = run.store.upload(folder / name, run.key(name), rows=len(table))
        summary = f"accuracy {percent(metrics.accuracy)} on {metrics.n:,} rows"
        # Measured, so it differs from run to run: a fact of the stage, and none of its outputs.
        facts = {"microseconds": round(1e6 * seconds / len(images), 1)} if len(images) else {}
        return outputs, facts, summary

    return memoized(
        run,
        "evaluate",
        1,
        what="the exam" if snapshot.exam else VALIDATION_ONLY,
        inputs={
            "dataset": snapshot.digest,
            "exam": exam,
            **{name: trained.outputs[name].digest for name in BUNDLE_FILES},
        },
        config={"packages": plugin_packages(run.config)},
        make=make,
    )


def candidate_bundle(run: Run, trained: StageResult) -> Bundle:
    """The bundle that the train stage left, read back from the store."""
    return bundle_from({name: run.store.get(trained.outputs[name].key) for name in BUNDLE_FILES})


def questions(run: Run, snapshot: Snapshot) -> tuple[Images, Labels]:
    """What a model is judged on: images (N, pixels) uint8, labels (N,) uint8."""
    if snapshot.exam is None:
        return rows_of(run, snapshot, Side.VALIDATION)
    with run.store.local(snapshot.exam.data.key) as path:
        rows = snapshot.exam.data.rows or 0
        return gather(read_images(path, run.contract), rows, run.contract.pixels)


def evaluation_of(run: Run, snapshot: Snapshot, evaluated: StageResult) -> Evaluation:
    """The candidate's evaluation, read back from the store."""
    with run.store.local(evaluated.outputs["predictions.parquet"].key) as path:
        table = read_table(path).combine_chunks()
    probabilities = table["probabilities"].combine_chunks().values.to_numpy()
    return Evaluation(
        name="candidate",
        labels=table["label"].to_numpy(),
        probabilities=probabilities.reshape(len(table), -1),
        metrics=metrics_of(run, evaluated),
        exam_digest=snapshot.exam.digest if snapshot.exam else VALIDATION_ONLY,
        microseconds=evaluated.facts.get("microseconds"),
    )


def cost_of(run: Run, evaluated: StageResult) -> dict[str, Any]:
    """What an answer of the candidate costs: `views`, and CPU `microseconds` an image if known."""
    measured = {key: evaluated.facts[key] for key in ("microseconds",) if key in evaluated.facts}
    return {"views": run.config.predict.views, **measured}


def metrics_of(run: Run, evaluated: StageResult) -> Metrics:
    """The candidate's metrics, read back from the store."""
    return Metrics.from_json(json.loads(run.store.get(evaluated.outputs["metrics.json"].key)))


def mistakes_of(run: Run, evaluated: StageResult) -> list[tuple[Images, int, int, float]]:
    """The most confident mistakes: image (pixels,) uint8, label, predicted, confidence."""
    with run.store.local(evaluated.outputs["mistakes.parquet"].key) as path:
        table = read_table(path).combine_chunks()
    images = bytes_view(table["image"].combine_chunks())
    rows = table.select(["label", "predicted", "confidence"]).to_pylist()
    return [
        (images[i], row["label"], row["predicted"], row["confidence"]) for i, row in enumerate(rows)
    ]
