"""How far clean files lie from an exam in the champion's eyes, and files with shuffled labels.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_labels.py

Champions of the preset `fast` (and weaker ones) learn from some of MNIST's training images; the
others come as files, clean and with labels shuffled. Prints what the gate `label_disagreement`
measures, in points above the exam, and how many files it holds. The 10,000 test images are not
looked at: its limits were chosen by these figures.
"""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np

from mnist_pipeline import plugins
from mnist_pipeline.configfile import load_preset, resolve
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.drift import Traits
from mnist_pipeline.evaluate.data_gate import (
    SURE,
    LabelDisagreement,
    NewData,
    NewPart,
    Readings,
)
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.trainer import train

CONTRACT = ImageContract()
SHUFFLED = (0.0, 0.02, 0.05, 0.1)
CHAMPIONS: list[tuple[str, int, dict[str, Any]]] = [
    ("fast", 2_000, {}),
    ("fast", 6_000, {}),
    ("fast", 20_000, {}),
    ("fast", 40_000, {}),
    ("fast", 20_000, {"model": {"kind": "softmax"}}),
    ("tutorial", 20_000, {}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, nargs="*", default=[100, 1000], help="rows a file")
    options = parser.parse_args()
    images, labels = _mnist()
    for preset, rows, settings in CHAMPIONS:
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            order = (np.arange(60_000) + int(rng.integers(60_000))) % 60_000
            base, others = order[:rows], order[rows:]
            asked = rng.random(rows) < 0.15
            exam, learned = base[asked], base[~asked]
            champion = _champion(preset, settings, images[learned], labels[learned], seed)
            questions = _read(champion, images[exam], labels[exam])
            answers = _read(champion, images[others], labels[others])
            error = (questions.predicted != questions.labels).mean()
            what = settings.get("model", {}).get("kind", "")
            print(f"\n{preset} {what} on {len(learned):,} rows, exam error {100 * error:.1f} %")
            for size in options.rows:
                for share in SHUFFLED:
                    _show(questions, answers, size, share, rng)


def _show(
    exam: Readings, answers: Readings, size: int, share: float, rng: np.random.Generator
) -> None:
    """One line: what files of `size` rows look like with that share of their labels shuffled."""
    gate, sure = LabelDisagreement(), np.quantile(exam.confidences, 1 - SURE)
    held, above, above_sure = 0, [], []
    starts = range(0, len(answers) - size + 1, size)
    for start in starts:
        part = slice(start, start + size)
        labels = answers.labels[part].copy()
        chosen = rng.choice(size, round(size * share), replace=False)
        labels[chosen] = rng.permutation(labels[chosen])
        readings = Readings(labels, answers.predicted[part], answers.confidences[part])
        data = NewData(
            [NewPart("file", readings, Traits.none(10))], "champion", exam, None, CONTRACT.classes
        )
        held += gate.inspect(data).status == "hold"
        above.append(_differ(readings, 0) - _differ(exam, 0))
        above_sure.append(_differ(readings, sure) - _differ(exam, sure))
    print(
        f"  {size:5,} rows, {100 * share:3.0f} % shuffled: "
        f"all {_points(above)}  sure {_points(above_sure)}  "
        f"held {held} of {len(starts)} ({100 * held / len(starts):.1f} %)"
    )


def _differ(readings: Readings, sure: float) -> float:
    wrong = (readings.predicted != readings.labels) & (readings.confidences >= sure)
    return float(wrong.mean())


def _points(shares: list[float]) -> str:
    low, middle, high = (100 * value for value in (min(shares), np.median(shares), max(shares)))
    return f"{low:6.2f} {middle:6.2f} {high:6.2f}"


def _champion(
    preset: str, settings: dict[str, Any], images: np.ndarray, labels: np.ndarray, seed: int
) -> Bundle:
    config = resolve([load_preset(preset), settings, {"train": {"seed": seed}}])
    spec = plugins.build("model", config.model.kind, config.model.options())
    normalizer = FittedNormalizer.fit("scale.v1", {}, iter([images]))
    trained = train(
        spec,
        images,
        labels,
        normalizer,
        config.train,
        classes=10,
        shape=(28, 28),
        validation=(images[:0], labels[:0]),
    )
    return Bundle(CONTRACT, normalizer, f"{config.model.kind}.v1", spec, trained.parameters)


def _read(champion: Bundle, images: np.ndarray, labels: np.ndarray) -> Readings:
    answers = champion.predict(images)
    return Readings(labels, answers.labels, answers.confidences)


def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """MNIST's training images, (60000, 784), and their labels."""
    folder = Path(os.environ["MNIST_DATA_DIR"])
    images = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784),
        np.frombuffer(labels, np.uint8, offset=8),
    )


if __name__ == "__main__":
    main()
