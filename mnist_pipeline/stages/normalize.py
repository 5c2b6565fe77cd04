"""Normalize: one pass over the training rows fits the normalizer and takes their profile.

Both travel with the version from here on: the one makes the network's inputs, the other tells what
it has learned from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pyarrow as pa

from mnist_pipeline.data.dataset import Images, Index, Labels, read_side
from mnist_pipeline.data.parquet import bytes_column, bytes_view, read_table, write_table
from mnist_pipeline.data.profile import Profile, Profiler
from mnist_pipeline.data.split import Side
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.threads import single_threaded_blas
from mnist_pipeline.refs import readable_json
from mnist_pipeline.stages.resolve import plugin_packages
from mnist_pipeline.stages.run import Made, Run, memoized
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.memo import StageResult

SAMPLES_A_CLASS = 12


def normalize(run: Run, snapshot: Snapshot) -> StageResult:
    """The normalizer of the run's configuration, fitted; and what it was fitted on.

    Outputs: `normalizer`, `profile.json`, `samples.parquet` (image, label).
    """
    section = run.config.normalize

    def make() -> Made:
        profiler, samples = Profiler(run.contract), Samples(len(run.contract.classes))
        with ExitStack() as files:
            index = Index.read(files.enter_context(run.store.local(snapshot.index.key)))
            paths = [files.enter_context(run.store.local(part.key)) for part in snapshot.parts]
            files.enter_context(single_threaded_blas())

            def blocks() -> Iterator[Images]:
                for images, labels in read_side(paths, index, Side.TRAIN, run.contract):
                    profiler.add(images, labels)
                    samples.add(images, labels)
                    yield images

            passing = blocks()
            fitted = FittedNormalizer.fit(section.kind, section.options(), passing)
            deque(passing, maxlen=0)  # the normalizer may have seen enough, the profile has not
        profile = profiler.profile().to_bytes()
        outputs = {
            "normalizer": run.store.put(
                run.key("normalizer.json"), readable_json(fitted.to_json())
            ),
            "profile.json": run.store.put(run.key("profile.json"), profile),
        }
        with run.store.scratch() as folder:
            path = folder / "samples.parquet"
            write_table(path, samples.to_table())
            outputs[path.name] = run.store.upload(path, run.key(path.name))
        return outputs, {}, fitted.name

    return memoized(
        run,
        "normalize",
        2,
        what=section.kind,
        inputs={"dataset": snapshot.digest},
        config={**section.model_dump(mode="json"), "packages": plugin_packages(run.config)},
        make=make,
    )


class Samples:
    """The first `SAMPLES_A_CLASS` rows of each class, for people to look at."""

    def __init__(self, classes: int) -> None:
        self._kept: list[list[Images]] = [[] for _ in range(classes)]

    def add(self, images: Images, labels: Labels) -> None:
        """Takes what is still missing from a block: images (B, pixels), labels (B,)."""
        for label, kept in enumerate(self._kept):
            if missing := SAMPLES_A_CLASS - len(kept):
                kept.extend(images[np.flatnonzero(labels == label)[:missing]])

    def to_table(self) -> pa.Table:
        images = np.stack([image for kept in self._kept for image in kept])
        labels = np.repeat(np.arange(len(self._kept)), [len(kept) for kept in self._kept])
        return pa.table({"image": bytes_column(images), "label": labels.astype(np.uint8)})


def profile_of(run: Run, normalized: StageResult) -> Profile:
    """The profile of the training rows, read back from the store."""
    return Profile.from_bytes(run.store.get(normalized.outputs["profile.json"].key))


def samples_of(run: Run, normalized: StageResult) -> tuple[Images, Labels]:
    """The samples: images (N, pixels) uint8, labels (N,) uint8."""
    with run.store.local(normalized.outputs["samples.parquet"].key) as path:
        table = read_table(path).combine_chunks()
    return bytes_view(table["image"].combine_chunks()), table["label"].to_numpy()
