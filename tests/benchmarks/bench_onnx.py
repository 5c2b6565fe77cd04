"""ONNX files against the bundles they were made of: answers to MNIST's test images, and speed.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_onnx.py WORKSPACE NAME[@VERSION]…

Printed for each version: labels that differ, the largest difference of probabilities, and CPU
seconds of onnxruntime (one thread, blocks of 304 images) as a share of the bundle's: the median of
rounds in which both take their turn. Exit code 1 if a label differs, or a probability by over 1e-5.
OPENBLAS_CORETYPE, if it is set, chooses NumPy's kernels and not onnxruntime's: unset it first.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.export.onnx_file import onnx_file, runner
from mnist_pipeline.model.predictor import BATCH
from mnist_pipeline.store.bundles import GOLDEN_TOLERANCE
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.publishers import finished_version
from mnist_pipeline.store.registry import Registry

sys.path.insert(0, str(Path(__file__).parents[1] / "score"))
from score_samples import mnist

ROUNDS = 5
Answers = tuple[NDArray[np.integer], NDArray[np.float32]]


def in_blocks(run: Callable[[NDArray[np.uint8]], Answers], images: NDArray[np.uint8]) -> Answers:
    """Labels and probabilities of all images, asked for block by block."""
    found = [run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    labels, probabilities = zip(*found, strict=True)
    return np.concatenate(labels), np.concatenate(probabilities)


def timed(ask: Callable[[], object]) -> float:
    start = time.process_time()
    ask()
    return time.process_time() - start


def main(workspace: str, references: list[str]) -> int:
    images, _ = mnist("t10k")
    store = Store.open(workspace, writable=False)
    right = True
    print("| version | model | normalizer | views | unequal labels | largest difference | CPU |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    for reference in references:
        version = finished_version(store, Registry(store).find(reference))
        bundle, run = version.bundle, runner(onnx_file(version).data)
        expected = bundle.predict(images)
        labels, probabilities = in_blocks(run, images)
        unequal = int(np.count_nonzero(labels != expected.labels))
        off = float(np.abs(probabilities - expected.probabilities).max())
        few = images[: 10 * BATCH]
        ratios = []
        for _ in range(ROUNDS):
            onnx_seconds = timed(lambda run=run, few=few: in_blocks(run, few))
            ratios.append(onnx_seconds / timed(lambda bundle=bundle, few=few: bundle.predict(few)))
        right &= unequal == 0 and off <= GOLDEN_TOLERANCE
        members = " + ".join(bundle.spec.member_kinds)
        print(
            f"| {version.reference} | {bundle.model}{f' ({members})' if members else ''} "
            f"| {bundle.normalizer.name} | {bundle.views} | {unequal} | {off:.1e} "
            f"| {statistics.median(ratios):.2f} |",
            flush=True,
        )
    return 0 if right else 1


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
