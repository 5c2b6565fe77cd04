"""Time of a training epoch against PyTorch, scikit-learn and the bare matrix products.

    python tests/benchmarks/bench_training.py [--rows 60000] [--repeats 5]

All do the same work on one thread: draw a permutation, gather a batch, forward, loss (read as a
number every step), backward, Adam. Times are CPU seconds; the contenders take turns, so that a
noisy neighbour meets them all, and the median counts. A perceptron's epoch is a third of three, so
that what a training does once weighs as little as it does in life. Ours is `trainer.train` itself,
checks and evaluation included. The second table is wall time: one core against two. PyTorch and
scikit-learn are no dependencies: where one is missing its columns are empty, and that is said.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import itertools
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mnist_pipeline.model.cnn import Cnn
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer, Scale
from mnist_pipeline.model.perceptrons import Mlp
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.threads import single_threaded_blas
from mnist_pipeline.model.trainer import train

PIXELS, CLASSES, SIDE = 784, 10, 28
Epochs = Callable[[int], None]
"""Trains for so many epochs."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, a batch size, and the largest ratio to each rival that passes."""

    model: Model
    batch_size: int
    bars: dict[str, float] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        if isinstance(self.model, Cnn):
            stages = " ".join("-".join(map(str, stage)) for stage in self.model.stages)
            return f"cnn {self.model.kernel}x{self.model.kernel} {stages}, batch {self.batch_size}"
        sizes = "-".join(str(size) for size in self.sizes)
        return f"{sizes}, batch {self.batch_size}"

    @property
    def epochs(self) -> int:
        """How many are timed at a time."""
        return 1 if isinstance(self.model, Cnn) else 3

    @property
    def sizes(self) -> tuple[int, ...]:
        assert isinstance(self.model, Mlp)
        return (PIXELS, *self.model.hidden, CLASSES)


STANDARD = Cnn(stages=((24,), (48,)), kernel=5, padding=0, hidden=(128,))  # as in the preset
CASES = (
    Case(Mlp(hidden=(10,)), 64, {"torch": 0.4}),
    Case(Mlp(hidden=(128,)), 64, {"torch": 0.6, "sklearn": 0.5}),
    Case(Mlp(hidden=(512, 256)), 128, {"torch": 0.95, "sklearn": 0.6, "products": 1.5}),
    Case(Mlp(hidden=(512, 256)), 1024, {"products": 1.2}),
    Case(Mlp(hidden=(1024, 1024)), 256, {"torch": 1.05}),
    Case(STANDARD, 128, {"torch": 1.2}),
    Case(Cnn(), 128),
)
TWO_CORES = (Case(Mlp(hidden=(512, 256)), 1024, {"one core": 0.62}), Case(STANDARD, 128))


def ours(case: Case, images: np.ndarray, labels: np.ndarray, threads: int = 1) -> Epochs:
    """`trainer.train`."""
    normalizer = FittedNormalizer("scale.v1", Scale(), {"pixels": PIXELS})

    def run(epochs: int) -> None:
        recipe = Recipe(epochs=epochs, batch_size=case.batch_size, schedule="constant")
        train(case.model, images, labels, normalizer, recipe, classes=CLASSES, threads=threads)

    return run


def torch_network(case: Case) -> Any:
    """The same network of torch.nn modules."""
    from torch import nn

    modules: list[nn.Module] = []
    if isinstance(case.model, Cnn):
        inputs, side, padding = 1, SIDE, case.model.padding
        for stage in case.model.stages:
            for number, channels in enumerate(stage, start=1):
                modules.append(
                    nn.Conv2d(inputs, channels, case.model.kernel, padding=padding, bias=False)
                )
                side += 2 * padding - case.model.kernel + 1
                if number == len(stage):
                    modules.append(nn.MaxPool2d(2))
                    side //= 2
                modules += [nn.BatchNorm2d(channels), nn.ReLU()]
                inputs = channels
        modules.append(nn.Flatten())
        inputs *= side * side
        for units in case.model.hidden:
            modules += [nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()]
            inputs = units
        modules.append(nn.Linear(inputs, CLASSES))
    else:
        for inputs, outputs in itertools.pairwise(case.sizes):
            modules += [nn.Linear(inputs, outputs), nn.ReLU()]
        modules.pop()
    return nn.Sequential(*modules)


