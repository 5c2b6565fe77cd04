"""Does drift tell a clean sample of MNIST from other images, and by how much?

    MNIST_DATA_DIR=… python tests/benchmarks/bench_drift.py [--tries 1000]

A model of the preset `fast` learns from 50,000 of MNIST's training images and is examined on the
other 10,000, so that MNIST's test images are new to everything that they are compared with. Clean
samples are drawn from these with replacement; of the bad ones a tenth as many, from clean samples.
Printed are the largest score of the clean and the smallest of the bad; exit code 1 if one of the
clean reaches the alarm, or one of the bad does not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.cli import main as command
from mnist_pipeline.data.drift import ALARM, Drift, Traits, drift, learned_traits
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.score.answers import SAMPLE
from mnist_pipeline.store.bundles import load_model

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "score"))
from drift_samples import BAD, Images, resamples
from score_samples import mnist
from small import write_idx

SIZES = (1_000, 5_000)


def trained(folder: Path) -> tuple[Bundle, Traits]:
    """The model, and the traits of what it learned from."""
    images, labels = mnist("train")
    rows = np.random.default_rng(0).permutation(len(images))
    for name, some in (("train", rows[:50_000]), ("t10k", rows[50_000:])):
        write_idx(folder / "idx", name, images[some], labels[some])
    words = ["train", "--source", f"idx:{folder / 'idx'}", "--workspace", str(folder / "workspace")]
    with contextlib.redirect_stdout(io.StringIO()):
        assert command([*words, "--engine", "plain", "--quiet"]) == 0
    profile = folder / "workspace" / "models" / "digits" / "versions" / "1" / "profile.json"
    learned = learned_traits(profile.read_bytes())
    assert learned
    return load_model("digits", folder / "workspace"), learned


def measured(
    images: Images,
    labels: NDArray[np.uint8],
    confidences: NDArray[np.float32],
    learned: Traits,
) -> Drift:
    """The drift that scoring a file of these images tells: it looks at a part of a large batch."""
    some = slice(None, None, max(1, len(images) // SAMPLE))
    found = drift(Traits.of(images[some], labels[some], confidences[some], 10), learned)
    assert found
    return found


def row(name: str, n: int, found: list[Drift], *, worst: bool) -> float:
    """Prints one kind of images; returns the score furthest to the wrong side."""
    pick = max if worst else min
    score = pick(drift.score for drift in found)
    each = "".join(f"{pick(d.distances[k] for d in found):12.3f}" for k in found[0].distances)
    print(
        f"{name:34}{n:7,}{len(found):7,}{'max' if worst else 'min':>5}{score:8.3f}{each}",
        flush=True,
    )
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    tries = parser.parse_args().tries
    with tempfile.TemporaryDirectory() as folder:
        model, learned = trained(Path(folder))
    images, _ = mnist("t10k")
    told = model.predict(images)
    names = "".join(f"{name:>12}" for name in ("ink", "pixels", "labels", "confidence"))
    print(f"{'':34}{'images':>7}{'tries':>7}{'':5}{'score':>8}{names}")
    clean, bad = [], []
    for n in SIZES:
        drawn = itertools.islice(resamples(images, n, np.random.default_rng(n)), tries)
        found = [
            measured(images[rows], told.labels[rows], told.confidences[rows], learned)
            for rows in drawn
        ]
        clean.append(row("clean", n, found, worst=True))
    for kind, spoil in BAD.items():
        rng = np.random.default_rng(1)
        found = []
        for rows in itertools.islice(resamples(images, SIZES[0], rng), max(1, tries // 10)):
            spoiled = spoil(images[rows], rng)
            answers = model.predict(spoiled)
            found.append(measured(spoiled, answers.labels, answers.confidences, learned))
        bad.append(row(kind, SIZES[0], found, worst=False))
    print(f"\nclean: at most {max(clean):.3f}; bad: at least {min(bad):.3f}; alarm: {ALARM}")
    sys.exit(0 if max(clean) < ALARM <= min(bad) else 1)


if __name__ == "__main__":
    main()
