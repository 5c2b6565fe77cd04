"""Train: a network from the training rows, made into a bundle."""

from __future__ import annotations

import dataclasses
import json
import time
from contextlib import ExitStack
from typing import Any

from mnist_pipeline import plugins
from mnist_pipeline.data.dataset import Images, Index, Labels, gather, read_side
from mnist_pipeline.data.split import Side
from mnist_pipeline.evaluate.metrics import percent
from mnist_pipeline.model.bundle import Bundle, prediction_json
from mnist_pipeline.model.ensemble import Ensemble
from mnist_pipeline.model.members import train_members
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.progress import Progress
from mnist_pipeline.model.recipe import PACE
from mnist_pipeline.model.trainer import train as train_network
from mnist_pipeline.refs import readable_json
from mnist_pipeline.reporting import Step
from mnist_pipeline.stages.resolve import plugin_packages
from mnist_pipeline.stages.run import Made, Run, memoized
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.bundles import bundle_files
from mnist_pipeline.store.checkpoints import StoredCheckpoints
from mnist_pipeline.store.memo import StageResult, stage_key


def train(run: Run, snapshot: Snapshot, normalized: StageResult) -> StageResult:
    """A trained bundle; outputs are its files by name, and `history.json`.

    Raises:
        TrainingError: it diverged, or passed its deadline, which leaves a checkpoint.
    """
    section = run.config.model
    recipe = run.config.train
    model = plugins.build("model", section.kind, section.options())
    model_name = plugins.resolve("model", section.kind).name
    inputs = {
        "dataset": snapshot.digest,
        "normalizer": normalized.outputs["normalizer"].digest,
    }
    config = {
        "model": {"kind": model_name, **section.options()},
        "train": run.config.to_json()["train"],
        "packages": plugin_packages(run.config),
    }
    for pace in PACE:
        config["train"].pop(pace, None)
    key = stage_key("train", 1, inputs=inputs, config=config)
    checkpoints = StoredCheckpoints(run.store, key, fresh=run.forced("train"))

    def make() -> Made:
        normalizer = FittedNormalizer.from_json(
            json.loads(run.store.get(normalized.outputs["normalizer"].key))
        )
        images, labels = rows_of(run, snapshot, Side.TRAIN)
        validation = rows_of(run, snapshot, Side.VALIDATION)
        started = time.perf_counter()
        options: dict[str, Any] = {
            "classes": len(run.contract.classes),
            "shape": (run.contract.height, run.contract.width),
            "validation": validation,
            "progress": lambda progress: run.reporter.step(_step(progress)),
        }
        if isinstance(model, Ensemble):
            with run.store.scratch() as folder:
                result = train_members(
                    model,
                    images,
                    labels,
                    normalizer,
                    recipe,
                    checkpoints=lambda n: StoredCheckpoints(
                        run.store, f"{key}/member-{n}", fresh=run.forced("train")
                    ),
                    scratch=folder,
                    **options,
                )
        else:
            result = train_network(
                model, images, labels, normalizer, recipe, checkpoints=checkpoints, **options
            )
        loop_seconds = round(time.perf_counter() - started, 3)
        bundle = Bundle(run.contract, normalizer, model_name, model, result.parameters)
        outputs = {
            name: run.store.put(run.key(f"bundle/{name}"), data)
            for name, data in bundle_files(bundle).items()
        }
        history = readable_json(result.history)
        outputs["history.json"] = run.store.put(run.key("history.json"), history)
        last = result.history[-1]
        accuracy = last["validation_accuracy"]
        summary = f"{model_name}, {result.steps:,} steps, loss {last['loss']:.4f}" + (
            f", validation {percent(accuracy)}" if accuracy is not None else ""
        )
        facts = {"steps": result.steps, "loop_seconds": loop_seconds}
        return outputs, {**facts, "profile": result.profile.to_json()}, summary

    what = f"{model_name} on {snapshot.sides.get('train', 0):,} rows"
    result = memoized(run, "train", 1, what=what, inputs=inputs, config=config, make=make)
    checkpoints.clear()
    run.profile |= result.facts.get("profile", {})
    return _looking(run, result)


def _looking(run: Run, trained: StageResult) -> StageResult:
    """The trained bundle with the views of this run: the weights do not depend on them."""
    views, name = run.config.predict.views, "model.json"
    if views == 1:
        return trained
    model = json.loads(run.store.get(trained.outputs[name].key))
    model["prediction"] = prediction_json(views)
    seen = run.store.put(run.key(f"bundle/views-{views}/{name}"), readable_json(model))
    return dataclasses.replace(trained, outputs={**trained.outputs, name: seen})


def rows_of(run: Run, snapshot: Snapshot, side: Side) -> tuple[Images, Labels]:
    """All rows of one side: images (N, pixels) uint8, labels (N,) uint8."""
    with ExitStack() as files:
        index = Index.read(files.enter_context(run.store.local(snapshot.index.key)))
        paths = [files.enter_context(run.store.local(part.key)) for part in snapshot.parts]
        rows = int((index.side == side).sum())
        blocks = read_side(paths, index, side, run.contract)
        return gather(blocks, rows, run.contract.pixels)


def _step(progress: Progress) -> Step:
    accuracy = progress.validation_accuracy
    note = f"epoch {progress.epoch}, loss {progress.loss:.4f}" + (
        f", validation {percent(accuracy)}" if accuracy is not None else ""
    )
    return Step(progress.step, progress.total_steps, "steps", note)
