"""Normalize: fit the normalizer on the training rows; it travels in the bundle from here on."""

from __future__ import annotations

from contextlib import ExitStack

from mnist_pipeline.data.dataset import Index, read_side
from mnist_pipeline.data.split import Side
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.refs import readable_json
from mnist_pipeline.stages.resolve import plugin_packages
from mnist_pipeline.stages.run import Made, Run, memoized
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.memo import StageResult


def normalize(run: Run, snapshot: Snapshot) -> StageResult:
    """The normalizer of the run's configuration, fitted; output `normalizer`."""
    section = run.config.normalize

    def make() -> Made:
        with ExitStack() as files:
            index = Index.read(files.enter_context(run.store.local(snapshot.index.key)))
            paths = [files.enter_context(run.store.local(part.key)) for part in snapshot.parts]
            blocks = (rows for rows, _ in read_side(paths, index, Side.TRAIN, run.contract))
            fitted = FittedNormalizer.fit(section.kind, section.options(), blocks)
        data = readable_json(fitted.to_json())
        return {"normalizer": run.store.put(run.key("normalizer.json"), data)}, {}, fitted.name

    return memoized(
        run,
        "normalize",
        1,
        what=section.kind,
        inputs={"dataset": snapshot.digest},
        config={**section.model_dump(mode="json"), "packages": plugin_packages(run.config)},
        make=make,
    )
