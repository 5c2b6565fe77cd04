"""What an ensemble and views bring, and what they cost.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_ensemble.py

Trains members on some of MNIST's training images, one after the other and as many at once as there
are cores, in turn; prints seconds, CPU seconds and whether the weights are the same. Then the
accuracy on the last 5,000 training images, which nothing was trained on, and the CPU time of an
answer with 1, 5 and 9 views. The 10,000 test images are not looked at.
"""

from __future__ import annotations

import argparse
import gzip
import os
import resource
import time
from pathlib import Path

import numpy as np

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.ensemble import Ensemble
from mnist_pipeline.model.members import train_members
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.predictor import VIEWS
from mnist_pipeline.model.progress import TrainingResult
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.threads import cores

VALIDATION = 5_000
TIMED = 1_216  # four blocks
ROUNDS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=6_000)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", default=["mlp", "cnn"])
    options = parser.parse_args()
    images, labels = _mnist()
    validation = images[-VALIDATION:], labels[-VALIDATION:]
    images, labels = images[: options.rows], labels[: options.rows]
    normalizer = FittedNormalizer.fit("scale", {}, [images])
    recipe = Recipe(epochs=options.epochs, learning_rate=3e-3, checkpoint_every=0)
    for kind in options.kinds:
        ensemble = Ensemble({"kind": kind}, options.members)
        print(f"\n{options.members} of {kind}, {options.rows:,} rows, {options.epochs} epochs")
        print(f"{'at once':>8} {'seconds':>8} {'CPU':>8}")
        results: list[TrainingResult] = []
        for at_once in (1, cores()) * ROUNDS:
            started, before = time.perf_counter(), _cpu()
            result = train_members(
                ensemble,
                images,
                labels,
                normalizer,
                recipe,
                classes=10,
                validation=validation,
                at_once=at_once,
            )
            seconds, used = time.perf_counter() - started, _cpu() - before
            print(f"{at_once:>8} {seconds:>8.2f} {used:>8.2f}")
            results.append(result)
        weights = [result.parameters for result in results]
        same = all(np.array_equal(w[n], weights[0][n]) for w in weights for n in weights[0])
        print("the same bits" if same else "BITS DIFFER")
        line = results[0].history[-1]["members"]
        alone = np.mean([member["validation_accuracy"] for member in line])
        print(f"a member alone reads {alone:.2%} of {VALIDATION:,} (the mean)")
        bundles = [
            Bundle(ImageContract(), normalizer, "ensemble.v1", ensemble, weights[0], views)
            for views in VIEWS
        ]
        least = dict.fromkeys(VIEWS, float("inf"))
        for _ in range(3):
            for bundle in bundles:
                started = time.thread_time()
                bundle.predictor(images[:TIMED])
                spent = (time.thread_time() - started) / TIMED
                least[bundle.views] = min(least[bundle.views], spent)
        for bundle in bundles:
            accuracy = np.mean(bundle.predict(validation[0]).labels == validation[1])
            cost = least[bundle.views]
            print(
                f"together, {bundle.views} views: {accuracy:.2%}, {1e6 * cost:.1f} µs an image, "
                f"{cost / least[1]:.2f} times one view"
            )


def _cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, whose))


def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """MNIST's 60,000 training images (N, 784) uint8 and labels."""
    folder = Path(os.environ["MNIST_DATA_DIR"])
    arrays = []
    for what, header in (("images-idx3", 16), ("labels-idx1", 8)):
        path = next(folder.glob(f"train-{what}-ubyte*"))
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        arrays.append(np.frombuffer(data, np.uint8, offset=header))
    return arrays[0].reshape(-1, 784), arrays[1].astype(np.int64)


if __name__ == "__main__":
    main()