def torch_epochs(case: Case, images: np.ndarray, labels: np.ndarray) -> Epochs:
    """The same epochs as a plain PyTorch program: eager, torch.optim.Adam, float32 tensors."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    X, Y = torch.from_numpy(images).float() / 255, torch.from_numpy(labels)
    network = torch_network(case)
    if isinstance(case.model, Cnn):
        X = X.reshape(-1, 1, SIDE, SIDE)
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    cross_entropy = nn.CrossEntropyLoss()

    def epoch() -> None:
        order = torch.randperm(len(X))
        total = 0.0
        for start in range(0, len(X), case.batch_size):
            rows = order[start : start + case.batch_size]
            optimizer.zero_grad()
            loss = cross_entropy(network(X[rows]), Y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item()

    def run(epochs: int) -> None:
        for _ in range(epochs):
            epoch()

    return run


def sklearn_epochs(case: Case, images: np.ndarray, labels: np.ndarray) -> Epochs:
    """The same epochs of scikit-learn's MLPClassifier."""
    from sklearn.neural_network import MLPClassifier

    X = images.astype(np.float32) / 255

    def run(epochs: int) -> None:
        with single_threaded_blas(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # so few epochs do not converge
            MLPClassifier(
                case.sizes[1:-1], batch_size=case.batch_size, max_iter=epochs, alpha=0.0
            ).fit(X, labels)

    return run


def products_epochs(case: Case, images: np.ndarray, labels: np.ndarray) -> Epochs:
    """Only the matrix products of the epochs: what no NumPy program can go below."""
    rng = np.random.default_rng(0)
    B = case.batch_size
    activations = [rng.random((B, size), dtype=np.float32) for size in case.sizes]
    weights = [
        rng.random((outputs, inputs), dtype=np.float32)
        for inputs, outputs in itertools.pairwise(case.sizes)
    ]
    gradients = [np.empty_like(W) for W in weights]

    def run(epochs: int) -> None:
        with single_threaded_blas():
            for _ in range(epochs * math.ceil(len(images) / B)):
                for x, W in zip(activations, weights, strict=False):
                    x @ W.T
                for x, dz, dW in zip(activations, activations[1:], gradients, strict=False):
                    np.matmul(dz.T, x, out=dW)
                for dz, W in zip(activations[2:], weights[1:], strict=False):
                    dz @ W

    return run


RIVALS: dict[str, Callable[[Case, np.ndarray, np.ndarray], Epochs]] = {
    "torch": torch_epochs,
    "sklearn": sklearn_epochs,
    "products": products_epochs,
}


def medians(
    contenders: dict[str, Epochs], case: Case, repeats: int, clock: Callable[[], float]
) -> dict[str, float]:
    """The median seconds an epoch of each, taking turns; one round before it to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, run in contenders.items():
            started = clock()
            run(case.epochs)
            if turn:
                times[name].append((clock() - started) / case.epochs)
    return {name: statistics.median(values) for name, values in times.items()}


def compare(case: Case, seconds: dict[str, float], rivals: tuple[str, ...]) -> bool:
    """Prints a line of ratios; whether all bars hold."""
    line, held = f"{case!s:<34}{1e3 * seconds['ours']:>8.0f}", True
    for rival in rivals:
        bar = case.bars.get(rival)
        if rival not in seconds:
            line += f"{'-':>18}"
            continue
        ratio = seconds["ours"] / seconds[rival]
        held = held and (bar is None or ratio <= bar)
        line += f"{f'{ratio:.2f}' + (f' (<= {bar})' if bar else ''):>18}"
    print(line, flush=True)
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000, help="rows of the epoch")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    # A fifth of the pixels lit, as in handwritten digits; the values do not matter for the time.
    images = rng.integers(0, 256, (arguments.rows, PIXELS), dtype=np.uint8)
    images[rng.random(images.shape, dtype=np.float32) > 0.2] = 0
    labels = images[:, :8].astype(np.int64).sum(axis=1) % CLASSES  # something a network can learn
    there = {name for name in ("torch", "sklearn") if importlib.util.find_spec(name)} | {"products"}
    for name in sorted(set(RIVALS) - there):
        print(f"{name} is not installed: its column is empty")
    print(f"NumPy {np.__version__}, {arguments.rows:,} rows, medians of {arguments.repeats}\n")
    columns = "".join(f"{'/ ' + name:>18}" for name in RIVALS)
    print(f"{'one thread, CPU time an epoch':<34}{'ours, ms':>8}{columns}")
    held = True
    for case in CASES:
        able = ("torch",) if isinstance(case.model, Cnn) else tuple(RIVALS)
        contenders = {"ours": ours(case, images, labels)} | {
            name: RIVALS[name](case, images, labels) for name in able if name in there
        }
        seconds = medians(contenders, case, arguments.repeats, time.process_time)
        held = compare(case, seconds, tuple(RIVALS)) and held
    print(f"\n{'two cores, wall time an epoch':<34}{'ours, ms':>8}{'/ one core':>18}")
    for case in TWO_CORES:
        contenders = {
            "ours": ours(case, images, labels, threads=2),
            "one core": ours(case, images, labels, threads=1),
        }
        seconds = medians(contenders, case, arguments.repeats, time.perf_counter)
        held = compare(case, seconds, ("one core",)) and held
    print("\nthe bars hold" if held else "\na bar is missed")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
