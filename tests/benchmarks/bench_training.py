"""Time of a training epoch, against eager PyTorch and against the bare matrix products.

    python tests/benchmarks/bench_training.py [--rows 25600] [--repeats 5]

Every contender does the same work on one thread: draw a permutation, gather a batch, forward,
loss (read as a number every step), backward, Adam. Times are CPU seconds; the contenders take
turns, so that a noisy neighbour meets them all, and the median counts. The bar is on the ratio.
PyTorch is not a dependency: where it is missing its rows are skipped, and said so.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from mnist_pipeline.model.networks import Mlp
from mnist_pipeline.model.normalize import FittedNormalizer, Scale
from mnist_pipeline.model.threads import single_threaded_blas
from mnist_pipeline.model.trainer import Recipe, train

PIXELS, CLASSES = 784, 10


@dataclasses.dataclass(frozen=True)
class Case:
    """A network and a batch size; `bar` is the largest ratio to PyTorch that passes, if any."""

    hidden: tuple[int, ...]
    batch_size: int
    bar: float | None = None

    def __str__(self) -> str:
        sizes = "-".join(str(size) for size in (PIXELS, *self.hidden, CLASSES))
        return f"{sizes}, batch {self.batch_size}"


CASES = (
    Case((128,), 64, bar=0.7),
    Case((10,), 64),
    Case((256,), 128),
    Case((512, 256), 128),
)


def numpy_epoch(case: Case, images: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    """One epoch of `trainer.train` itself, evaluation and checks included."""
    normalizer = FittedNormalizer("scale.v1", Scale(), {"pixels": PIXELS})
    recipe = Recipe(epochs=1, batch_size=case.batch_size, schedule="constant")

    def epoch() -> None:
        train(Mlp(hidden=case.hidden), images, labels, normalizer, recipe, classes=CLASSES)

    return epoch


def torch_epoch(case: Case, images: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    """The same epoch as a plain PyTorch program: torch.nn, torch.optim.Adam, float32 tensors."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    X = torch.from_numpy(images).float() / 255
    Y = torch.from_numpy(labels)
    sizes = (PIXELS, *case.hidden, CLASSES)
    modules: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        modules += [nn.Linear(inputs, outputs), nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
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

    return epoch


def products_epoch(case: Case, rows: int) -> Callable[[], None]:
    """Only the matrix products of the epoch: what no NumPy program can go below."""
    rng = np.random.default_rng(0)
    B, sizes = case.batch_size, (PIXELS, *case.hidden, CLASSES)
    activations = [rng.random((B, size), dtype=np.float32) for size in sizes]
    weights = [
        rng.random((outputs, inputs), dtype=np.float32)
        for inputs, outputs in itertools.pairwise(sizes)
    ]
    gradients = [np.empty_like(W) for W in weights]

    def epoch() -> None:
        with single_threaded_blas():
            for _ in range(0, rows, B):
                for x, W in zip(activations, weights, strict=False):
                    x @ W.T
                for x, dz, dW in zip(activations, activations[1:], gradients, strict=False):
                    np.matmul(dz.T, x, out=dW)
                for dz, W in zip(activations[2:], weights[1:], strict=False):
                    dz @ W

    return epoch


def medians(contenders: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """The median CPU seconds of each, taking turns; one round before it to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, run in contenders.items():
            started = time.process_time()
            run()
            if turn:
                times[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=25_600, help="rows of the epoch")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    # A fifth of the pixels lit, as in handwritten digits; the values do not matter for the time.
    images = rng.integers(0, 256, (arguments.rows, PIXELS), dtype=np.uint8)
    images[rng.random(images.shape, dtype=np.float32) > 0.2] = 0
    labels = images[:, :8].astype(np.int64).sum(axis=1) % CLASSES  # something a network can learn
    try:
        import torch

        torch_version = torch.__version__
    except ImportError as error:
        torch_version = ""
        print(f"PyTorch rows skipped: {error}")

    print(f"NumPy {np.__version__}, PyTorch {torch_version or '-'}, one thread, ms of CPU an epoch")
    print(f"of {arguments.rows:,} rows, medians of {arguments.repeats}\n")
    print(
        f"{'network':<26}{'numpy':>8}{'torch':>8}{'ratio':>7}{'bar':>6}{'products':>10}{'share':>7}"
    )
    passed = True
    for case in CASES:
        contenders = {
            "numpy": numpy_epoch(case, images, labels),
            "products": products_epoch(case, arguments.rows),
        }
        if torch_version:
            contenders["torch"] = torch_epoch(case, images, labels)
        ms = {name: 1e3 * value for name, value in medians(contenders, arguments.repeats).items()}
        line = f"{case!s:<26}{ms['numpy']:>8.0f}"
        if "torch" in ms:
            ratio = ms["numpy"] / ms["torch"]
            line += f"{ms['torch']:>8.0f}{ratio:>7.2f}{case.bar or '':>6}"
            passed = passed and (case.bar is None or ratio <= case.bar)
        else:
            line += f"{'-':>8}{'-':>7}{case.bar or '':>6}"
        print(f"{line}{ms['products']:>10.0f}{ms['products'] / ms['numpy']:>7.0%}")
    if not torch_version:
        print("\nthe bar was not judged")
    else:
        print("\nthe bar holds" if passed else "\nthe bar is missed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
