"""What drawn digits teach: who learns from them alone, and reads MNIST's *training* images.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_drawn.py           # CPU time, ablations
    MNIST_DATA_DIR=… python tests/benchmarks/bench_drawn.py --final   # preset `standard`, 60,000

Ablations train a small network (`PROXY`) on few digits; each line removes one ingredient of the
drawing. Differences below about 0.15 points are noise. MNIST's test images are opened only with
`--final --test-images`, which is for the one look after everything is decided.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gzip
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np

from mnist_pipeline import plugins
from mnist_pipeline.configfile import load_preset, resolve
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer, Scale
from mnist_pipeline.model.perceptrons import Mlp
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train
from mnist_pipeline.sources import hand
from mnist_pipeline.sources.curves import Curves, compiled
from mnist_pipeline.sources.hand import HAND, Hand, draw_digits
from mnist_pipeline.sources.strokes import WAYS
from mnist_pipeline.sources.synthetic import Synthetic

BAR_SECONDS = 5.0
BAR_ACCURACY = 97.5
STANDARD = resolve([load_preset("standard")])
PROXY_ROWS = 30_000
PROXY_HIDDEN = (256,)
PROXY = dataclasses.replace(STANDARD.train, epochs=8)

Digits = tuple[np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="trainings a line of the ablations")
    parser.add_argument("--final", action="store_true", help="preset standard on 60,000 digits")
    parser.add_argument("--test-images", action="store_true", help="read MNIST's test images")
    wanted = parser.parse_args()
    if wanted.test_images and not wanted.final:
        parser.error("--test-images is for --final alone")
    if wanted.final:
        final("t10k" if wanted.test_images else "train")
    else:
        seconds()
        ablations(wanted.seeds)


def seconds() -> None:
    start = time.process_time()
    drawn(60_000, seed=0)
    spent = time.process_time() - start
    print(f"drawing 60,000 digits, one core: {spent:.1f} CPU-s, at most {BAR_SECONDS}")


def final(part: str) -> None:
    """The preset `standard` on 60,000 drawn digits: accuracy by class on a part of MNIST."""
    start = time.process_time()
    model = plugins.build("model", STANDARD.model.kind, STANDARD.model.options())
    images, labels = mnist(part)
    right = taught(drawn(60_000, seed=0), model, STANDARD.train)(images) == labels
    classes = " ".join(f"{digit}:{100 * right[labels == digit].mean():.1f}" for digit in range(10))
    print(f"standard on 60,000 drawn digits, seed 0: {time.process_time() - start:.0f} CPU-s")
    print(
        f"reads {100 * right.mean():.2f} % of {len(labels):,} images ({part}), by class {classes}"
    )
    if part == "t10k":
        print(f"at least {BAR_ACCURACY} %")


def ablations(seeds: int) -> None:
    print(
        f"proxy: {PROXY_ROWS:,} digits, 784-{PROXY_HIDDEN[0]}-10, {PROXY.epochs} epochs, "
        f"augmentation of `standard`, seeds 0 to {seeds - 1}; MNIST's training images"
    )
    whole = statistics.mean(proxy(seed) for seed in range(seeds))
    print(f"{'everything':46}{whole:8.2f} %")
    for what, run in without():
        left = statistics.mean(run(seed) for seed in range(seeds))
        print(f"{'without ' + what:46}{left:8.2f} %{left - whole:+8.2f}", flush=True)


def without() -> Iterator[tuple[str, Callable[[int], float]]]:
    """(an ingredient, the proxy's accuracy in percent without it, from a seed)."""

    def table(ways: dict[int, list[tuple[float, str]]]) -> Callable[[int], float]:
        strokes = compiled(ways)
        return lambda seed: proxy(seed, strokes=strokes)

    def still(**fields: object) -> Callable[[int], float]:
        return lambda seed: proxy(seed, hand=dataclasses.replace(HAND, **fields))

    yield "ways: one a digit, the most frequent", table({d: [w[0]] for d, w in WAYS.items()})
    yield "rare ways: six a digit", table({d: list(w[:6]) for d, w in WAYS.items()})
    yield "shares: all ways alike", table({d: [(1, t) for _, t in w] for d, w in WAYS.items()})
    yield "pens of different width", still(half_width=(HAND.half_width[0], 0.0))
    yield "pens and widths by digit", still(pens=(1.0,) * 10, widths=(0.0,) * 10)
    yield "noise along the stroke", still(wobble=0.0)
    yield "roundness", still(roundness=(1.0, 1.0))
    yield "late starts and early ends", still(trim=0.0)
    yield "warp", still(warp=0.0)
    yield "lobe, trapezoid and waist", still(lobe=0.0, trapezoid=0.0, waist=0.0)
    yield "aspect", still(aspect=(HAND.aspect[0], 0.0))
    yield "slant and rotation", still(slant=(HAND.slant[0], 0.0), rotation=0.0)
    yield "MNIST's normalisation", lambda seed: proxy(seed, normalised=False)
    plain = dataclasses.replace(PROXY, augment=Recipe(epochs=1).augment)
    yield "augmentation while training", lambda seed: proxy(seed, recipe=plain)


def proxy(
    seed: int,
    *,
    hand: Hand = HAND,
    strokes: Curves | None = None,
    normalised: bool = True,
    recipe: Recipe = PROXY,
) -> float:
    """Train the small network on digits drawn so, read MNIST's training images: percent right."""
    rng = np.random.default_rng([seed, 1])
    labels = rng.permutation(np.arange(PROXY_ROWS) % 10)
    with contextlib.nullcontext() if normalised else patch(f"{Hand.__module__}._place", _as_it_is):
        images = draw_digits(labels, rng, hand, strokes)
    read = taught(
        (images, labels), Mlp(hidden=PROXY_HIDDEN), dataclasses.replace(recipe, seed=seed)
    )
    images, labels = mnist("train")
    return 100 * float((read(images) == labels).mean())


_place = hand._place


def _as_it_is(
    points: np.ndarray, down: np.ndarray, half_width: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Digits as large as they are written, about 16 pixels, their frame's middle in the middle."""
    _, length = _place(points, down, half_width)
    low, high = points.min(axis=1), points.max(axis=1)
    fitted = (hand.BOX - 2.0 * half_width) / np.maximum((high - low).max(axis=1), 1e-3)
    placed = 16.0 * (points - (low + high)[:, None, :] / 2) + hand.MIDDLE - 0.5
    return placed.clip(1.0, hand.SIDE - 2.0), length * (16.0 / fitted)[:, None]


def taught(digits: Digits, model: Model, recipe: Recipe) -> Callable[[np.ndarray], np.ndarray]:
    """Who has learnt from these digits: images (N, 784) uint8 → labels (N,)."""
    normalizer = FittedNormalizer("scale.v1", Scale(), {"pixels": 784})
    result = train(model, *digits, normalizer, recipe, classes=10)
    read = model.compile(result.parameters, normalizer)
    return lambda images: read(images).argmax(axis=1)


def drawn(n: int, seed: int) -> Digits:
    (part,) = Synthetic(n=n, seed=seed).parts()
    blocks = list(part.read(ImageContract()))
    labels = [block.labels for block in blocks if block.labels is not None]
    return np.concatenate([block.images for block in blocks]), np.concatenate(labels)


def mnist(part: str) -> Digits:
    """Images (N, 784) and labels (N,) of MNIST's part `train` or `t10k`."""
    folder = Path(os.environ["MNIST_DATA_DIR"])
    images, labels = (
        gzip.decompress((folder / f"{part}-{name}-ubyte.gz").read_bytes())
        for name in ("images-idx3", "labels-idx1")
    )
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784),
        np.frombuffer(labels, np.uint8, offset=8).astype(np.int64),
    )


if __name__ == "__main__":
    main()
